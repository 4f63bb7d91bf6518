"""Listing of tables, mails and mailboxes in a worker process, with its limits."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from pathlib import Path

from roost.tasks.errors import DocumentError
from roost.tasks.sources.mailboxes import list_contents
from roost.tasks.sources.opened_source import ListingChoices
from roost.tasks.sources.source import Columns
from roost.tasks.sources.stall import limited_otherwise
from roost.tasks.sources.tables import TableListing
from roost.tasks.workers import WorkerError


class TableWorker:
    """Calls `list_contents` in a worker process, for a thread that waits for it; leaving the block ends the call."""

    def __init__(self, choices: ListingChoices) -> None:
        self._choices = choices
        self._loop = asyncio.get_running_loop()
        self._call: Future[TableListing] | None = None
        self._is_left = False

    def __enter__(self) -> TableWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        if self._call:
            self._call.cancel()

    def __call__(self, location: str, source: str, uri: str, columns: Columns, spool: Path) -> TableListing:
        """List a table.

        Raises:
            SourceError, DocumentError: As `list_contents`; also where the table exceeds the limits of a worker.
            CancelledError: The run was cancelled.
        """
        if self._is_left:
            raise CancelledError
        arguments = (location, source, uri, columns, spool, self._choices.table_mb)
        work = self._choices.workers.run(list_contents, arguments, self._choices.table_seconds)
        call = self._call = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self._is_left:  # in between
            call.cancel()
        try:
            with limited_otherwise():
                return call.result()
        except WorkerError as error:
            raise DocumentError(error.reason, f"listing its contents: {error}") from None
