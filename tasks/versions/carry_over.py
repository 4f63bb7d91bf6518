"""Rebuilding: what must hold before a version is built beside the live one, and before it takes its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from roost.tasks.errors import SourceError, UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.sources.source import Source
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.version import Version

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


def refuse_unlisted(
    ledger: pl.DataFrame, listed: pl.DataFrame, unlisted: Sequence[tuple[str, str]], index: str
) -> None:
    """Refuse to rebuild while a part of a source cannot be listed: what the live version holds of it would be lost.

    Args:
        ledger: Ledger of the live version, frame of `ledger.ROW`.
        listed: Documents that could be listed, by their `doc_id`.
        unlisted: (source, URI prefix) of what could not.
        index: Name that readers use.

    Raises:
        SourceError: Some of its documents are there.
    """
    held = ledger.filter(pl.col("chunk_count") > 0).join(listed, on="doc_id", how="anti")
    hidden = held.filter(_below(unlisted)).select("source", "uri").sort("source", "uri")
    if hidden.height:
        key, uri = hidden.row(0)
        raise SourceError(
            f"index {index!r} holds {hidden.height} documents of folders that cannot be listed now, {key}/{uri} for "
            "one: make them readable, or do without with --leave-out"
        )


def refuse_foreign(count: int, index: str) -> None:
    """Refuse to rebuild what only a framework has: no source holds it.

    Raises:
        UsageError: Rows were added by one.
    """
    if count:
        raise UsageError(
            f"index {index!r} holds {count} rows that were added by a framework and are in no source: the new version "
            "would lack them. Do without with --leave-out, and add them to it again"
        )


async def find_lost(
    store: Store, live: Version, target: Version, gone: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """List documents that the live version can be searched for and the new one cannot, with why.

    Those are the ones that were refused this time, and those that it never saw, unless they are gone on purpose.

    Args:
        store: Where both are.
        live: What readers see.
        target: What was built.
        gone: Chooses of ledger rows those of documents that the sources' last listing shows to be gone.
    """
    columns = ["doc_id", "source", "uri", "status", "chunk_count", "reason"]
    held = await read_ledger(store, live.ledger)
    before, after = held.filter(pl.col("chunk_count") > 0), await read_ledger(store, target.ledger, columns)
    refused = after.filter((pl.col("chunk_count") == 0) & (pl.col("reason") != ""))
    refused = refused.join(before, on="doc_id", how="semi")
    unseen = before.join(after, on="doc_id", how="anti")
    unseen = unseen.join(gone(unseen), on="doc_id", how="anti").with_columns(reason=pl.lit("not seen by the rebuild"))
    return pl.concat([refused.select(columns), unseen.select(columns)]).sort("source", "uri")


def _below(unlisted: Sequence[tuple[str, str]]) -> pl.Expr:
    """Whether a ledger's rows are of what could not be listed."""
    at = [(pl.col("source") == source) & pl.col("uri").str.starts_with(prefix) for source, prefix in unlisted]
    return pl.any_horizontal(pl.lit(value=False), *at)


def too_many_lost(lost: pl.DataFrame, documents: int, most: float) -> list[str]:
    """Say so when more documents lack their text than a run may delete."""
    if lost.height <= FLOOR or lost.height <= most * documents:
        return []
    first = lost.row(0, named=True)
    return [
        f"{lost.height} of {documents} documents that the live version has could not be indexed again, "
        f"{first['source']}/{first['uri']} for one ({first['reason']}); {most:.0%} is allowed"
    ]
