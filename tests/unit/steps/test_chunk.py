"""The step `chunk`: sizes that the model would truncate are refused, and workers share a batch without changing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.stand_ins import InProcessWorkers, made_model

from roost.tasks.errors import ModelError
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.records import LOADED, REJECT, TEXT_BLOCK, TEXT_PLACE, Loaded
from roost.tasks.settings import Chunking
from roost.tasks.steps.chunk import check_window, chunk_batch
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.text_files import TextFileError, read_blocks
from roost.tasks.workers import WorkerError, WorkerMemoryError, WorkerStalledError, WorkerTimeLimitError

MODEL = made_model()
TOKENIZER = load_tokenizer(MODEL.tokenizer_file)


def cut(blocks: pl.DataFrame, size: int, overlap: int) -> pl.DataFrame:
    return cut_blocks(blocks, CutSizes(size, overlap, str(MODEL.tokenizer_file)))


def blocks(*texts: str) -> pl.DataFrame:
    """The pages of one document, as `load` lays them out."""
    rows, start = [], 0
    for page, text in enumerate(texts, start=1):
        rows.append({"doc_id": "d", "text": text, "page": page, "start": start, "kind": "text", "heading": ""})
        start += len(text) + 1
    return pl.DataFrame(rows, schema=TEXT_BLOCK)


def spooled(frame: pl.DataFrame, folder: Path) -> Loaded:
    """A batch as `load` leaves it, of text blocks."""
    frame.write_ipc(file := folder / "text.arrow")
    size = pl.col("text").str.len_bytes().cast(pl.Int64)
    places = frame.select("doc_id", size.alias("bytes"), file=pl.lit(str(file))).with_row_index("row")
    rows = [dict.fromkeys(LOADED) | {"doc_id": key} for key in frame["doc_id"].unique(maintain_order=True)]
    documents = pl.DataFrame(rows, schema=LOADED)
    return Loaded("docs-0000", documents, places.select(list(TEXT_PLACE)).cast(TEXT_PLACE), REJECT.to_frame(), 0.0)


def windowed(**changed: Any) -> Model:
    return replace(MODEL, **changed)


def test_the_largest_size_that_fits_the_window_is_taken() -> None:
    check_window(Chunking(size=MODEL.window - MODEL.special_tokens), MODEL)


def test_one_token_more_is_refused_and_the_largest_size_named() -> None:
    with pytest.raises(ModelError) as caught:
        check_window(Chunking(size=255), MODEL)
    assert str(caught.value) == (
        f"ROOST_CHUNKING__SIZE=255 does not fit {MODEL.name}: its window is 256 tokens, "
        "2 of them its own; the largest size is 254"
    )


def test_an_instruction_before_each_chunk_takes_its_share_of_the_window() -> None:
    model = windowed(text_instruction="passage: ")
    instruction = len(TOKENIZER.encode(model.text_instruction).ids)
    check_window(Chunking(size=256 - instruction), model)
    with pytest.raises(ModelError, match=f"the largest size is {256 - instruction}$"):
        check_window(Chunking(size=256 - instruction + 1), model)


def test_what_is_named_as_the_largest_size_really_fits_the_model() -> None:
    model = windowed(text_instruction="Represent this passage: ")
    size = 256 - len(TOKENIZER.encode(model.text_instruction).ids)
    chunks = cut(blocks("It is a truth universally acknowledged, that trains are late. " * 60), size, 0).to_dicts()
    longest = max(len(TOKENIZER.encode(model.text_instruction + chunk["text"]).ids) for chunk in chunks)
    assert size - 20 < longest <= 256


async def test_a_batch_cut_by_several_workers_is_the_batch_cut_by_one(tmp_path: Path) -> None:
    pages = [blocks(*(f"Sentence {n} of page {page}. " * 40 for page in range(9))) for n in range(4)]
    frame = pl.concat(each.with_columns(doc_id=pl.lit(f"{n:032x}")) for n, each in enumerate(pages))
    batch = spooled(frame, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roost.tasks.steps.chunk.MIN_SHARE_BYTES", 1000)
        chunked = await chunk_batch(batch, Chunking(size=40, overlap=8), MODEL, InProcessWorkers(), seconds=60)
    assert chunked.chunks.equals(cut(frame, 40, 8))
    assert chunked.rejects.is_empty()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WorkerTimeLimitError("it takes more than 60 s"), "too_slow"),
        (WorkerStalledError("it was not done"), "stalled"),
        (WorkerMemoryError("it needs more memory"), "too_large"),
        (WorkerError("the worker process died with exit code -9"), "parser_died"),
        (AttributeError("'NoneType' object has no attribute 'text'"), "failed"),
    ],
)
async def test_what_ends_a_worker_that_cuts_is_not_taken_for_damage(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    class Ended(InProcessWorkers):
        async def run(self, function: Any, arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
            if "deadly" in read_blocks(arguments[0])["text"][-1]:
                raise error
            return await super().run(function, arguments, seconds)

    frame = pl.concat([blocks("A short text."), blocks("A deadly one.").with_columns(doc_id=pl.lit("e"))])
    batch = spooled(frame, tmp_path)
    chunked = await chunk_batch(batch, Chunking(size=40, overlap=8), MODEL, Ended(), seconds=60)
    assert chunked.chunks["text"].to_list() == ["A short text."]
    assert chunked.rejects.select("doc_id", "reason").rows() == [("e", reason)]


async def test_text_that_is_no_longer_in_the_spool_refuses_no_document(tmp_path: Path) -> None:
    batch = spooled(blocks("A short text."), tmp_path)
    (tmp_path / "text.arrow").unlink()
    with pytest.raises(TextFileError, match=r"cannot be read from .*text\.arrow"):
        await chunk_batch(batch, Chunking(size=40, overlap=8), MODEL, InProcessWorkers(), seconds=60)
