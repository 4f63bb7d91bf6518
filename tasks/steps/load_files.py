"""Loading of the files of a batch: each is a task of the worker processes, and a large one a task for each page range.

Page ranges are parsed in their order, so that the first pages can be embedded while later ones are parsed, and all from
one copy of the file. A file at which its parser crashes is read by the parser's stand-in, where it has one: all of it,
so that its text does not depend on which ranges were parsed before the crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from roost.tasks.errors import DocumentError, RoostError
from roost.tasks.sources.connectors.items import hash_location, is_item
from roost.tasks.sources.parsers.parse import has_pages, has_stand_in, parser_of
from roost.tasks.sources.parsers.parsed import PageRange
from roost.tasks.steps.files_ahead import Share
from roost.tasks.steps.load_file import (
    Outcome,
    copy_file,
    join_file,
    load_file,
    load_file_by_stand_in,
    load_range,
)
from roost.tasks.workers import WorkerCrashError, WorkerError, Workers, WorkerStalledError, WorkerTimeLimitError

#: Size from which a file is parsed in page ranges, where its format allows, and the number of these ranges.
MIN_PAGED_BYTES = 500_000
PAGE_RANGES = 16

#: Awaited with a file's name, its `doc_id` and its first page ranges, whenever these are more than before, and before
#: the same process parses a further range.
OnPages: TypeAlias = Callable[[str, str, Sequence[Outcome]], Awaitable[None]]


class _File(NamedTuple):
    """A file to load: what to open, its name, its id, and the file for its text."""

    location: str
    name: str
    doc_id: str
    text: str


async def load_files(
    files: pl.DataFrame,
    workers: Workers,
    texts: Path,
    seconds: float,
    on_pages: OnPages,
    share: Share,
) -> dict[str, Outcome]:
    """Read and parse files.

    Args:
        files: Frame of `PLANNED`.
        workers: The processes that parse.
        texts: Folder for the parsed text.
        seconds: Limit of processor time for one file.
        on_pages: Told of the pages of large files as they are read.
        share: Parses large files, or takes them over from another call.

    Returns:
        What each gave, by `doc_id`.
    """
    is_few = files.height <= workers.size  # with more files than workers, none of these would be idle
    calls = [
        _Loading(
            _File(row["location"], row["uri"], row["doc_id"], str(texts / f"{number}.arrow")), workers, seconds, share
        ).load(_count_ranges(row) if is_few else 1, on_pages)
        for number, row in enumerate(files.iter_rows(named=True))
    ]
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


def _count_ranges(row: dict[str, Any]) -> int:
    """Choose in how many page ranges a file is parsed: an item in one, with what its place knows of it."""
    is_paged = row["size"] >= MIN_PAGED_BYTES and has_pages(row["uri"]) and not is_item(row["location"])
    return PAGE_RANGES if is_paged else 1


class _Loading:
    """The loading of one file."""

    def __init__(self, file: _File, workers: Workers, seconds: float, share: Share) -> None:
        self._file, self._workers, self._seconds = file, workers, seconds
        self._share = share
        self._content_hash = ""  # of the copy that page ranges are parsed from

    async def load(self, count: int, on_pages: OnPages) -> Outcome:
        """Load the file in so many page ranges."""
        try:
            try:
                return await (self._load_in_ranges(count, on_pages) if count > 1 else self._load_whole(load_file))
            except WorkerCrashError as crash:
                if not has_stand_in(self._file.name):
                    raise
                outcome = await self._load_whole(load_file_by_stand_in)
                if isinstance(outcome.result, DocumentError):
                    raise crash from None
                return outcome
        except WorkerError as error:
            refusal = DocumentError(error.reason, f"parsing: {error}")
            can_read = not isinstance(error, WorkerStalledError)
        if not can_read:
            return Outcome("", refusal)
        return Outcome(self._content_hash or await self._hash(), refusal, parser_of(self._file.name))

    async def _load_whole(self, function: Callable[..., Outcome]) -> Outcome:
        file = self._file
        return await self._workers.run(function, (file.location, file.name, file.doc_id, file.text), self._seconds)

    async def _load_in_ranges(self, count: int, on_pages: OnPages) -> Outcome:
        """Copy the file, and parse the copy, or take over what another call gives for the same content.

        Raises:
            WorkerError: As `_load_ranges`, or a process ended that copied or joined.
        """
        file = self._file
        copy = f"{file.text}.copy"
        found = await self._workers.run(copy_file, (file.location, copy), self._seconds)
        if isinstance(found, RoostError):
            return Outcome("", found)
        self._content_hash = found
        try:
            return await self._share(file.doc_id, found, partial(self._load_copy, copy, count, on_pages))
        finally:
            await asyncio.to_thread(Path(copy).unlink, missing_ok=True)

    async def _load_copy(self, copy: str, count: int, on_pages: OnPages) -> Outcome:
        """Parse the page ranges of the copy, and join them; the first that is refused refuses the file.

        Raises:
            WorkerError: As `_load_ranges`, or the process ended that joined.
        """
        file = self._file
        parts = await self._load_ranges(copy, count, on_pages)
        outcome = next((one for one in parts if isinstance(one.result, RoostError)), None)
        if outcome is None:
            arguments = (file.name, file.doc_id, file.text, parts)
            outcome = await self._workers.run(join_file, arguments, self._seconds)
        return replace(outcome, content_hash=self._content_hash)

    async def _load_ranges(self, copy: str, count: int, on_pages: OnPages) -> list[Outcome]:
        """Parse page ranges in their order, as many at once as there are workers; after a refusal, begin no more.

        Raises:
            WorkerError: A range ended its process, or took more processor time than the others and its share leave it;
                of several, one that crashed.
        """
        waiting = iter(range(count))
        done: dict[int, Outcome] = {}
        told = 0

        async def load_waiting() -> None:
            nonlocal told
            for number in waiting:
                left = self._seconds - sum(one.seconds for one in done.values())
                # Scans are read as long as there is time: the pages after them still have their share.
                limit = max(left, self._seconds / count)
                done[number] = await self._load_range(copy, PageRange(number, count), limit)
                if isinstance(done[number].result, RoostError):
                    return
                first = [done[n] for n in takewhile(done.__contains__, range(count))]
                if told < len(first) < count:
                    told = len(first)
                    await on_pages(self._file.name, self._file.doc_id, first)

        async def load_or_end() -> None:
            try:
                await load_waiting()
            finally:
                for _ in waiting:  # so that the others begin no more
                    pass

        lanes = [load_or_end() for _ in range(min(count, self._workers.size))]
        ends = await asyncio.gather(*lanes, return_exceptions=True)
        errors = [one for one in ends if isinstance(one, BaseException)]
        if errors:
            raise next((one for one in errors if isinstance(one, WorkerCrashError)), errors[0])
        return [done[number] for number in sorted(done)]

    async def _load_range(self, copy: str, pages: PageRange, limit: float) -> Outcome:
        file = self._file
        try:
            arguments = (copy, file.name, file.doc_id, f"{file.text}.{pages.number}", pages)
            return await self._workers.run(load_range, arguments, limit)
        except WorkerTimeLimitError:
            message = f"it takes more than {self._seconds:g} s of processor time"
            raise WorkerTimeLimitError(message) from None

    async def _hash(self) -> str:
        """Hash a file that could not be parsed, so that the next run recognises it; empty when that fails too."""
        with suppress(WorkerError):
            return await self._workers.run(hash_location, (self._file.location,), self._seconds)
        return ""
