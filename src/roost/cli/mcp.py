"""The command `roost mcp`."""

from __future__ import annotations

from importlib.util import find_spec

import click

from roost.cli.begin import begin
from roost.cli.options import index_option
from roost.tasks.errors import ConfigurationError


@click.command()
@index_option()
def mcp(*, index: str) -> None:
    """Answer agents over standard input and output (MCP).

    Tools: search, passage, ask, status; all of them only read. An agent starts this command itself: name `roost mcp` in
    its configuration. --index is searched when a call names no index.
    """
    if find_spec("mcp") is None:
        raise ConfigurationError("roost mcp needs the package mcp: pip install 'roost[agents]'")
    begin(quiet=True)
    from roost.cli.mcp_server import make_server
    from roost.flows.running.run import run_async
    from roost.tasks.settings import load_settings

    run_async(make_server(load_settings(), index).run_stdio_async)
