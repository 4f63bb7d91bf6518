"""Reranking: the best candidates of a search in the order that a cross-encoder gives them."""

from __future__ import annotations

from roost.tasks.errors import UsageError
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.hits import HitRow


def choose_count(reranker: Reranker | None, rerank: int | None) -> int:
    """Choose how many candidates are reranked; 0: none.

    Args:
        reranker: The reranker that is set; None if there is none.
        rerank: What the search asks for, see `SearchOptions`.

    Raises:
        UsageError: Reranking is asked for and no reranker is set, or the number is negative.
    """
    if rerank is None:
        return reranker.count if reranker else 0
    if rerank < 0:
        raise UsageError(f"rerank={rerank}: it is the number of candidates to rerank, 0 for none")
    if rerank and not reranker:
        raise UsageError(
            "no reranker is set: set ROOST_SEARCH__RERANKER to a cross-encoder, by its name on the hub or its folder"
        )
    return rerank


async def rerank(reranker: Reranker, query: str, rows: list[HitRow]) -> list[HitRow]:
    """Order rows by the reranker's scores, which become theirs; of equal scores the earlier row is first.

    Raises:
        ModelError: The reranker does not load.
    """
    if not rows:
        return []
    scores = (await reranker.score(query, [row["text"] for row in rows])).tolist()
    order = sorted(range(len(rows)), key=lambda row: -scores[row])
    return [HitRow(**{**rows[row], "score": scores[row]}) for row in order]
