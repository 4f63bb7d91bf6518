"""Discover: list the sources, compare with the ledger, and plan what a run will do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from roost.tasks.errors import REASONS, UsageError
from roost.tasks.ids import ALL_IDS, IdRange, hash_file, in_id_range
from roost.tasks.records import PLANNED, Batch, Plan, text_bytes
from roost.tasks.settings import Ingest
from roost.tasks.sources.listing import Listed, Source
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, WRITING

#: Where the first batches end, bytes of text: small ones, so that something can be found soon.
EARLY_BYTES = (131_072, 262_144, 524_288)
#: Deletions below this number are never refused.
DELETE_FLOOR = 10

_READ_THREADS = 8
_OLD_CHUNKS = pl.max_horizontal("chunk_count", "pending_chunk_count")
#: Actions under which a document may be a missing one that moved; `retry`: its write was cut off, or failed.
_ARRIVING = pl.col("action").is_in(["added", "retry"])


@dataclass(frozen=True)
class Options:
    """A run's choices in planning."""

    checksum: bool = False
    keep_missing: bool = False
    retry_quarantined: bool = False
    max_delete_fraction: float = 0.3
    id_range: IdRange = ALL_IDS  # whose arrivals and changes are planned; what is gone is looked for in all


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
        known_hash="content_hash", known_reason="reason",
        committed="chunk_count", old_chunks=_OLD_CHUNKS,
    )  # fmt: skip
    joined = (
        listed.filter(in_id_range(options.id_range))
        .join(known, on="doc_id", how="left")
        .with_columns(pl.col("old_chunks", "committed", "attempts").fill_null(0), moved_from=pl.lit(""))
    )
    acted = _with_hashes(joined, always=options.checksum).with_columns(action=_action(options))
    missing = find_missing(ledger, listed, sources, unlisted)
    if options.keep_missing or not missing.height:
        return acted.select(list(PLANNED)).cast(PLANNED)
    acted = _find_moves(acted, missing)
    gone = _gone(missing, acted, options, ledger.height)
    return pl.concat([acted.select(list(PLANNED)), gone]).cast(PLANNED)


def cut_batches(work: pl.DataFrame, index: str, settings: Ingest) -> Iterator[Batch]:
    """Cut planned documents into batches by estimated bytes of text, at most `max_batches` and the early ones."""
    size = max(settings.batch_bytes, work.select(text_bytes().sum()).item() / settings.max_batches)
    ordered = work.sort(pl.col("action") != "retry", "source", "spool", "row", "uri")  # what was cut off comes first
    before = text_bytes().cum_sum() - 1
    early = [(before >= edge).cast(pl.Int64) for edge in EARLY_BYTES if edge < size]
    numbers = ordered.select(pl.sum_horizontal((before / size).floor().cast(pl.Int64), *early).alias("batch"))
    numbered = ordered.with_columns(numbers["batch"])
    for number, documents in enumerate(numbered.partition_by("batch", include_key=False, maintain_order=True)):
        yield Batch(f"{index}-{number:04d}", documents)


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


def find_missing(
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


def _find_moves(documents: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
    """Say where arriving documents moved from: each from one missing one of its content; hash only where sizes meet."""
    arriving = _ARRIVING & pl.col("size").is_in(missing["size"].unique().to_list())
    hashed = _hash_where(documents, arriving & (pl.col("content_hash") == ""))
    moves = _pair(hashed.filter(arriving), missing, "content_hash")
    moved = hashed.drop("moved_from").join(moves, on="doc_id", how="left", maintain_order="left")
    renamed = (pl.col("action") == "added") & pl.col("moved_from").is_not_null()
    return moved.with_columns(
        pl.col("moved_from").fill_null(""), action=pl.when(renamed).then(pl.lit("renamed")).otherwise("action")
    )


def _pair(documents: pl.DataFrame, missing: pl.DataFrame, by: str) -> pl.DataFrame:
    """Pair documents with missing ones that were indexed and are the same by a column, each with one at most.

    Returns:
        Frame of `doc_id` and `moved_from`, the missing one's.
    """
    nth = pl.int_range(pl.len()).over(by)
    indexed = missing.filter((pl.col("status") == INDEXED) & (pl.col("content_hash") != ""))
    places = indexed.select(by, moved_from="doc_id", nth=nth)
    return documents.select(by, "doc_id", nth=nth).join(places, on=[by, "nth"]).select("doc_id", "moved_from")


def _held_back(missing: pl.DataFrame, acted: pl.DataFrame) -> list[str]:
    """Find the missing documents that may be one that is listed but refused: their chunks are all that is left of it.

    One that was refused for good is known by its content; one that cannot be read now only by its size.
    """
    still = acted.filter(pl.col("moved_from") == "")
    refused = still.filter((pl.col("status") == QUARANTINED) & pl.col("action").is_in(["quarantined", "retry"]))
    by_hash = _pair(refused.with_columns(content_hash="known_hash"), missing, "content_hash")["moved_from"]
    unread = still.filter(_ARRIVING & (pl.col("content_hash") == "") & (pl.col("known_hash").fill_null("") == ""))
    others = missing.filter(~pl.col("doc_id").is_in(by_hash.to_list()))
    return [*by_hash, *_pair(unread, others, "size")["moved_from"]]


def _gone(missing: pl.DataFrame, acted: pl.DataFrame, options: Options, total: int) -> pl.DataFrame:
    """The documents to delete: those whose content went elsewhere as `moved`, the others as `deleted`.

    What a killed run had leave to delete and began needs none again, nor does what holds no committed chunk.

    Raises:
        UsageError: More would be deleted than is allowed.
    """
    moved = pl.col("doc_id").is_in(acted["moved_from"].to_list())
    begun = (pl.col("status") == WRITING) & (pl.col("content_hash") != "")
    staying = _held_back(missing.filter(~moved), acted)
    rows = missing.filter(~pl.col("doc_id").is_in(staying)).with_columns(
        action=pl.when(moved).then(pl.lit("moved")).otherwise(pl.lit("deleted")),
        old_chunks=_OLD_CHUNKS, committed="chunk_count", moved_from=pl.lit(""),
        location=pl.lit(""), spool=pl.lit(""), row=pl.lit(-1),
    )  # fmt: skip
    deleted = rows.filter(~moved & ~begun & (pl.col("chunk_count") > 0)).height
    if deleted > DELETE_FLOOR and deleted / total > options.max_delete_fraction:
        raise UsageError(
            f"{deleted} of {total} documents are gone from the source: more than the {options.max_delete_fraction:.0%} "
            "that one run may delete. If that is right, allow it with --max-delete-fraction "
            f"{min(1.0, deleted / total + 0.005):.2f}; --keep-missing keeps them"
        )
    return rows.select(list(PLANNED)).cast(PLANNED)
