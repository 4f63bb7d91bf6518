"""The entry point of the command `roost`: it adds all commands to the app and turns every end into an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from roost.cli import (  # noqa: F401  importing a module adds its commands to the app
    backfill,
    demo,
    evaluate,
    ingest,
    quantize,
    search,
    servers,
    status,
    verify,
    versions,
)
from roost.cli.app import app
from roost.cli.exit_codes import ExitCode
from roost.tasks.errors import RoostError

#: Names of exceptions that mean a signal ended the run: asyncio's and Prefect's (for SIGTERM). They are compared by
#: name because importing asyncio takes 0.06 s and Prefect a second, which `roost --help` must not wait for.
SIGNAL_EXCEPTIONS = ("CancelledError", "TerminationSignal")


def main() -> NoReturn:
    """Run the command line, and exit with the code for the way in which the command ended."""
    try:
        code = app(standalone_mode=False) or ExitCode.DONE  # the code of a typer.Exit, or None
        if code == ExitCode.INTERRUPTED:  # typer returns it for Ctrl-C
            code = _interrupted()
    except RoostError as error:
        code = _print_error(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = _interrupted()
    except Exception as error:  # noqa: BLE001  everything else becomes a message with an exit code here
        code = _unexpected(error)
    except BaseException as error:
        if type(error).__name__ not in SIGNAL_EXCEPTIONS:
            raise
        code = _interrupted()
    sys.stdout.flush()
    sys.exit(code)


def _interrupted() -> int:
    """Report Ctrl-C or SIGTERM."""
    return _print_error("interrupted: committed documents stay; run it again to continue", ExitCode.INTERRUPTED)


def _unexpected(error: Exception) -> int:
    """Report a wrong option (from click), a wrong parameter (from pydantic), or else a defect with its traceback."""
    from pydantic import ValidationError

    if hasattr(error, "format_message"):
        return _print_error(error.format_message(), getattr(error, "exit_code", ExitCode.USAGE))
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False)[0]
        return _print_error(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", ExitCode.USAGE)
    import traceback

    traceback.print_exception(error)
    message = f"{type(error).__name__}: {error} (a defect in Roost: please report the lines above)"
    return _print_error(message, ExitCode.FAILED)


def _print_error(message: str, code: int) -> int:
    print(f"roost: {message}", file=sys.stderr)  # noqa: T201
    return code
