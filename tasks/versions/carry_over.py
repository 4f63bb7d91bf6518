"""Checks that a new version contains what the live one contains: before it is built, and before it is promoted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from roost.tasks.errors import InconsistentIndexError, SourceError, UsageError
from roost.tasks.models.endpoint import is_same_model
from roost.tasks.models.recipe import Recipe
from roost.tasks.sources.source import Source
from roost.tasks.versions.deletion_limit import is_above_limit
from roost.tasks.versions.version import Version


@dataclass(frozen=True)
class LostDocument:
    """A document that can be searched in the live version and not in the new one, with the reason."""

    source: str
    uri: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}/{self.uri} ({self.reason})"


def sources_of(version: Version) -> list[Source]:
    """Return the sources of a version as they were last given.

    Raises:
        SourceError: The version does not store how a source was given: it was written by an earlier Roost, or given
            with a query in its URL, which may contain a secret.
    """
    if unknown := sorted(set(version.places) - set(version.given)):
        raise SourceError(
            f"index {version.index!r} does not know how its source {', '.join(unknown)} was given: name its sources, "
            f"roost rebuild SOURCE... --index {version.index}"
        )
    return [Source.model_validate(given) for given in version.given.values()]


def can_reuse(one: Version, other: Version) -> bool:
    """Return whether vectors of one version are vectors of the other: equal recipes and, at an endpoint, one model."""
    if one.endpoint and other.endpoint and not is_same_model(one.endpoint.canary, other.endpoint.canary):
        return False
    return share_vectors(one.recipe, other.recipe)


def share_vectors(one: Recipe, other: Recipe) -> bool:
    """Return whether equal texts have equal vectors with both recipes."""
    return _vector_choices(one) == _vector_choices(other)


def _vector_choices(recipe: Recipe) -> tuple[str | int, ...]:
    """Give the choices of a recipe that decide the vector of a text."""
    place = recipe.api, recipe.model, recipe.revision, recipe.dimension
    return *place, recipe.text_instruction, recipe.context, recipe.fields


def refuse_uncovered(ledger: pl.DataFrame, sources: Sequence[Source], index: str) -> None:
    """Refuse sources that do not cover all documents of the live version.

    Args:
        ledger: Ledger of the live version, frame of `ledger.ROW`.
        sources: The sources to rebuild from.
        index: Name of the index.

    Raises:
        UsageError: A document with chunks is in none of the sources.
    """
    by_key = {source.key: source for source in sources}
    names = ledger.filter(pl.col("chunk_count") > 0).select("source", "uri", "format").iter_rows()
    uncovered = [(key, uri) for key, uri, kind in names if key not in by_key or not by_key[key].covers(uri, kind)]
    if uncovered:
        key, uri = uncovered[0]
        raise UsageError(
            f"index {index!r} contains {len(uncovered)} documents that these sources do not cover, {key}/{uri} for "
            "one: name all sources of the index, or continue without these documents with --leave-out"
        )


def refuse_unlisted(
    ledger: pl.DataFrame, listed: pl.DataFrame, unlisted: Sequence[tuple[str, str]], index: str
) -> None:
    """Refuse to rebuild while a part of a source that contains indexed documents cannot be listed.

    Args:
        ledger: Ledger of the live version, frame of `ledger.ROW`.
        listed: Documents that could be listed, by their `doc_id`.
        unlisted: (source, URI prefix) of the parts that could not be listed.
        index: Name of the index.

    Raises:
        SourceError: A document with chunks is in such a part.
    """
    not_listed = ledger.filter(pl.col("chunk_count") > 0).join(listed, on="doc_id", how="anti")
    hidden = not_listed.filter(_is_below(unlisted)).select("source", "uri").sort("source", "uri")
    if hidden.height:
        key, uri = hidden.row(0)
        raise SourceError(
            f"index {index!r} contains {hidden.height} documents of folders or tables that cannot be listed now, "
            f"{key}/{uri} for one: make them readable, or continue without these documents with --leave-out"
        )


def refuse_foreign(count: int, index: str) -> None:
    """Refuse to rebuild an index with rows that a framework added: they are in no source.

    Raises:
        UsageError: There are such rows.
    """
    if count:
        raise UsageError(
            f"index {index!r} contains {count} rows that were added by a framework and are in no source, so the new "
            "version would lack them. Continue without them with --leave-out, and add them again afterwards"
        )


def refuse_lost_ledger(chunks: int, ledger: pl.DataFrame, index: str) -> None:
    """Refuse to rebuild an index whose ledger is empty and that has chunks: there is nothing to compare it with.

    Args:
        chunks: Chunks that runs wrote, counted before the ledger was read: their rows in it were written before them.
        ledger: Ledger of the live version, frame of `ledger.ROW`.
        index: Name of the index.

    Raises:
        InconsistentIndexError: The ledger has no row.
    """
    if chunks and ledger.is_empty():
        raise InconsistentIndexError(
            f"index {index!r} contains {chunks:,} chunks and its ledger no document, as after a server has lost rows: "
            f'run "roost verify --index {index}"'
        )


def find_lost(
    live: pl.DataFrame, target: pl.DataFrame, select_gone: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[LostDocument, ...]:
    """List the documents that can be searched in the live version and not in the new one, by source and path.

    They were rejected by this rebuild, or the rebuild never saw them. Documents that no longer exist are not lost.

    Args:
        live: Ledger of the live version, frame of `ledger.ROW`.
        target: Ledger of the new version, frame of `ledger.ROW`.
        select_gone: Selects of ledger rows those whose document no longer exists in the sources.
    """
    columns = ["doc_id", "source", "uri", "reason"]
    before = live.filter(pl.col("chunk_count") > 0)
    rejected = target.filter((pl.col("chunk_count") == 0) & (pl.col("reason") != ""))
    rejected = rejected.join(before, on="doc_id", how="semi")
    unseen = before.join(target, on="doc_id", how="anti")
    unseen = unseen.join(select_gone(unseen), on="doc_id", how="anti")
    unseen = unseen.with_columns(reason=pl.lit("not seen by the rebuild"))
    lost = pl.concat([rejected.select(columns), unseen.select(columns)]).sort("source", "uri")
    return tuple(LostDocument(*row) for row in lost.select("source", "uri", "reason").iter_rows())


def too_many_lost(lost: Sequence[LostDocument], document_count: int, max_fraction: float) -> list[str]:
    """Return a line that says so when more documents are lost than a run may delete; else nothing.

    Args:
        lost: See `find_lost`.
        document_count: Documents of the live version that have chunks.
        max_fraction: Share of them that may be lost, in [0, 1].
    """
    if not is_above_limit(len(lost), document_count, max_fraction):
        return []
    return [
        f"{len(lost)} of {document_count} documents of the live version could not be indexed again, {lost[0]} for "
        f"one; {max_fraction:.0%} is allowed"
    ]


def _is_below(unlisted: Sequence[tuple[str, str]]) -> pl.Expr:
    """Select the rows of a ledger whose document is in a part that could not be listed."""
    parts = [(pl.col("source") == source) & pl.col("uri").str.starts_with(prefix) for source, prefix in unlisted]
    return pl.any_horizontal(pl.lit(value=False), *parts)
