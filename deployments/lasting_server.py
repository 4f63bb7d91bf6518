"""The Prefect server that keeps running after a command: the one of Prefect's settings, or that of `roost up`.

No module that this one imports at its top imports Prefect, which takes a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.deployments.local.access import read_access
from roost.tasks.errors import ConfigurationError

#: Data folder of `roost up`, looked for in the working directory.
_DATA = Path("roost-data")
#: Environment variables that choose a server or a profile begin with one of these.
_DECISIVE_VARIABLES = ("PREFECT_API_", "PREFECT_PROFILE")
#: Files in the working directory in which Prefect's settings may be among others.
_FILES = (".env", "pyproject.toml")
_VARIABLES = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")


@contextmanager
def lasting_server() -> Iterator[str]:
    """Have this process use the lasting server inside the context: the URL of its API.

    Raises:
        ConfigurationError: There is none.
    """
    url = configured_url()
    if url:
        yield url
        return
    access = read_access(_DATA)
    if not access.get("PREFECT_API_URL"):
        raise ConfigurationError(
            "a schedule needs a Prefect server and a worker that keep running: start both on this machine with "
            "`roost up`, or set PREFECT_API_URL to your own server"
        )
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    chosen = dict(zip((PREFECT_API_URL, PREFECT_API_AUTH_STRING), map(access.get, _VARIABLES), strict=True))
    with temporary_settings({setting: value for setting, value in chosen.items() if value}):
        yield access["PREFECT_API_URL"]


def configured_url() -> str:
    """Return the URL that Prefect's settings name; empty if they name none. Imports Prefect only if they may."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    has_variable = any(os.environ[name] for name in os.environ if name.startswith(_DECISIVE_VARIABLES))
    has_file = (home / "profiles.toml").exists() or Path("prefect.toml").exists() or any(map(_mentions_prefect, _FILES))
    if not has_variable and not has_file:
        return ""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or ""


def _mentions_prefect(name: str) -> bool:
    try:
        return b"prefect" in Path(name).read_bytes().lower()
    except OSError:
        return False
