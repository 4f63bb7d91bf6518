"""Judgments matched with the documents and chunks of an index."""

from __future__ import annotations

import polars as pl

from roost.tasks.errors import UsageError
from roost.tasks.evaluation.questions import Questions, resolve


def resolve_known(questions: Questions, ledger: pl.DataFrame, index: str) -> pl.DataFrame:
    """Find the document that each judgment names; those without chunks count as unknown: no search can find them.

    Args:
        questions: The questions.
        ledger: The ledger of the index, at least `doc_id`, `source`, `uri`, `status` and `chunk_count`.
        index: Name of the index.

    Returns:
        Frame of `questions.RESOLVED`.

    Raises:
        UsageError: There are judgments, and none of the documents that they name is in the index.
    """
    resolved = _without_empty(resolve(questions.judgments, ledger), ledger)
    _refuse_unknown_documents(resolved, ledger, index)
    return resolved


def judged_items(resolved: pl.DataFrame) -> pl.DataFrame:
    """Name the judged items: the `doc_id`, or `?` and the name in the judgment if the document is unknown."""
    unknown = pl.format("?{}", pl.col("document"))
    return resolved.select(
        "question", item=pl.when(pl.col("doc_id") == "").then(unknown).otherwise(pl.col("doc_id")), grade="grade"
    )


def judged_chunks(resolved: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Judge chunks by spans: a chunk is relevant if it covers half of a span, or half of it is inside the span.

    However a document is cut, a span has at least one relevant chunk. A span without a chunk, as in a document that is
    not in the index, counts as one relevant chunk that is not found.
    """
    spans = resolved.filter(pl.col("start").is_not_null())
    overlaps = spans.join(places.rename({"start": "from", "end": "to"}), on="doc_id")
    shared = pl.min_horizontal("end", "to") - pl.max_horizontal("start", "from")
    shorter = pl.min_horizontal(pl.col("end") - pl.col("start"), pl.col("to") - pl.col("from"))
    relevant = overlaps.filter(2 * shared >= shorter)
    covered = relevant.select("question", "doc_id", "start").unique()
    lost = spans.join(covered, on=["question", "doc_id", "start"], how="anti")
    not_found = lost.select("question", item=pl.format("?{}@{}", "document", "start"), grade="grade")
    return pl.concat([relevant.select("question", item="id", grade="grade"), not_found])


def _without_empty(resolved: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Mark judged documents that the ledger lists but that have no chunks as unknown: no search can find them."""
    status = ledger.filter(pl.col("chunk_count") == 0).select("doc_id", empty="status")
    joined = resolved.join(status, on="doc_id", how="left", maintain_order="left")
    empty = pl.col("empty").is_not_null()
    why = pl.format("not in the index ({})", pl.col("empty"))
    return joined.with_columns(
        doc_id=pl.when(empty).then(pl.lit("")).otherwise(pl.col("doc_id")),
        why=pl.when(empty).then(why).otherwise(pl.col("why")),
    ).select(resolved.columns)


def _refuse_unknown_documents(resolved: pl.DataFrame, ledger: pl.DataFrame, index: str) -> None:
    if resolved.is_empty() or (resolved["why"] == "").any():
        return
    judged = ", ".join(resolved["document"].unique(maintain_order=True).head(3))
    indexed = ", ".join(ledger.sort("uri")["uri"].head(3)) or "nothing"
    raise UsageError(
        f"index {index!r} has none of the judged documents: the judgments name {judged}, the index contains "
        f"{indexed}; judgments name paths relative to the source, or ids in a table"
    )
