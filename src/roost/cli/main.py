"""The entry point of the command `roost`: it adds all commands to the app and turns every end into an exit code."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import click
from click.exceptions import Exit

from roost.cli.backfill import backfill
from roost.cli.command_help import CommandGroup
from roost.cli.completion import complete, completion
from roost.cli.demo import demo
from roost.cli.doctor import doctor
from roost.cli.ending import leave, tell_stopping
from roost.cli.evaluate import evaluate
from roost.cli.exit_codes import ExitCode
from roost.cli.formats import formats
from roost.cli.ingest import ingest
from roost.cli.mcp import mcp
from roost.cli.output.printable_record import PrintableRecord
from roost.cli.plugins import plugins
from roost.cli.quantize import quantize
from roost.cli.removal import delete, forget
from roost.cli.schedule import schedule, schedules
from roost.cli.search import ask, search
from roost.cli.servers import deploy, down, up
from roost.cli.shell_environment import completion_request
from roost.cli.status import status
from roost.cli.tune import tune
from roost.cli.verify import verify
from roost.cli.versions import export, import_, promote, prune, rebuild, rollback, versions
from roost.cli.watch import watch
from roost.flows.running.garbage import collect_rarely
from roost.flows.running.interrupts import is_stopping, stopped_by_signals
from roost.tasks.errors import RoostError, exhausted
from roost.tasks.printable import printable

#: Names of exceptions that mean a signal ended the run: asyncio's and Prefect's (for SIGTERM). They are compared by
#: name because importing asyncio takes 0.06 s and Prefect a second, which `roost --help` must not wait for.
SIGNAL_EXCEPTIONS = ("CancelledError", "TerminationSignal")


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the version and end, for `--version`."""
    if value:
        import roost

        click.echo(f"roost {roost.__version__}")
        context.exit()


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but documents are quarantined, 4 a quality threshold "
    "was missed, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def app(context: click.Context) -> None:
    """Keep Milvus collections in step with sources of documents."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


SECTIONS = {
    "Keep an index in step": (ingest, watch, backfill, schedule, schedules, status, verify),
    "Search and measure": (search, ask, mcp, evaluate, tune),
    "Versions of an index": (versions, rebuild, promote, rollback, prune, export, import_),
    "Delete": (forget, delete),
    "Servers": (up, down, deploy),
    "This machine": (demo, doctor, formats, plugins, quantize, completion),
}
COMMANDS = tuple(each for commands in SECTIONS.values() for each in commands)
for title, commands in SECTIONS.items():
    app.add_section(title, commands)


def main() -> NoReturn:
    """Run the command line, and exit with the code for the way in which the command ended."""
    collect_rarely()
    logging.setLogRecordFactory(PrintableRecord)
    with stopped_by_signals(tell_stopping):
        code = _run_to_code()
    leave(code)


def _run_to_code() -> int:
    """Run the command, and print the line for an error; return the exit code."""
    try:
        request = completion_request()
        code = complete(app, request) if request else run(sys.argv[1:])
    except RoostError as error:
        code = _print_error(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        code = _interrupted()
    except BrokenPipeError:
        code = _output_closed()
    except Exception as error:  # noqa: BLE001  everything else becomes a message with an exit code here
        code = _unexpected(error)
    except BaseException as error:
        if type(error).__name__ not in SIGNAL_EXCEPTIONS:
            raise
        code = _interrupted()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _output_closed()
    return code


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors are raised, not printed."""
    try:
        # Not `app(...)`: click would print an empty line to standard error on Ctrl-C.
        with app.make_context("roost", arguments) as context:
            app.invoke(context)
    except Exit as ended:
        return ended.exit_code
    return ExitCode.DONE


def _output_closed() -> int:
    """End quietly when the reader of a pipe has ended, as in `roost versions --json | head`."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  the interpreter flushes it at its end
    return ExitCode.FAILED


def _interrupted() -> int:
    """Report the end by a signal, unless the signal was reported when it came, or by *Cancel* in the Prefect UI."""
    if is_stopping():
        return ExitCode.INTERRUPTED
    return _print_error("interrupted: committed documents stay; run it again to continue", ExitCode.INTERRUPTED)


def _unexpected(error: Exception) -> int:
    """Report a wrong option or parameter, exhausted memory or disk, or else a defect with its traceback."""
    from pydantic import ValidationError

    if isinstance(error, click.ClickException):
        from roost.cli.usage_errors import describe

        return _print_error(describe(error), error.exit_code)
    if isinstance(error, ValidationError):
        from roost.cli.usage_errors import describe_field

        return _print_error(describe_field(error), ExitCode.USAGE)
    if known := exhausted(error):
        return _print_error(str(known), known.exit_code)
    import traceback

    print(printable("".join(traceback.format_exception(error))), file=sys.stderr, end="")  # noqa: T201
    message = f"{type(error).__name__}: {error} (a defect in Roost: please report the lines above)"
    return _print_error(message, ExitCode.FAILED)


def _print_error(message: str, code: int) -> int:
    print(f"roost: {printable(message)}", file=sys.stderr)  # noqa: T201
    return code
