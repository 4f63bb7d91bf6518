"""A change of Prefect's server: a transaction on SQLite takes the write lock when it begins.

Prefect begins its transactions as readers. One that reads first and then writes cannot become a writer when another
has committed in between: SQLite reports "database is locked" at once, whatever its time-out, and the request fails with
status 503. A transaction that begins as a writer waits for its turn, 60 s at most.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_begin = AioSqliteConfiguration.begin_transaction


def begin_as_writer(
    self: AioSqliteConfiguration,
    session: AsyncSession,
    with_for_update: bool = False,
) -> AbstractAsyncContextManager[AsyncSessionTransaction]:
    """Begin a transaction as Prefect does for those that it marks as writers."""
    return _begin(self, session, with_for_update=True)


def apply() -> None:
    """Make the change in this process."""
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign, assignment]
