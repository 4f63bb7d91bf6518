"""The Prefect server that keeps running after a command: the one of Prefect's settings, or that of `roost up`.

No module that this one imports at its top imports Prefect, which takes a second.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from roost.deployments.local.prefect_choice import read_choice
from roost.deployments.local.private_files import ForeignFileError
from roost.deployments.local.running_stack import find_stack
from roost.tasks.errors import ConfigurationError


class NoServerError(ConfigurationError):
    """There is no Prefect server that keeps running after a command."""


@contextmanager
def lasting_server() -> Iterator[str]:
    """Have this process use the lasting server inside the context: the URL of its API.

    Raises:
        NoServerError: There is none.
        ConfigurationError: The file that names the server of `roost up` belongs to another user.
    """
    if url := configured_url():
        yield url
        return
    try:
        stack = find_stack()
    except (OSError, ForeignFileError) as error:
        raise ConfigurationError(f"the server of `roost up` cannot be used: {error}") from None
    if stack is None:
        raise NoServerError(
            "a schedule needs a Prefect server and a worker that keep running: start both on this machine with "
            "`roost up`, or set PREFECT_API_URL to your own server"
        )
    with stack.serve():
        yield stack.url


def access_command() -> str:
    """Return the command that gives this shell the addresses of a running `roost up`; empty if it needs none."""
    if configured_url():
        return ""
    try:
        stack = find_stack()
    except (OSError, ForeignFileError):
        return ""
    return f". {shlex.quote(stack.access_file)}" if stack else ""


def configured_url() -> str:
    """Return the URL that Prefect's settings name; empty if they name none. Imports Prefect only if they may."""
    return read_choice().api_url
