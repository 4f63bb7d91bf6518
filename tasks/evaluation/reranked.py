"""Rankings of many questions whose first chunks are reranked, as a search reranks them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from roost.tasks.evaluation.rankings import RANKED
from roost.tasks.milvus.store import Store
from roost.tasks.models.reranker import Reranker
from roost.tasks.versions.version import Version


async def rerank_rankings(
    store: Store, version: Version, reranker: Reranker, questions: Mapping[str, str], ranked: pl.DataFrame
) -> pl.DataFrame:
    """Order the first chunks of each question by the reranker's scores; the others follow as they were.

    Args:
        store: The open Milvus.
        version: The version that was searched.
        reranker: The reranker; it says how many chunks are reranked.
        questions: Id of a question to its text.
        ranked: Frame of `RANKED`.

    Returns:
        Frame of `RANKED`; `score` is the reranker's where a chunk was reranked.
    """
    top, others = ranked.filter(pl.col("rank") <= reranker.count), ranked.filter(pl.col("rank") > reranker.count)
    rows = await store.fetch(version.name, "id", top["id"].unique(maintain_order=True).to_list(), ["id", "text"])
    texts = {row["id"]: row["text"] for row in rows}
    parts = [RANKED.to_frame()]
    for (name,), own in top.sort("question", "rank").group_by("question", maintain_order=True):
        scores = await reranker.score(questions[str(name)], [texts[key] for key in own["id"]])
        own = own.with_columns(score=pl.Series(scores, dtype=pl.Float64))
        own = own.sort("score", descending=True, maintain_order=True)
        parts.append(own.with_columns(rank=pl.int_range(1, pl.len() + 1)))
    return pl.concat([*parts, others])
