"""Loading of the files of a batch: each is a task of the worker processes, and a large one a task for each page range.

Page ranges are read in their order, so that the first pages can be embedded while later ones are parsed. A range whose
process crashes is read again by the parser's stand-in, where it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from roost.tasks.errors import DocumentError, RoostError, TransientError
from roost.tasks.ids import hash_file
from roost.tasks.locations import local_path
from roost.tasks.sources.parsers.parse import has_pages, has_stand_in, parser_of
from roost.tasks.sources.parsers.parsed import PageRange
from roost.tasks.steps.load_file import Outcome, join_file, load_file, load_file_by_stand_in
from roost.tasks.workers import WorkerCrashError, WorkerError, Workers, WorkerStalledError, WorkerTimeLimitError

#: Size from which a file is parsed in page ranges, where its format allows, and the number of these ranges.
MIN_PAGED_BYTES = 500_000
PAGE_RANGES = 16

#: Called with a file's name, its `doc_id` and its first page ranges, whenever these are more than before.
OnPages: TypeAlias = Callable[[str, str, Sequence[Outcome]], None]


class _File(NamedTuple):
    """A file to load: what to open, its name, its id, and the file for its text."""

    location: str
    name: str
    doc_id: str
    text: str


async def load_files(
    files: pl.DataFrame, workers: Workers, texts: Path, seconds: float, on_pages: OnPages
) -> dict[str, Outcome]:
    """Read and parse files.

    Args:
        files: Frame of `PLANNED`.
        workers: The processes that parse.
        texts: Folder for the parsed text.
        seconds: Limit of processor time for one file.
        on_pages: Told of the pages of large files as they are read.

    Returns:
        What each gave, by `doc_id`.
    """
    is_few = files.height <= workers.size  # with more files than workers, none of these would be idle
    calls = [
        _Loading(
            _File(row["location"], row["uri"], row["doc_id"], str(texts / f"{number}.arrow")), workers, seconds
        ).load(_count_ranges(row, workers.size // files.height) if is_few else 1, on_pages)
        for number, row in enumerate(files.iter_rows(named=True))
    ]
    return dict(zip(files["doc_id"], await asyncio.gather(*calls), strict=True))


def _count_ranges(row: dict[str, Any], idle_workers: int) -> int:
    """Choose in how many page ranges a file is read: of a remote one, each range is another download."""
    if row["size"] < MIN_PAGED_BYTES or not has_pages(row["uri"]):
        return 1
    return PAGE_RANGES if local_path(row["location"]) is not None else idle_workers


class _Loading:
    """The loading of one file."""

    def __init__(self, file: _File, workers: Workers, seconds: float) -> None:
        self._file, self._workers, self._seconds = file, workers, seconds
        self._crash: WorkerCrashError | None = None

    async def load(self, count: int, on_pages: OnPages) -> Outcome:
        """Load the file in so many page ranges."""
        file = self._file
        try:
            if count == 1:
                return await self._load_part(file.text, None, self._seconds)
            parts = await self._load_ranges(count, on_pages)
            outcome = _first_refused(file.location, parts)
            if isinstance(outcome, Outcome):
                return outcome
            joined = await self._workers.run(join_file, (file.name, file.doc_id, file.text, parts), self._seconds)
            if self._crash and isinstance(joined.result, DocumentError):
                raise self._crash
            return joined
        except WorkerError as error:
            refusal = DocumentError(error.reason, f"parsing: {error}")
            can_read = not isinstance(error, WorkerStalledError)
        if not can_read:
            return Outcome("", refusal)
        return Outcome(await self._hash(), refusal, parser_of(file.name))

    async def _load_ranges(self, count: int, on_pages: OnPages) -> list[Outcome]:
        """Load page ranges in their order, as many at once as there are workers; after a refusal, begin no more.

        Raises:
            WorkerError: A range ended its process, or took more processor time than the others and its share leave it.
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
                done[number] = await self._load_range(PageRange(number, count), limit)
                if isinstance(done[number].result, RoostError):
                    return
                first = [done[n] for n in takewhile(done.__contains__, range(count))]
                if told < len(first) < count:
                    told = len(first)
                    on_pages(self._file.name, self._file.doc_id, first)

        async def load_or_end() -> None:
            try:
                await load_waiting()
            finally:
                for _ in waiting:  # so that the others begin no more
                    pass

        lanes = [load_or_end() for _ in range(min(count, self._workers.size))]
        for ended in await asyncio.gather(*lanes, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        return [done[number] for number in sorted(done)]

    async def _load_range(self, pages: PageRange, limit: float) -> Outcome:
        try:
            return await self._load_part(f"{self._file.text}.{pages.number}", pages, limit)
        except WorkerTimeLimitError:
            message = f"it takes more than {self._seconds:g} s of processor time"
            raise WorkerTimeLimitError(message) from None

    async def _load_part(self, text: str, pages: PageRange | None, seconds: float) -> Outcome:
        """Load the file or a range; once its parser has crashed, by the parser's stand-in.

        Raises:
            WorkerError: It ended its process, and there is no stand-in or that found no text either.
        """
        file = self._file
        arguments = (file.location, file.name, file.doc_id, text, pages)
        if self._crash is None:
            try:
                return await self._workers.run(load_file, arguments, seconds)
            except WorkerCrashError as crash:
                if not has_stand_in(file.name):
                    raise
                self._crash = crash
        outcome = await self._workers.run(load_file_by_stand_in, arguments, seconds)
        if isinstance(outcome.result, DocumentError):
            raise self._crash
        return outcome

    async def _hash(self) -> str:
        """Hash a file that could not be parsed, so that the next run recognises it; empty when that fails too."""
        with suppress(WorkerError):
            return await self._workers.run(hash_file, (self._file.location,), self._seconds)
        return ""


def _first_refused(location: str, outcomes: Sequence[Outcome]) -> Outcome | Sequence[Outcome]:
    """Give the first page range of a file that is refused, which refuses the file; all where none is."""
    if refused := next((one for one in outcomes if isinstance(one.result, RoostError)), None):
        return refused
    if len({one.content_hash for one in outcomes}) > 1:
        return Outcome("", TransientError(f"{location} changed while it was read"))
    return outcomes
