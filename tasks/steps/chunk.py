"""The step `chunk`: cut a batch's text blocks into chunks, in worker processes; a bad document is refused alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import polars as pl

from roost.tasks.errors import DocumentError, ModelError
from roost.tasks.models.model import Model, load_tokenizer
from roost.tasks.records import CHUNK, REJECT, Chunked, Loaded
from roost.tasks.settings import Chunking
from roost.tasks.steps.cut import cut_spooled
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.embedded_fields import field_texts
from roost.tasks.steps.text_files import TextFileError
from roost.tasks.workers import WorkerError, Workers

#: Bytes of text from which it is worth having another worker cut a share of them.
MIN_SHARE_BYTES = 100_000


def check_window(chunking: Chunking, model: Model) -> None:
    """Refuse a chunk size that the model would truncate.

    With `chunking.method` `none` documents are not cut; what the model truncates of them is counted in the report.

    Raises:
        ModelError: Size, special tokens and instruction together exceed the model's window.
    """
    if chunking.method == "none":
        return
    instruction = len(load_tokenizer(model.tokenizer_file).encode(model.text_instruction).ids)
    overhead = max(model.special_tokens, instruction)
    if chunking.size + overhead > model.window:
        raise ModelError(
            f"ROOST_CHUNKING__SIZE={chunking.size} does not fit {model.name}: its window is {model.window} "
            f"tokens, {overhead} of them its own; the largest size is {model.window - overhead}"
        )


def cut_sizes(chunking: Chunking, model: Model) -> CutSizes:
    """Give the sizes of the chunks of a run."""
    size = 0 if chunking.method == "none" else chunking.size
    has_context = chunking.context == "headings"
    return CutSizes(size, chunking.overlap, str(model.tokenizer_file), has_context=has_context)


async def chunk_batch(loaded: Loaded, chunking: Chunking, model: Model, workers: Workers, *, seconds: float) -> Chunked:
    """Cut every document of a batch, in worker processes; a document that cannot be cut is refused alone.

    Args:
        loaded: The batch.
        chunking: Sizes in tokens.
        model: Its tokenizer counts the tokens.
        workers: The processes that cut.
        seconds: Limit of processor time for a worker's share of the batch, and for one document where that fails.

    Raises:
        TextFileError: The text that `load` left cannot be read.
    """
    started = time.perf_counter()
    sizes = cut_sizes(chunking, model)
    shares = await asyncio.to_thread(_share_out, loaded, chunking, workers.size)
    try:
        cuts = await asyncio.gather(*(workers.run(cut_spooled, (share, sizes), seconds) for share in shares))
        cut = _Cut(cuts, {})
    except TextFileError:
        raise
    except Exception:  # noqa: BLE001  whatever it is, one document's text caused it: find that one
        cut = await _cut_singly(shares, sizes, workers, seconds)
    documents, chunks, rejects = await asyncio.to_thread(_split_off_rejects, loaded, cut)
    return Chunked(loaded.name, documents, chunks, rejects, time.perf_counter() - started)


@dataclass(frozen=True)
class _Cut:
    """Chunks (frames of `CHUNK`, in the order of the documents), and why documents have none, by `doc_id`."""

    chunks: list[pl.DataFrame]
    errors: dict[str, DocumentError]


def _share_out(loaded: Loaded, chunking: Chunking, workers: int) -> list[pl.DataFrame]:
    """Split the text blocks of a batch, in their order, into shares of about the same size, one for each worker.

    Documents that are not cut are one share: all of such a document must come to one worker.
    """
    about = loaded.documents.select("doc_id", "title", field_text=field_texts(loaded.documents, chunking))
    blocks = loaded.blocks.join(about, on="doc_id", how="left", maintain_order="left")
    max_shares = 1 if chunking.method == "none" else workers
    size = pl.col("bytes")
    total = int(blocks.select(size.sum()).item())
    count = max(1, min(max_shares, total // MIN_SHARE_BYTES))
    number = (size.cum_sum() - size) * count // (total + 1)
    return blocks.with_columns(share=number).partition_by("share", maintain_order=True, include_key=False)


async def _cut_singly(shares: list[pl.DataFrame], sizes: CutSizes, workers: Workers, seconds: float) -> _Cut:
    chunks, errors = [], dict[str, DocumentError]()
    for (document,), own in pl.concat(shares).group_by("doc_id", maintain_order=True):
        try:
            chunks.append(await workers.run(cut_spooled, (own, sizes), seconds))
        except TextFileError:
            raise
        except WorkerError as error:
            errors[str(document)] = DocumentError(error.reason, f"cutting: {error}")
        except Exception as error:  # noqa: BLE001  an unexpected text, or a defect that an upgrade mends
            errors[str(document)] = DocumentError("failed", f"cutting: {type(error).__name__}: {error}")
    return _Cut(chunks, errors)


def _split_off_rejects(loaded: Loaded, cut: _Cut) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Give the documents that have chunks, their chunks with ordinals, and all rejects of the batch."""
    chunks = pl.concat([CHUNK.to_frame(), *cut.chunks]).with_columns(ordinal=pl.int_range(pl.len()).over("doc_id"))
    without_chunks = loaded.documents.join(chunks, on="doc_id", how="anti")
    documents = loaded.documents.join(without_chunks, on="doc_id", how="anti")
    return documents, chunks, pl.concat([loaded.rejects, refuse(without_chunks, cut.errors)])


def refuse(documents: pl.DataFrame, errors: dict[str, DocumentError]) -> pl.DataFrame:
    """Make the frame of `REJECT` of documents that are not indexed; one without an error contains no text."""
    no_text = DocumentError("no_text", "the document contains no text to index")
    causes = [errors.get(document, no_text) for document in documents["doc_id"]]
    reasons = pl.Series([error.reason for error in causes], dtype=pl.String)
    details = pl.Series([error.detail for error in causes], dtype=pl.String)
    return documents.with_columns(reason=reasons, detail=details).select(list(REJECT)).cast(REJECT)
