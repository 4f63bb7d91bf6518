"""Discover: list the sources, compare with the ledger, and plan what a run will do."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tasks.errors import REASONS, UsageError
from tasks.identity import hash_file
from tasks.ledger import INDEXED, QUARANTINED, WRITING
from tasks.records import DOCUMENT, PLANNED, Batch, Plan, text_bytes
from tasks.settings import Ingest
from tasks.sources import Source, check_sources, list_source

#: Deletions below this number are never refused.
DELETE_FLOOR = 10

_READ_THREADS = 8


@dataclass(frozen=True)
class Options:
    """A run's choices in planning."""

    checksum: bool = False
    keep_missing: bool = False
    retry_quarantined: bool = False
    max_delete_fraction: float = 0.3


@dataclass(frozen=True)
class Listed:
    """What the sources hold together: frame of `DOCUMENT`; `unlisted` and `skipped` as in `Plan`."""

    documents: pl.DataFrame
    sources: tuple[Source, ...]
    unlisted: tuple[tuple[str, str], ...]
    skipped: Counter[str]


async def list_sources(sources: Sequence[Source], spool: Path) -> Listed:
    """List all sources, in threads.

    Raises:
        SourceError: A source is missing, or two have one name.
    """
    check_sources(sources)
    listings = [await asyncio.to_thread(list_source, source, spool) for source in sources]
    return Listed(
        documents=pl.concat([DOCUMENT.to_frame(), *(listing.documents for listing in listings)]),
        sources=tuple(sources),
        unlisted=tuple(
            (source.key, prefix)
            for source, listing in zip(sources, listings, strict=True)
            for prefix in listing.unlisted
        ),
        skipped=sum((listing.skipped for listing in listings), Counter[str]()),
    )


async def plan_run(listed: Listed, ledger: pl.DataFrame, options: Options) -> Plan:
    """Compare what is listed with the ledger (frame of `ledger.ROW`), in a thread.

    Raises:
        UsageError: More would be deleted than is allowed.
    """
    documents = await asyncio.to_thread(make_plan, listed.documents, ledger, options, listed.sources, listed.unlisted)
    return Plan(documents, listed.skipped, listed.unlisted)


async def foresee_run(listed: Listed, ledger: pl.DataFrame, options: Options) -> tuple[Plan, str | None]:
    """Plan as `plan_run` does, with why that would be refused; None where it would not."""
    try:
        return await plan_run(listed, ledger, options), None
    except UsageError as error:
        return await plan_run(listed, ledger, replace(options, max_delete_fraction=1.0)), str(error)


def make_plan(
    listed: pl.DataFrame,
    ledger: pl.DataFrame,
    options: Options,
    sources: Sequence[Source],
    unlisted: Sequence[tuple[str, str]] = (),
) -> pl.DataFrame:
    """Decide an action for every listed document and every ledger row of these sources.

    Args:
        listed: Frame of `DOCUMENT`.
        ledger: Frame of `ledger.ROW`, of the whole index.
        options: The run's choices.
        sources: Those that were listed.
        unlisted: (source, URI prefix) of what could not be listed.

    Raises:
        UsageError: More would be deleted than is allowed.
    """
    known = ledger.select(
        "doc_id", "status", "attempts", known_size="size", known_modified="modified",
        known_hash="content_hash", known_reason="reason", known_run="run_id",
        old_chunks=pl.max_horizontal("chunk_count", "pending_chunk_count"),
    )  # fmt: skip
    joined = listed.join(known, on="doc_id", how="left").with_columns(pl.col("old_chunks", "attempts").fill_null(0))
    hashed = _with_hashes(joined, always=options.checksum)
    missing = _missing(ledger, listed, sources, unlisted)
    acted = _find_renames(hashed.with_columns(action=_action(options)), missing, keep=options.keep_missing)
    gone = _gone(missing, acted, options, ledger.height)
    return pl.concat([acted.select(list(PLANNED)), gone]).cast(PLANNED)


def cut_batches(work: pl.DataFrame, index: str, settings: Ingest) -> Iterator[Batch]:
    """Cut planned documents into batches by estimated bytes of text, at most `max_batches` of them."""
    size = max(settings.batch_bytes, work.select(text_bytes().sum()).item() / settings.max_batches)
    ordered = work.sort(pl.col("action") != "retry", "source", "spool", "row", "uri")  # what was cut off comes first
    numbers = ordered.select(((text_bytes().cum_sum() - 1) / size).floor().cast(pl.Int64).alias("batch"))
    numbered = ordered.with_columns(numbers["batch"])
    for number, documents in enumerate(numbered.partition_by("batch", include_key=False, maintain_order=True)):
        yield Batch(f"{index}-{number:04d}", documents)


def spool_folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder in which tables' rows wait for their batch; it goes with its context."""
    return tempfile.TemporaryDirectory(prefix="roost-")


def _with_hashes(joined: pl.DataFrame, *, always: bool) -> pl.DataFrame:
    """Hash the known documents whose size or time differs; new ones are hashed when they are loaded."""
    same = (
        (pl.col("size") == pl.col("known_size"))
        & (pl.col("modified") == pl.col("known_modified"))
        & (pl.col("modified") != "")
    )
    known = pl.col("status").is_not_null() & (pl.col("content_hash") == "") & (pl.col("known_hash") != "")
    looked = joined.with_columns(same=same.fill_null(value=False))
    need = known if always else known & ~pl.col("same")
    return _hash_where(looked, need)


def _hash_where(frame: pl.DataFrame, need: pl.Expr) -> pl.DataFrame:
    chosen = frame.filter(need).select("doc_id", "location")
    if not chosen.height:
        return frame
    with ThreadPoolExecutor(_READ_THREADS) as threads:
        hashes = pl.Series("fresh", list(threads.map(hash_file, chosen["location"])), dtype=pl.String)
    fresh = chosen.select("doc_id").with_columns(hashes)
    joined = frame.join(fresh, on="doc_id", how="left", maintain_order="left")
    return joined.with_columns(content_hash=pl.coalesce("fresh", "content_hash")).drop("fresh")


def _action(options: Options) -> pl.Expr:
    """The rule, first that fits. Hashes decide where they are known, size and time where not."""
    hashed = pl.col("content_hash") != ""
    unchanged = pl.when(hashed).then(pl.col("content_hash") == pl.col("known_hash")).otherwise(pl.col("same"))
    again = [reason for reason, retried in REASONS.items() if retried]
    tried_again = pl.col("known_reason").str.split(":").list.first().is_in(again) | options.retry_quarantined
    return (
        pl.when(pl.col("status").is_null()).then(pl.lit("added"))
        .when(pl.col("status") == WRITING).then(pl.lit("retry"))
        .when(~unchanged).then(pl.lit("changed"))
        .when((pl.col("status") == QUARANTINED) & tried_again).then(pl.lit("retry"))
        .when(pl.col("status") == QUARANTINED).then(pl.lit("quarantined"))
        .otherwise(pl.lit("unchanged"))
    )  # fmt: skip


def _missing(
    ledger: pl.DataFrame, listed: pl.DataFrame, sources: Sequence[Source], unlisted: Sequence[tuple[str, str]]
) -> pl.DataFrame:
    """Ledger rows of these sources that the listing no longer has, where it could look and was to look."""
    by_key = {source.key: source for source in sources}
    rows = ledger.filter(pl.col("source").is_in(list(by_key))).join(listed, on="doc_id", how="anti")
    covered = [by_key[key].covers(uri) for key, uri in rows.select("source", "uri").iter_rows()]
    rows = rows.filter(pl.Series(covered, dtype=pl.Boolean))
    for source, prefix in unlisted:
        rows = rows.filter((pl.col("source") != source) | ~pl.col("uri").str.starts_with(prefix))
    return rows


def _find_renames(documents: pl.DataFrame, missing: pl.DataFrame, *, keep: bool) -> pl.DataFrame:
    """Call an added document renamed when a missing one had the same content; hash only where sizes meet."""
    if keep or not missing.height:
        return documents
    candidate = (pl.col("action") == "added") & pl.col("size").is_in(missing["size"].unique().to_list())
    hashed = _hash_where(documents, candidate & (pl.col("content_hash") == ""))
    gone = missing.filter((pl.col("status") == INDEXED) & (pl.col("content_hash") != ""))["content_hash"].unique()
    renamed = candidate & pl.col("content_hash").is_in(gone.to_list())
    return hashed.with_columns(action=pl.when(renamed).then(pl.lit("renamed")).otherwise("action"))


def _counted(rows: pl.DataFrame, acted: pl.DataFrame) -> pl.DataFrame:
    """The deletions that need leave: not those that a killed run had leave for and began, nor the rest of its moves."""
    begun = (pl.col("status") == WRITING) & (pl.col("content_hash") != "")
    asked = rows.filter((pl.col("action") == "deleted") & ~begun)
    held = acted.filter(pl.col("known_hash") != "").select("known_run", content_hash="known_hash").unique()
    elsewhere = asked.join(held, on="content_hash").filter(pl.col("run_id") != pl.col("known_run"))
    return asked.join(elsewhere, on="doc_id", how="anti")


def _gone(missing: pl.DataFrame, acted: pl.DataFrame, options: Options, total: int) -> pl.DataFrame:
    """The documents to delete: those whose content went elsewhere as `moved`, the others as `deleted`.

    Raises:
        UsageError: More would be deleted than is allowed.
    """
    if options.keep_missing:
        return PLANNED.to_frame()
    found_again = acted.filter(pl.col("action") == "renamed")["content_hash"].to_list()
    moved = (pl.col("status") == INDEXED) & pl.col("content_hash").is_in(found_again)
    rows = missing.with_columns(
        action=pl.when(moved).then(pl.lit("moved")).otherwise(pl.lit("deleted")),
        old_chunks=pl.max_horizontal("chunk_count", "pending_chunk_count"),
        location=pl.lit(""), spool=pl.lit(""), row=pl.lit(-1),
    )  # fmt: skip
    deleted = _counted(rows, acted).height
    if deleted > DELETE_FLOOR and deleted / total > options.max_delete_fraction:
        raise UsageError(
            f"{deleted} of {total} documents are gone from the source: more than the {options.max_delete_fraction:.0%} "
            "that one run may delete. If that is right, allow it with --max-delete-fraction "
            f"{min(1.0, deleted / total + 0.005):.2f}; --keep-missing keeps them"
        )
    return rows.select(list(PLANNED)).cast(PLANNED)
