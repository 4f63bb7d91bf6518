"""What a listing has a worker process do, with its limits: list tables, mails and mailboxes, and read web pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, TypeVar

from roost.tasks.errors import DocumentError
from roost.tasks.sources.connectors.items import hash_location
from roost.tasks.sources.mailboxes import list_contents
from roost.tasks.sources.opened_source import ListingChoices
from roost.tasks.sources.source import Columns
from roost.tasks.sources.stall import limited_otherwise
from roost.tasks.sources.tables import TableListing
from roost.tasks.workers import WorkerError

T = TypeVar("T")


class TableWorker:
    """Calls functions in a worker process, for a thread that waits for them; leaving the block ends the call."""

    def __init__(self, choices: ListingChoices) -> None:
        self._choices = choices
        self._loop = asyncio.get_running_loop()
        self._call: Future[Any] | None = None
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
        arguments = (location, source, uri, columns, spool, self._choices.table_mb)
        return self._call_worker("listing its contents", list_contents, *arguments)

    def hash(self, location: str) -> str:
        """Hash an item whose content came with the listing, as the step load does.

        Raises:
            DocumentError: It exceeds the limits of a worker.
            CancelledError: The run was cancelled.
        """
        return self._call_worker("reading it", hash_location, location)

    def _call_worker(self, doing: str, function: Callable[..., T], *arguments: Any) -> T:
        if self._is_left:
            raise CancelledError
        work = self._choices.workers.run(function, arguments, self._choices.table_seconds)
        call = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._call = call
        if self._is_left:  # in between
            call.cancel()
        try:
            with limited_otherwise():
                return call.result()
        except WorkerError as error:
            raise DocumentError(error.reason, f"{doing}: {error}") from None
