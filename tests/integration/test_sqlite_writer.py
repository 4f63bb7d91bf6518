"""Transactions of Prefect's server on SQLite, with the change of `sqlite_writer` and without it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roost.deployments.local.sqlite_writer import begin_as_writer


async def read_then_write_beside_another(url: str) -> int:
    """Write in a transaction that has read before another one commits; return how many writes the table then has."""
    import sqlalchemy as sa
    from prefect.server.database.configurations import AioSqliteConfiguration

    database = AioSqliteConfiguration(connection_url=url)
    engine = await database.engine()

    async def write() -> None:
        async with await database.session(engine) as session, database.begin_transaction(session):
            await session.execute(sa.text("INSERT INTO writes VALUES (1)"))

    async with await database.session(engine) as session:
        async with database.begin_transaction(session):
            await session.execute(sa.text("CREATE TABLE writes (n INTEGER)"))
        async with database.begin_transaction(session):
            await session.execute(sa.text("SELECT count(*) FROM writes"))
            other = asyncio.ensure_future(write())
            await asyncio.wait([other], timeout=0.3)
            await session.execute(sa.text("INSERT INTO writes VALUES (2)"))
        await other
        return int((await session.execute(sa.text("SELECT count(*) FROM writes"))).scalar_one())


@pytest.fixture
def url(tmp_path: Any) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/prefect.db"


def test_a_transaction_that_begins_as_a_writer_is_not_refused_when_another_commits_after_its_first_read(
    url, monkeypatch
):
    from prefect.server.database.configurations import AioSqliteConfiguration

    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", begin_as_writer)
    assert asyncio.run(read_then_write_beside_another(url)) == 2


def test_prefects_own_transactions_still_fail_so_the_change_is_still_needed(url):
    from sqlalchemy.exc import OperationalError

    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(read_then_write_beside_another(url))
