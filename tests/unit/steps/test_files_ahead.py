"""A large file that is loaded before its batch is parsed once; one that has changed or has failed is parsed again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.stand_ins import InProcessWorkers, planned_row
from tests.unit.sources.test_parsers import make_pdf

from roost.tasks.records import PLANNED, Batch, Loaded
from roost.tasks.steps.files_ahead import FilesAhead, Share, parse_alone
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.load_file import load_range
from roost.tasks.steps.load_files import PAGE_RANGES
from roost.tasks.steps.text_files import read_blocks
from roost.tasks.workers import WorkerTimeLimitError


class Workers(InProcessWorkers):
    """Counts the page ranges that are parsed; fails at the last one while `is_slow`."""

    def __init__(self) -> None:
        super().__init__()
        self.parsed = 0
        self.is_slow = False

    async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        if function is load_range:
            self.parsed += 1
            if self.is_slow and arguments[-1].number == PAGE_RANGES - 1:
                raise WorkerTimeLimitError("it takes more than 9 s of processor time")
        return await super().run(function, arguments, seconds)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PDF that counts as large."""
    monkeypatch.setattr("roost.tasks.steps.load_files.MIN_PAGED_BYTES", 1)
    (tmp_path / "large.pdf").write_bytes(make_pdf("herring", "cod"))
    return tmp_path / "large.pdf"


async def load(file: Path, workers: Workers, folder: str, share: Share) -> Loaded:
    batch = Batch("docs-0000", pl.DataFrame([planned_row("large.pdf", location=str(file), size=9)], schema=PLANNED))
    return await load_batch(batch, workers, file.parent / folder, seconds=9.0, share=share)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_batch_first", [False, True])
async def test_a_file_that_is_being_parsed_is_taken_over(file: Path, *, is_batch_first: bool) -> None:
    workers, files = Workers(), FilesAhead()
    calls = [load(file, workers, "ahead", files.load_ahead), load(file, workers, "text", files.load)]
    early, taken = await asyncio.gather(*(calls[::-1] if is_batch_first else calls))
    assert workers.parsed == PAGE_RANGES
    own = await load(file, workers, "own", parse_alone)
    assert taken.documents.equals(early.documents)
    assert taken.documents.equals(own.documents)
    assert read_blocks(taken.blocks).equals(read_blocks(own.blocks))
    assert not list(file.parent.glob("*/*.copy"))


async def test_a_file_is_handed_over_once_and_none_that_its_batch_parsed_is_kept(file: Path) -> None:
    workers, files = Workers(), FilesAhead()
    await load(file, workers, "ahead", files.load_ahead)
    for count in (1, 2, 3):
        await load(file, workers, f"text-{count}", files.load)
        assert workers.parsed == count * PAGE_RANGES


async def test_a_file_that_has_changed_is_parsed_again(file: Path) -> None:
    workers, files = Workers(), FilesAhead()
    await load(file, workers, "ahead", files.load_ahead)
    file.write_bytes(make_pdf("herring", "plaice"))
    loaded = await load(file, workers, "text", files.load)
    assert read_blocks(loaded.blocks)["text"].str.strip_chars().to_list() == ["herring", "plaice"]


async def test_a_file_that_failed_ahead_is_parsed_again_by_its_batch(file: Path) -> None:
    workers, files = Workers(), FilesAhead()
    workers.is_slow = True
    early = await load(file, workers, "ahead", files.load_ahead)
    workers.is_slow = False
    loaded = await load(file, workers, "text", files.load)
    assert early.rejects["reason"].to_list() == ["too_slow"]
    assert loaded.documents.height == 1
