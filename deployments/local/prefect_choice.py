"""Which Prefect server the user's own Prefect settings name, and where a server of Roost would keep its database.

Importing Prefect takes a second, in which a server can start already. So Prefect is not asked where its settings
cannot differ from its defaults: no file that it reads mentions them, and of its environment variables only PREFECT_HOME
and those that have no say in this are set.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

#: Environment variables that choose a server, a profile or a database begin with one of these.
_DECISIVE_VARIABLES = ("PREFECT_API_", "PREFECT_PROFILE", "PREFECT_SERVER_DATABASE_", "PREFECT_SERVER_API_BASE_PATH")
#: Files in the working directory from which Prefect reads settings: its own, and those that have others too.
_OWN_FILE, _FILES = "prefect.toml", (".env", "pyproject.toml")


@dataclass(frozen=True)
class PrefectChoice:
    """What Prefect's settings say.

    api_url: URL of the server's API; empty if none is set.
    home: PREFECT_HOME, an absolute path. It may not exist.
    database: URL of the database; empty for the default, a file in `home`.
    variables: Environment variables by which another process has the same settings.
    """

    api_url: str
    home: Path
    database: str = ""
    variables: dict[str, str] = field(default_factory=dict)


def read_choice() -> PrefectChoice:
    """Read Prefect's settings from its environment variables, files and profile."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser().absolute()
    if not _is_default(home):
        return _ask_prefect()
    return PrefectChoice("", home, variables={"PREFECT_HOME": str(home)})


def _is_default(home: Path) -> bool:
    """Whether Prefect's settings can name neither a server nor a database. If it is imported, it can be asked."""
    if "prefect.settings" in sys.modules or any(
        os.environ[name] for name in os.environ if name.startswith(_DECISIVE_VARIABLES)
    ):
        return False
    if (home / "profiles.toml").exists() or Path(_OWN_FILE).exists():
        return False
    return not any(_mentions_prefect(Path(name)) for name in _FILES)


def _mentions_prefect(file: Path) -> bool:
    try:
        return b"prefect" in file.read_bytes().lower()
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError:  # Prefect reports it
        return True


def _ask_prefect() -> PrefectChoice:
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    url = settings.server.database.connection_url
    database = url.get_secret_value() if url else ""
    return PrefectChoice(
        settings.api.url or "",
        settings.home.absolute(),
        "" if database == f"sqlite+aiosqlite:///{settings.home}/prefect.db" else database,
        settings.to_environment_variables(exclude_unset=True),
    )
