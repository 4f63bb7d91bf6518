"""Load: one bad document refuses itself with a reason, and what is kept of a document can be stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fpdf import FPDF
from tests.stand_ins import InProcessWorkers

from roost.tasks.errors import TransientError
from roost.tasks.ids import doc_id
from roost.tasks.records import PLANNED, Batch, Loaded
from roost.tasks.sources.listing import list_source
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers.parsed import PageRange
from roost.tasks.sources.source import Source
from roost.tasks.steps.load import load_batch


@pytest.fixture
def workers() -> InProcessWorkers:
    return InProcessWorkers()


def batch(*listings: pl.DataFrame) -> Batch:
    nothing = pl.lit(0, pl.Int64)
    planned = {"old_chunks": nothing, "committed": nothing, "attempts": nothing, "moved_from": pl.lit("")}
    return Batch("docs-0000", pl.concat(listings).with_columns(pl.lit("added").alias("action"), **planned))


def listed(uri: str, location: Path | str, **changed: Any) -> pl.DataFrame:
    row = {
        "doc_id": doc_id("docs", uri),
        "source": "docs",
        "uri": uri,
        "location": str(location),
        "size": 1,
        "modified": "",
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "",
        "action": "added",
        "old_chunks": 0,
        "committed": 0,
        "attempts": 0,
        "moved_from": "",
    }
    return pl.DataFrame([row | changed], schema=PLANNED)


def refused(loaded: Loaded) -> dict[str, str]:
    return dict(loaded.rejects.select("uri", "reason").iter_rows())


async def test_the_rows_of_a_table_are_loaded_with_title_text_and_metadata(
    workers: InProcessWorkers, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("id,title,text,place\n1,One,first,Oslo\n2,,second,\n3,Three,,\n4,,,\n")
    documents = list_source(open_sources([Source(uri="t.csv")])[0], tmp_path).documents
    loaded = await load_batch(batch(documents), workers, seconds=3.0)
    assert refused(loaded) == {"t.csv#4": "empty"}
    assert loaded.blocks["text"].to_list() == ["One\n\nfirst", "second", "Three"]
    assert loaded.documents["title"].to_list() == ["One", "", "Three"]
    assert [json.loads(text) for text in loaded.documents["metadata"]] == [{"place": "Oslo"}, {}, {}]
    assert loaded.documents["content_hash"].to_list() == documents["content_hash"].to_list()[:3]


async def test_a_server_that_is_away_is_tried_again_and_refused_only_at_last(workers: InProcessWorkers) -> None:
    away = Batch("docs-0000", listed("a.md", "http://127.0.0.1:9/a.md"))
    with pytest.raises(TransientError):
        await load_batch(away, workers, seconds=20.0, last_try=False)
    assert refused(await load_batch(away, workers, seconds=20.0)) == {"a.md": "unreadable"}


async def test_a_large_pdf_is_parsed_by_several_workers_to_the_same_text(workers, tmp_path, monkeypatch):
    file = tmp_path / "large.pdf"
    pdf = FPDF()
    for page in range(5):
        pdf.add_page()
        pdf.set_font("helvetica", size=12)
        pdf.multi_cell(0, text=f"Page {page} speaks of herring.")
    file.write_bytes(bytes(pdf.output()))
    whole = await load_batch(batch(listed("large.pdf", file)), workers, seconds=60)
    monkeypatch.setattr("roost.tasks.steps.load.MIN_PAGED_BYTES", 1)
    asked = count_calls(workers, monkeypatch)
    parts = await load_batch(batch(listed("large.pdf", file)), workers, seconds=60)
    assert asked == [PageRange(0, 2), PageRange(1, 2)]
    assert parts.blocks.equals(whole.blocks)
    assert parts.documents.equals(whole.documents)


def count_calls(workers: InProcessWorkers, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note which page ranges are asked of the workers."""
    asked: list[Any] = []
    run = workers.run

    async def noted(function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        asked.append(arguments[-1])
        return await run(function, arguments, seconds)

    monkeypatch.setattr(workers, "run", noted)
    return asked
