"""The first pages of a large PDF are embedded while later ones are parsed; chunks are those of the whole document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fpdf import FPDF
from tests.made_pdfs import lines_of, prose
from tests.stand_ins import HashEngine, InProcessWorkers, made_model, planned_row

from roost.tasks.models.embedded_texts import embedding_texts
from roost.tasks.models.embedder import Embedder
from roost.tasks.records import CHUNK, PLANNED, Batch, Chunked, Loaded
from roost.tasks.settings import Chunking, Embedding
from roost.tasks.steps.chunk import chunk_batch, cut_sizes
from roost.tasks.steps.embed import embed_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.load_file import join_file, load_range
from roost.tasks.steps.load_files import PAGE_RANGES
from roost.tasks.steps.pages_ahead import PagesAhead, cut_pages
from roost.tasks.workers import WorkerTimeLimitError

MODEL, CHUNKING, PAGES = made_model(), Chunking(), 32


class Workers(InProcessWorkers):
    """Workers that note what they do, one call at a time; `failing` is the page range that takes too long."""

    size = 1

    def __init__(self, failing: int = -1) -> None:
        super().__init__()
        self.events: list[str] = []
        self._failing = failing

    async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        if function is load_range and arguments[-1].number == self._failing:
            raise WorkerTimeLimitError("it takes more than 60 s of processor time")
        found = await super().run(function, arguments, seconds)
        is_range = function is load_range
        self.events.append(f"parsed {arguments[-1].number}" if is_range else function.__name__)
        return found


class Engine(HashEngine):
    """Notes which texts it embeds."""

    def __init__(self, workers: Workers) -> None:
        self.texts: list[str] = []
        self._workers = workers

    def embed_chunks(self, texts: list[str], tokens: Sequence[int]) -> Any:
        self.texts += texts
        self._workers.events.append("embedded")
        return super().embed_chunks(texts, tokens)


@cache
def large_pdf() -> bytes:
    """Pages with headings, and a footer that repeats from the fourth page on."""
    pdf = FPDF()
    for page in range(1, PAGES + 1):
        pdf.add_page()
        pdf.set_font("helvetica", size=16)
        pdf.text(20, 30, f"Chapter {prose(3, page)}")
        pdf.set_font("helvetica", size=11)
        for number, line in enumerate(lines_of(prose(120, page), 90)):
            pdf.text(20, 45 + 6 * number, line)
        pdf.text(20, 288, "Harbour board, all rights reserved" if page > 3 else prose(5, page))
    return bytes(pdf.output())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PDF that counts as large: it is read in page ranges."""
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    (tmp_path / "large.pdf").write_bytes(large_pdf())
    return tmp_path / "large.pdf"


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedder]:
    with Embedder(MODEL, Embedding()) as made:
        yield made


async def none_known(chunks: pl.DataFrame) -> list[str]:
    return []


async def take(file: Path, workers: Workers, embedder: Embedder, known: Any = none_known) -> tuple[Loaded, Chunked]:
    """Take the file through load and chunk, its first pages ahead."""
    batch = Batch("docs-0000", pl.DataFrame([planned_row("large.pdf", location=str(file), size=9)], schema=PLANNED))
    embedder.forget()
    pages = PagesAhead(workers, cut_sizes(CHUNKING, MODEL), embedder, known, seconds=60.0)
    async with pages:
        loaded = await load_batch(batch, workers, file.parent / "text", seconds=60.0, on_pages=pages.on_pages)
        chunked = await chunk_batch(loaded, CHUNKING, MODEL, workers, seconds=60.0)
        workers.events.append("chunked")
        pages.stop()
        embedded = await embed_batch(chunked, embedder, None, "")
        assert embedded.embedded == chunked.chunks["chunk_hash"].n_unique()
    return loaded, chunked


def engine_of(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine(workers)
    monkeypatch.setattr("roost.tasks.models.embedder.load_engine", lambda model, settings: engine)
    return engine


async def test_first_pages_are_embedded_before_the_last_are_parsed_and_each_text_once(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers()
    engine = engine_of(workers, monkeypatch)
    _, chunked = await take(file, workers, embedder)
    assert workers.events.index("embedded") < workers.events.index("parsed 8")
    assert len(engine.texts) == len(set(engine.texts))
    wrong = set(engine.texts) - set(chunked.chunks["text"])
    assert len(wrong) < 0.2 * len(engine.texts), "most first pages come out as in the whole document"


async def test_few_pages_are_cut_at_once_and_none_while_chunks_wait_for_the_model(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    is_parsed = asyncio.Event()

    class Noting(Workers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            if function is cut_pages:
                cut.append(len(arguments[2]))
            if function is join_file:
                is_parsed.set()
            return await super().run(function, arguments, seconds)

    async def known_late(chunks: pl.DataFrame) -> list[str]:
        await is_parsed.wait()
        return []

    workers = Noting()
    engine_of(workers, monkeypatch)
    await take(file, workers, embedder, known_late)
    assert cut == [1, 2]


async def test_chunks_are_those_of_the_document_parsed_as_one(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_of(Workers(), monkeypatch)
    loaded, chunked = await take(file, Workers(), embedder)
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 10**9)
    whole, chunks = await take(file, Workers(), embedder)
    assert chunks.chunks.equals(chunked.chunks)
    assert chunks.documents.equals(chunked.documents)
    assert loaded.documents["metadata"].to_list() == whole.documents["metadata"].to_list()


async def test_a_document_that_fails_on_its_last_pages_leaves_no_text_that_waits_for_it(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(failing=15)
    engine = engine_of(workers, monkeypatch)
    loaded, chunked = await take(file, workers, embedder)
    assert loaded.rejects["reason"].to_list() == ["too_slow"]
    assert chunked.chunks.is_empty()
    assert engine.texts
    assert not embedder._ahead


async def test_texts_that_the_index_has_are_not_embedded_ahead(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers()
    engine_of(workers, monkeypatch)

    async def all_known(chunks: pl.DataFrame) -> list[str]:
        return embedding_texts(chunks)["key"].to_list()

    await take(file, workers, embedder, all_known)
    assert workers.events.index("embedded") > workers.events.index("chunked")
    assert cut_pages.__name__ in workers.events


async def test_no_more_texts_are_embedded_ahead_than_are_remembered(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.models.embedder.MAX_AHEAD", 5)
    monkeypatch.setattr("roost.tasks.models.embedder.MAX_REMEMBERED", 5)
    workers = Workers()
    engine = engine_of(workers, monkeypatch)
    await take(file, workers, embedder)
    assert len(engine.texts) == len(set(engine.texts)), (
        "those that were embedded ahead were kept until they were needed"
    )


async def test_page_ranges_have_the_time_of_one_document_together(file: Path) -> None:
    given, loaded = await load_slowly(file, lambda limit: 25.0)
    assert given == [60.0, 35.0, 10.0]
    assert loaded.rejects["reason"].to_list() == ["too_slow"]


async def test_pages_after_scans_that_took_all_the_time_are_read(file: Path) -> None:
    given, loaded = await load_slowly(file, lambda limit: limit)
    assert given == [60.0, *[60.0 / PAGE_RANGES] * (PAGE_RANGES - 1)]
    assert loaded.rejects.is_empty()


async def load_slowly(file: Path, seconds_of: Callable[[float], float]) -> tuple[list[float], Loaded]:
    """Load a file with page ranges that take so many seconds of their limits: the limits, and what was loaded."""
    given: list[float] = []

    class Slow(Workers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            found = await super().run(function, arguments, seconds)
            if function is load_range:
                given.append(seconds or 0.0)
                if (used := seconds_of(given[-1])) > given[-1]:
                    raise WorkerTimeLimitError("too slow")
                object.__setattr__(found, "seconds", used)
            return found

    batch = Batch("docs-0000", pl.DataFrame([planned_row("large.pdf", location=str(file), size=9)], schema=PLANNED))
    return given, await load_batch(batch, Slow(), file.parent / "text", seconds=60.0)


async def test_two_batches_together_embed_no_more_texts_ahead_than_one(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.tasks.models.embedder.MAX_AHEAD", 5)
    engine_of(Workers(), monkeypatch)
    rows = [
        {name: f"{batch}{n}" if kind == pl.String else 1 for name, kind in CHUNK.items()}
        for batch in "ab"
        for n in range(4)
    ]
    both = pl.DataFrame(rows, schema=CHUNK).with_columns(context=pl.lit(""))
    embedded = await asyncio.gather(*(embedder.embed_ahead(part) for part in both.iter_slices(4)))
    assert sorted(map(len, embedded)) == [1, 4]
    assert await embedder.embed_ahead(both.slice(5)) == set()
