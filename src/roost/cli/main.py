"""The entry point of the command `roost`: all its commands, and the exit code that each end deserves."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

import typer

from roost.cli import backfill, deploy, evaluate, search, versions  # noqa: F401  their commands join the app
from roost.cli.app import app
from roost.tasks.errors import RoostError


def main() -> NoReturn:
    """Run the command line; end with the exit code that the end deserves."""
    try:
        code = app(standalone_mode=False) or 0  # the code of a typer.Exit, None of a plain end
        if code == 130:  # typer's, for Ctrl-C
            code = _complain("stopped; what is committed stays, the next run goes on", 1)
    except RoostError as error:
        code = _complain(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError):
        code = _complain("stopped; what is committed stays, the next run goes on", 1)
    except Exception as error:  # noqa: BLE001  the last line of defence words it, with the traceback
        code = _unexpected(error)
    except BaseException as error:
        if type(error).__name__ != "TerminationSignal":  # Prefect's, for SIGTERM; importing it here takes a second
            raise
        code = _complain("stopped; what is committed stays, the next run goes on", 1)
    sys.stdout.flush()
    sys.exit(code)


def _unexpected(error: Exception) -> int:
    """A wrong option is click's; wrong parameters are pydantic's; anything else is a defect and says so."""
    from pydantic import ValidationError

    if hasattr(error, "format_message"):
        return _complain(error.format_message(), getattr(error, "exit_code", 2))
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False)[0]
        return _complain(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 2)
    import traceback

    traceback.print_exception(error)
    return _complain(f"{type(error).__name__}: {error} (a defect in Roost: please report the lines above)", 1)


def _complain(words: str, code: int) -> int:
    print(f"roost: {words}", file=sys.stderr)  # noqa: T201
    return code
