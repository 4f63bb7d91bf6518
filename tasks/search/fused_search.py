"""The search of an index by vectors, by words, or by both, whose rankings are fused here.

Both rankings are fused by Roost, not by Milvus: so every method gives the same order on Milvus Lite and on a server,
and an evaluation measures the search that users get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from roost.tasks.errors import UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.versions.fusion import DENSE, Fusion, make_fusion
from roost.tasks.versions.version import Version

#: Chunks of each of both rankings that are fused. Another number gives another order, so measurements use the same.
FUSED_CANDIDATES = 100
#: Constant of reciprocal rank fusion.
RRF_CONSTANT = 60


def choose_fusion(version: Version, method: str = "", weight: float | None = None) -> Fusion:
    """Choose how to search a version: as asked, else as the version says.

    Args:
        version: The version to search.
        method: Name in `fusion.METHODS`; empty without a weight: that of the version.
        weight: Share of the vectors, for `weighted`.

    Raises:
        UsageError: See `make_fusion`; or the version has no words to search.
    """
    if not method and weight is None:
        return version.default_fusion
    fusion = make_fusion(method, weight)
    if fusion != DENSE and not version.recipe.sparse:
        raise UsageError(
            f"index {version.index!r} has vectors only, so fusion {fusion.method} is not possible: rebuild it with "
            f"ROOST_EMBEDDING__SPARSE=bm25 roost rebuild --index {version.index}"
        )
    return fusion


async def search_fused(
    store: Store,
    version: Version,
    vectors: Sequence[Sequence[float]],
    texts: Sequence[str],
    fields: list[str],
    *,
    fusion: Fusion,
    limit: int,
    where: str = "",
) -> list[list[dict[str, Any]]]:
    """Find the best chunks for each query.

    Args:
        store: The open Milvus.
        version: The version to search.
        vectors: n query vectors; not used by `sparse`.
        texts: The n queries; not used by `dense`.
        fields: Fields to read of each row.
        fusion: How to search.
        limit: Rows for each query, >= 1.
        where: Filter as Milvus reads it; empty for none.

    Returns:
        n lists of at most `limit` rows `{id, distance, entity}`, best first; `distance` is the metric's own score, or
        the fused score.
    """
    if fusion.method == "dense":
        return await store.search(version.name, vectors, fields, limit=limit, filter=where)
    if fusion.method == "sparse":
        return await store.search_words(version.name, texts, fields, limit=limit, filter=where)
    depth = max(limit, FUSED_CANDIDATES)
    pairs = await search_both(store, version, vectors, texts, fields, depth=depth, where=where)
    return [fuse(near, worded, fusion)[:limit] for near, worded in pairs]


async def search_both(
    store: Store,
    version: Version,
    vectors: Sequence[Sequence[float]],
    texts: Sequence[str],
    fields: list[str],
    *,
    depth: int = FUSED_CANDIDATES,
    where: str = "",
) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Search by vectors and by words, for `fuse`; the arguments are those of `search_fused`.

    Returns:
        n pairs of at most `depth` rows each: those found by vector, and those found by words.
    """
    near, worded = await asyncio.gather(
        store.search(version.name, vectors, fields, limit=depth, filter=where),
        store.search_words(version.name, texts, fields, limit=depth, filter=where),
    )
    return list(zip(near, worded, strict=True))


def fuse(
    near: Sequence[Mapping[str, Any]], worded: Sequence[Mapping[str, Any]], fusion: Fusion
) -> list[dict[str, Any]]:
    """Fuse two rankings of one query.

    Args:
        near: Rows found by vector, best first.
        worded: Rows found by words, best first.
        fusion: `rrf`, `minmax` or `weighted`.

    Returns:
        All rows, best first, with the fused score as `distance`; of equal scores the nearer row is first. A row that
        is in one ranking only gets nothing for the other.

    Source: Cormack, Clarke and Buettcher 2009 for reciprocal rank fusion; min-max scaling as in Pyserini.
    """
    rows = {row["id"]: row for row in reversed((*near, *worded))}
    scores: dict[Any, float] = {row["id"]: 0.0 for row in (*near, *worded)}
    is_rrf = fusion.method == "rrf"
    shares = (1.0, 1.0) if is_rrf else (fusion.weight, 1 - fusion.weight)
    for found, share in zip((near, worded), shares, strict=True):
        parts = _reciprocal_ranks(found) if is_rrf else scaled([float(row["distance"]) for row in found])
        for row, part in zip(found, parts, strict=True):
            scores[row["id"]] += share * part
    order = sorted(scores, key=lambda key: -scores[key])  # stable
    return [{"id": key, "distance": scores[key], "entity": rows[key]["entity"]} for key in order]


def _reciprocal_ranks(found: Sequence[Mapping[str, Any]]) -> list[float]:
    return [1 / (RRF_CONSTANT + rank) for rank in range(1, len(found) + 1)]


def scaled(scores: Sequence[float]) -> list[float]:
    """Scale the scores of one ranking so that the first is 1 and the last is 0; equal scores become 1.

    Whether a higher or a lower score is better does not matter: of L2 a lower one is.
    """
    span = scores[0] - scores[-1] if scores else 0.0
    return [(score - scores[-1]) / span if span else 1.0 for score in scores]
