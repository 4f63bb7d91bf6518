"""The command `roost mcp`."""

from __future__ import annotations

import sys

from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.options import index_option
from roost.cli.output.print_on_stderr import print_on_stderr
from roost.cli.shell_environment import is_terminal
from roost.flows.running.garbage import leave_out_imports
from roost.tasks.errors import ConfigurationError, RoostError


@command(
    examples=(
        "roost mcp",
        "roost mcp --index handbook",
    ),
)
@index_option()
def mcp(*, index: str) -> None:
    """Answer agents over standard input and output (MCP).

    Tools: search, passage, ask, status; all of them only read. An agent starts this command itself: name `roost mcp` in
    its configuration. --index is searched when a call names no index.
    """
    begin(quiet=True)
    if is_terminal(sys.stdin) and is_terminal(sys.stderr):
        print_on_stderr("waiting for an agent on standard input; Ctrl-C ends this")
    try:
        from roost.cli.mcp_server import make_server
    except ImportError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise ConfigurationError("roost mcp needs the package mcp, 2.3 or later: pip install 'roost[agents]'") from None
    from roost.flows.running.run import run_async
    from roost.tasks.settings import load_settings

    try:
        leave_out_imports()
        run_async(make_server(load_settings(), index).run_stdio_async)
    except BaseExceptionGroup as group:  # the library runs the server in a task group
        raise _error_of(group) from None


def _error_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of Roost's that ended the server, or the group if there is none."""
    found: BaseExceptionGroup[RoostError] | RoostError | None = group.subgroup(RoostError)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group
