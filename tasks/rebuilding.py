"""Rebuilding: what must hold before a version is built beside the live one, and before it takes its place."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tasks.errors import SourceError, UsageError
from tasks.ledger import read_ledger
from tasks.milvus import Store
from tasks.sources import Source
from tasks.versions import Recipe, Version

#: Documents that may lack their text in a new version before their share of the index counts.
FLOOR = 10


def sources_of(version: Version) -> list[Source]:
    """Give the sources of a version as they were last given.

    Raises:
        SourceError: One is not known: noted by an earlier Roost, or given with a query in its URL.
    """
    if unknown := sorted(set(version.places) - set(version.given)):
        raise SourceError(
            f"index {version.index!r} does not know how its source {', '.join(unknown)} was given: name its sources, "
            f"roost rebuild SOURCE... --index {version.index}"
        )
    return [Source.model_validate(given) for given in version.given.values()]


def share_vectors(one: Recipe, other: Recipe) -> bool:
    """Whether equal texts have equal vectors in both, whatever else differs."""
    return all(
        getattr(one, name) == getattr(other, name) for name in ("model", "revision", "dimension", "text_instruction")
    )


def refuse_uncovered(ledger: pl.DataFrame, sources: Sequence[Source], index: str) -> None:
    """Refuse to rebuild from sources that do not reach all that the live version holds.

    Args:
        ledger: Its ledger, frame of `ledger.ROW`.
        sources: Those to rebuild from.
        index: Name that readers use.

    Raises:
        UsageError: Some of its documents would be left out.
    """
    by_key = {source.key: source for source in sources}
    held = ledger.filter(pl.col("chunk_count") > 0).select("source", "uri")
    left = [(key, uri) for key, uri in held.iter_rows() if key not in by_key or not by_key[key].covers(uri)]
    if left:
        key, uri = left[0]
        raise UsageError(
            f"index {index!r} holds {len(left)} documents that these sources do not cover, {key}/{uri} for one: name "
            "all sources of the index, or do without with --leave-out"
        )


async def find_lost(store: Store, live: Version, target: Version) -> pl.DataFrame:
    """List documents that the live version can be searched for and the new one cannot: refused this time, with why."""
    columns = ["doc_id", "source", "uri", "status", "chunk_count", "reason"]
    before, after = [await read_ledger(store, version.ledger, columns) for version in (live, target)]
    refused = after.filter((pl.col("chunk_count") == 0) & (pl.col("reason") != ""))
    return refused.join(before.filter(pl.col("chunk_count") > 0), on="doc_id", how="semi").sort("source", "uri")


def too_many_lost(lost: pl.DataFrame, documents: int, most: float) -> list[str]:
    """Say so when more documents lack their text than a run may delete."""
    if lost.height <= FLOOR or lost.height <= most * documents:
        return []
    first = lost.row(0, named=True)
    return [
        f"{lost.height} of {documents} documents that the live version has could not be indexed again, "
        f"{first['source']}/{first['uri']} for one ({first['reason']}); {most:.0%} is allowed"
    ]
