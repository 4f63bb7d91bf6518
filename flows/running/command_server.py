"""What the Prefect server of this process's runs is: one that lasts, or one that the command started for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Known:
    """The server that this command started or keeps.

    url: URL of its API; empty for none.
    ends_with_command: Whether it ends with this process.
    """

    url = ""
    ends_with_command = False


_known = _Known()


@contextmanager
def command_server(url: str, *, ends_with_command: bool) -> Iterator[None]:
    """Note that the server of the runs inside the context is one for commands of this user and this machine only."""
    _known.url, _known.ends_with_command = url, ends_with_command
    try:
        yield
    finally:
        _known.url = ""


def has_lasting_server() -> bool:
    """Whether runs are recorded by a server that other machines or other users' processes may use too."""
    url = _api_url()
    return bool(url) and url != _known.url


def server_ends_with_command() -> bool:
    """Whether the server of the runs ends with this process, and loses what it has not recorded by then."""
    url = _api_url()
    return not url or (url == _known.url and _known.ends_with_command)


def _api_url() -> str:
    from prefect.settings import get_current_settings  # here, because a command notes its server before it imports it

    return get_current_settings().api.url or ""
