"""Cutting of planned work into batches by estimated bytes of text."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from roost.tasks.records import Batch, text_bytes
from roost.tasks.settings import Ingest

#: Where the first batches end, bytes of text: they are small, so that a search finds something early in the run.
EARLY_BATCH_BYTES = (16_384, 49_152, 131_072, 262_144, 524_288)
#: Estimated bytes of text beyond which batches of a large run do not grow: some 20,000 chunks, 80 MB with vectors.
MAX_BATCH_BYTES = 16_777_216
#: Most documents of one batch.
MAX_BATCH_DOCUMENTS = 4_000


def cut_batches(work: pl.DataFrame, index: str, settings: Ingest) -> Iterator[Batch]:
    """Cut planned documents into batches by estimated bytes of text.

    There are at most `max_batches` and the early ones, unless batches would then be larger than `MAX_BATCH_BYTES` or
    have more documents than `MAX_BATCH_DOCUMENTS`: what a batch takes of memory does not grow with the corpus.

    Args:
        work: Frame of `PLANNED`.
        index: Its name begins the names of the batches.
        settings: Sizes.
    """
    wanted = work.select(text_bytes().sum()).item() / settings.max_batches
    size = max(settings.batch_bytes, min(wanted, MAX_BATCH_BYTES))
    # Documents whose write was cut off come first; rows of one part of the spool stay together.
    ordered = work.sort(pl.col("action") != "retry", "source", "spool", "row", "uri")
    bytes_before = text_bytes().cum_sum() - 1
    early = [(bytes_before >= edge).cast(pl.Int64) for edge in EARLY_BATCH_BYTES if edge < size]
    by_bytes, by_count = (bytes_before / size).floor().cast(pl.Int64), pl.int_range(pl.len()) // MAX_BATCH_DOCUMENTS
    numbers = ordered.select(pl.sum_horizontal(by_bytes, by_count, *early).alias("batch"))
    numbered = ordered.with_columns(numbers["batch"])
    for number, documents in enumerate(numbered.partition_by("batch", include_key=False, maintain_order=True)):
        yield Batch(f"{index}-{number:04d}", documents)
