"""An empty database of Prefect as its migrations make it, in 0.1 s instead of 6 s; for the Prefect of one version."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path

#: Prefect's version whose migrations made the statements in `roost/resources/prefect_database.sql`.
PREFECT_VERSION = "3.8.8"
_STATEMENTS = "prefect_database.sql"


def place_empty_database() -> bool:
    """Create Prefect's database if it is a SQLite file that does not exist yet; Prefect's migrations then have no work.

    It does nothing with a Prefect of another version than PREFECT_VERSION, or without its home.

    Returns:
        Whether it was created.
    """
    import prefect
    from prefect.settings import get_current_settings

    url = get_current_settings().server.database.connection_url
    name = url.get_secret_value().removeprefix("sqlite+aiosqlite:///") if url else ""
    file = Path(name)
    if prefect.__version__ != PREFECT_VERSION or not name.startswith("/") or file.exists() or not file.parent.is_dir():
        return False
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    try:
        _create(new)
        with suppress(FileExistsError):  # another server was quicker
            os.link(new, file)
            return True
    finally:
        new.unlink(missing_ok=True)
    return False


def dump_schema(file: Path) -> str:
    """Write the statements that make a migrated, empty database; without rows, except Alembic's revision.

    A server writes more rows when it runs, of which one identifies the installation: none of them belongs here.
    """
    with closing(sqlite3.connect(file)) as database:
        statements = [
            row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        ]
        [[revision]] = database.execute("SELECT version_num FROM alembic_version")
    statements.append(f"INSERT INTO alembic_version VALUES ('{revision}')")  # noqa: S608  a hash, of Prefect's own
    lines = "".join(f"{statement};\n" for statement in statements).split("\n")
    return "\n".join(line.rstrip() for line in lines)


def _create(file: Path) -> None:
    statements = files("roost.resources").joinpath(_STATEMENTS).read_text("utf-8")
    with closing(sqlite3.connect(file)) as database:
        # The journal mode is a property of the file; Prefect sets it, too.
        database.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {statements} COMMIT;")
    file.chmod(0o600)
