"""The program `prefect` for a server with SQLite, with the change of `roost.deployments.local.sqlite_writer`.

    python -m roost.deployments.local.prefect_program server start

Its database is created if there is none.
"""

from __future__ import annotations

from prefect.cli import app

from roost.deployments.local import sqlite_writer
from roost.deployments.local.prefect_database import place_empty_database


def main() -> None:
    """Run the command `prefect`."""
    sqlite_writer.apply()
    place_empty_database()
    app()


if __name__ == "__main__":
    main()
