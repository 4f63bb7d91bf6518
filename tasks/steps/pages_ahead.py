"""The first pages of a large document: cut and embedded while its later pages are parsed.

Only vectors are kept of them, in the embedder's memory, by the hash of their text. The document's batch cuts all of it
and finds the vectors there. What comes out otherwise then, because a line of the first pages turns out to repeat on all
pages for example, is embedded by the batch: chunks are the same as without this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

import polars as pl

from roost.tasks.models.embedder import Embedder
from roost.tasks.records import CHUNK, TEXT_BLOCK
from roost.tasks.sources.parsers.parsed import Parsed
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.load import MAX_TITLE_CHARACTERS
from roost.tasks.steps.load_file import Outcome, join_parts
from roost.tasks.steps.text_files import TextFile, place_blocks
from roost.tasks.workers import Workers

#: Most page ranges that are cut at once: what comes out otherwise in the whole document is embedded in vain,
#: and of later pages this is more.
MAX_RANGES_AT_ONCE = 2

_log = logging.getLogger(__name__)


class PagesAhead:
    """Embeds first pages for a batch. An async context manager around the batch's steps up to its embedding."""

    def __init__(
        self,
        workers: Workers,
        sizes: CutSizes,
        embedder: Embedder,
        find_known: Callable[[pl.DataFrame], Awaitable[Sequence[str]]],
        *,
        seconds: float,
        is_before_run: bool = False,
    ) -> None:
        """Make it.

        Args:
            workers: The processes that cut.
            sizes: Sizes of the chunks.
            embedder: Embeds the chunks.
            find_known: Gives the keys of those texts of chunks (frame of `CHUNK`) whose vector is stored already.
            seconds: Limit of processor time for cutting the new pages of one document.
            is_before_run: Whether the batch that takes the vectors comes later, in the run.
        """
        self._workers, self._sizes, self._embedder, self._seconds = workers, sizes, embedder, seconds
        self._find_known, self._is_before_run = find_known, is_before_run
        self._count_done: dict[str, int] = {}  # page ranges that were cut, by document
        self._waiting: list[pl.DataFrame] = []  # chunks that were cut and not yet embedded
        self._embedded: set[str] = set()
        self._is_cutting = self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> PagesAhead:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        try:
            if self._task:
                if error is not None:
                    self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
        finally:
            if not self._is_before_run:
                self._embedder.take_ahead(self._embedded)

    async def on_pages(self, name: str, doc_id: str, parts: Sequence[Outcome]) -> None:
        """Cut a file's first page ranges, as `load_files.OnPages`: the model embeds them while later ones are parsed.

        While chunks wait for the model, none are cut.
        """
        count = self._count_done.get(doc_id, 0)
        if len(parts) <= count or self._waiting or self._is_cutting or self._is_stopped:
            return
        if not self._sizes.size:  # the document will be one chunk
            return
        self._is_cutting = True
        first = parts[: count + MAX_RANGES_AT_ONCE]
        self._count_done[doc_id] = len(first)
        try:
            chunks = await self._workers.run(cut_pages, (name, doc_id, first, count, self._sizes), self._seconds)
        except Exception as error:  # noqa: BLE001  a worker, or the text: the batch meets it again
            self._give_up(error)
            return
        finally:
            self._is_cutting = False
        self._waiting.append(chunks)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._embed())

    def stop(self) -> None:
        """Begin no more: the batch is cut. What is being embedded is finished, and the batch finds it."""
        self._is_stopped = True

    async def _embed(self) -> None:
        try:
            while self._waiting and not self._is_stopped:
                chunks = pl.concat(self._waiting)
                self._waiting.clear()
                self._embedded |= await self._embedder.embed_ahead(chunks, await self._find_known(chunks))
        except Exception as error:  # noqa: BLE001  the store or the model: the batch meets it again
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.stop()
        _log.debug("nothing more is embedded ahead: %s", error)


def cut_pages(name: str, doc_id: str, parts: Sequence[Outcome], count_done: int, sizes: CutSizes) -> pl.DataFrame:
    """Cut the new ones of a document's first pages, in a worker process.

    Args:
        name: Its suffix chooses the parser.
        doc_id: Its id.
        parts: Its first page ranges.
        count_done: Number of page ranges that were cut before.
        sizes: Sizes of the chunks.

    Returns:
        Frame of `CHUNK`; ordinals and places are those of a document of these pages alone.

    Raises:
        TextFileError: The text cannot be read.
    """
    texts = [one.result.read() for one in parts[count_done:] if isinstance(one.result, TextFile)]
    pages = [block.page for text in texts for block in text.blocks]
    joined = join_parts(name, parts).result
    if not pages or not isinstance(joined, Parsed):
        return CHUNK.to_frame()
    blocks = (block for block in joined.blocks if block.page >= min(pages))
    rows = pl.DataFrame(list(place_blocks(doc_id, blocks)), schema=TEXT_BLOCK)
    return cut_blocks(rows, sizes, {doc_id: joined.title[:MAX_TITLE_CHARACTERS]})
