"""Deletion limits: how many documents of a source, and of the index, one run may delete, and what a refusal says."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from roost.tasks.versions.deletion_limit import allowing_option, is_above_limit
from roost.tasks.versions.ledger import WRITING

#: Documents that a refusal or a plan names; JSON reports name all.
MAX_NAMED = 20


@dataclass(frozen=True)
class SourceDeletions:
    """The documents of one source that a run deletes, by URI."""

    source: str
    documents: tuple[str, ...]


def deletions_by_source(documents: pl.DataFrame) -> tuple[SourceDeletions, ...]:
    """List the documents to delete, ordered by source and URI; moved documents are not among them.

    Args:
        documents: Frame of `PLANNED`.
    """
    deleted = documents.filter(pl.col("action") == "deleted").sort("source", "uri")
    grouped = deleted.group_by("source", maintain_order=True).agg("uri")
    return tuple(SourceDeletions(source, tuple(uris)) for source, uris in grouped.iter_rows())


def name_deletions(deletions: Iterable[SourceDeletions]) -> Iterator[str]:
    """Name the first `MAX_NAMED` of the documents, one a line, and count the others."""
    names = [f"{one.source}/{uri}" for one in deletions for uri in one.documents]
    yield from (f"  {name}" for name in names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        yield f"  and {len(names) - MAX_NAMED} more: roost ingest --dry-run --json names all"


def refusal(
    documents: pl.DataFrame,
    ledger: pl.DataFrame,
    listed: Sequence[str],
    *,
    max_fraction: float,
    allowed: Sequence[str] = (),
) -> str | None:
    """Say why a plan's deletions are refused, and which options allow them; None when they are within the limits.

    A source that has documents in the index and lists none is refused whatever its size. Otherwise more than a few
    documents (see `deletion_limit`) are refused if their share of a source, or of the index, is above the limit. Not
    counted are moved documents, those whose deletion an earlier run began, and those without committed chunks.

    Args:
        documents: Frame of `PLANNED`.
        ledger: Frame of `ledger.ROW`, of the whole index.
        listed: Keys of the sources that list at least one document.
        max_fraction: Largest share that may be deleted, 0 to 1.
        allowed: Keys of the sources whose deletions the caller allows, however many they are.
    """
    held = ledger.filter(pl.col("chunk_count") > 0)
    counted = _count_limited(held, documents, allowed)
    empty = {key: count for key, count in counted.items() if key not in listed}
    gone = {key: count for key, count in counted.items() if key in listed}
    total = dict(held["source"].value_counts().iter_rows())
    shares = {f"source {key!r}": (count, total[key]) for key, count in gone.items()}
    shares["the index"] = (sum(gone.values()), held.height)
    large = {name: (n, of) for name, (n, of) in shares.items() if is_above_limit(n, of, max_fraction)}
    if not (empty or large):
        return None
    largest = max((count / of for count, of in large.values()), default=0.0)
    if len(large) > 1:
        large.pop("the index", None)  # its sources say it
    reasons = [f"source {key!r} lists no documents, the index has {count} of it" for key, count in empty.items()]
    reasons += [f"{name} would lose {n} of {of} documents" for name, (n, of) in large.items()]
    words = [f"--allow-deletions {shlex.quote(key)}" for key in empty]
    words += [allowing_option(largest)] if large else []
    limit = f" ({max_fraction:.0%} may go)" if large else ""
    return (
        f"refused to delete documents: {'; '.join(reasons)}{limit}. Is every source mounted and complete? To delete "
        f"them all the same: {' '.join(words)}; to keep them: --keep-missing"
    )


def _count_limited(held: pl.DataFrame, documents: pl.DataFrame, allowed: Sequence[str]) -> dict[str, int]:
    """Count by source, in order, the planned deletions that are subject to the limits."""
    deleted = documents.filter(pl.col("action") == "deleted")
    is_begun = (pl.col("status") == WRITING) & (pl.col("content_hash") != "")
    rows = held.filter(~is_begun & ~pl.col("source").is_in(allowed)).join(deleted, on="doc_id", how="semi")
    return dict(rows["source"].value_counts().sort("source").iter_rows())
