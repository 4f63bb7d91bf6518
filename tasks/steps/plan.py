"""The step `plan`: compare a listing with the ledger and decide an action for each document."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from roost.tasks.errors import REASONS, UsageError
from roost.tasks.ids import ALL_IDS, IdRange, in_id_range
from roost.tasks.milvus.store import Store
from roost.tasks.records import FIELD_ACTIONS, PLANNED, Plan
from roost.tasks.sources.connectors.items import hash_locations
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.source import Source
from roost.tasks.steps.changed_parsers import has_other_parser
from roost.tasks.steps.deletions import deletions_by_source, name_deletions, refusal
from roost.tasks.steps.embedded_fields import digest_of_all, digest_of_embedded, fields_digest
from roost.tasks.versions.ledger import COMPARED, INDEXED, QUARANTINED, ROW, WRITING, read_ledger
from roost.tasks.versions.version import Version

_HASH_THREADS = 8
#: Ordinals below this may have chunk rows, committed or pending.
OLD_CHUNKS = pl.max_horizontal("chunk_count", "pending_chunk_count")
#: Documents that may be a missing one at a new URI; a `retry` is one whose write was cut off or refused.
_MAY_HAVE_MOVED = pl.col("action").is_in(["added", "retry"])


@dataclass(frozen=True)
class PlanOptions:
    """A run's choices in planning.

    checksum: Hash every known document, whatever its size and time.
    keep_missing: Plan no deletion.
    retry_quarantined: Retry every quarantined document, not only those whose reason may have passed.
    delete_excluded: Plan the deletion of documents that globs, include and exclude no longer choose, too.
    max_delete_fraction: Largest share of a source's, or of the index's, documents that may be deleted, 0 to 1.
    allow_deletions: Keys of the sources whose documents may be deleted however many they are.
    limits_deletions: Whether to refuse deletions at all; a shard's parent has checked them.
    id_range: Documents whose arrival or change is planned; missing ones are looked for in all.
    embedded_fields: Names of the fields that are embedded with each chunk.
    """

    checksum: bool = False
    keep_missing: bool = False
    retry_quarantined: bool = False
    delete_excluded: bool = False
    max_delete_fraction: float = 0.3
    allow_deletions: tuple[str, ...] = ()
    limits_deletions: bool = True
    id_range: IdRange = ALL_IDS
    embedded_fields: tuple[str, ...] = ()


async def read_known_ledger(store: Store | None, version: Version | None) -> pl.DataFrame:
    """Read the columns `ledger.COMPARED` of a version's whole ledger; no rows where the index does not exist yet."""
    if store is None or version is None:
        return ROW.to_frame().select(COMPARED)
    return await read_ledger(store, version.ledger, COMPARED)


async def plan_run(listing: Listing, ledger: pl.DataFrame, options: PlanOptions) -> Plan:
    """Compare a listing with the ledger, in a thread.

    Args:
        listing: What the sources contain.
        ledger: Frame of `ledger.ROW`, of the whole index.
        options: The run's choices.

    Raises:
        UsageError: More documents would be deleted than the limits allow; the message names the first of them.
    """
    plan, refused = await preview_run(listing, ledger, options)
    if refused and options.limits_deletions:
        raise UsageError("\n".join([refused, *name_deletions(deletions_by_source(plan.documents))]))
    return plan


async def preview_run(listing: Listing, ledger: pl.DataFrame, options: PlanOptions) -> tuple[Plan, str | None]:
    """Plan as `plan_run` does; where that refuses, return the plan all the same, and in one line why."""
    return await asyncio.to_thread(_plan_and_check, listing, ledger, options)


def _plan_and_check(listing: Listing, ledger: pl.DataFrame, options: PlanOptions) -> tuple[Plan, str | None]:
    documents = make_plan(listing, ledger, options)
    listed = [*listing.documents["source"].unique(), *listing.looked_at]
    refused = refusal(
        documents, ledger, listed, max_fraction=options.max_delete_fraction, allowed=options.allow_deletions
    )
    not_chosen = {} if options.keep_missing or options.delete_excluded else count_not_chosen(ledger, listing)
    empty = tuple(source.key for source in listing.empty_sources)
    given = listing.given
    plan = Plan(
        documents,
        listing.skipped,
        listing.unlisted,
        not_chosen,
        empty,
        is_first=ledger.is_empty(),
        field_kinds=given.facts.kinds,
        unmatched_rules=given.unmatched,
        contradictions=given.contradictions,
    )
    return plan, refused


def make_plan(listing: Listing, ledger: pl.DataFrame, options: PlanOptions) -> pl.DataFrame:
    """Decide an action for every listed document and every missing one.

    Args:
        listing: What the sources contain.
        ledger: Frame of `ledger.ROW`, of the whole index.
        options: The run's choices.

    Returns:
        Frame of `PLANNED`.
    """
    known = ledger.select(
        "doc_id",
        "status",
        "attempts",
        known_size="size",
        known_modified="modified",
        known_fingerprint="fingerprint",
        known_hash="content_hash",
        known_reason="reason",
        known_parser="parser",
        known_fields_hash="fields_hash",
        committed="chunk_count",
        old_chunks=OLD_CHUNKS,
    )
    joined = (
        listing.documents.filter(in_id_range(options.id_range))
        .join(known, on="doc_id", how="left")
        .join(listing.given.documents, on="doc_id", how="left")
        .with_columns(pl.col("old_chunks", "committed", "attempts").fill_null(0), moved_from=pl.lit(""))
    )
    joined = _with_fields(joined, options.embedded_fields)
    hashed = _hash_changed(joined, always=options.checksum)
    hashed = hashed.with_columns(has_other_parser=has_other_parser(hashed))
    documents = hashed.with_columns(action=_action(options)).with_columns(is_touched=_is_touched())
    is_other = pl.col("action").is_in(["changed", "reread"])  # failures of other content, or parsers, do not count
    documents = documents.with_columns(attempts=pl.when(is_other).then(0).otherwise("attempts"))
    missing = find_missing(ledger, listing, with_excluded=options.delete_excluded)
    if options.keep_missing or not missing.height:
        return documents.select(list(PLANNED)).cast(PLANNED)
    documents = _find_moves(documents, missing)
    deletions = _plan_deletions(missing, documents)
    return pl.concat(frame.select(list(PLANNED)).cast(PLANNED) for frame in (documents, deletions))


def find_missing(ledger: pl.DataFrame, listing: Listing, *, with_excluded: bool = False) -> pl.DataFrame:
    """Find the ledger rows of documents that the listed sources no longer contain.

    A document below a prefix that could not be listed is not missing.

    Args:
        ledger: Frame of `ledger.ROW`, or of some of its rows.
        listing: What the sources contain.
        with_excluded: Whether documents that their source's globs, include and exclude do not choose are missing too.
    """
    absent = _find_absent(ledger, listing)
    return absent if with_excluded else absent.filter(_are_chosen(absent, listing.sources))


def count_not_chosen(ledger: pl.DataFrame, listing: Listing) -> dict[str, int]:
    """Count, by source, the searchable documents that the globs, include and exclude of their source do not choose."""
    absent = _find_absent(ledger.filter(pl.col("chunk_count") > 0), listing)
    left_out = absent.filter(~_are_chosen(absent, listing.sources))
    return dict(left_out["source"].value_counts().sort("source").iter_rows())


def _find_absent(ledger: pl.DataFrame, listing: Listing) -> pl.DataFrame:
    """Find the ledger rows of the listed sources that are not in the listing, except where that is incomplete."""
    keys = [source.key for source in listing.sources]
    rows = ledger.filter(pl.col("source").is_in(keys)).join(listing.documents, on="doc_id", how="anti")
    for source, prefix in listing.unlisted:
        rows = rows.filter((pl.col("source") != source) | ~pl.col("uri").str.starts_with(prefix))
    return rows.filter(_are_looked_at(rows, listing)) if listing.looked_at else rows


def _are_looked_at(rows: pl.DataFrame, listing: Listing) -> pl.Series:
    """Tell of each ledger row whether its document would be in the listing if it were in its source."""
    names = rows.select("source", "uri", pl.col("format").fill_null("")).iter_rows()
    looked_at = listing.looked_at
    are_covered = [key not in looked_at or looked_at[key].covers(uri, read_as) for key, uri, read_as in names]
    return pl.Series(are_covered, dtype=pl.Boolean)


def _are_chosen(rows: pl.DataFrame, sources: Sequence[Source]) -> pl.Series:
    """Tell of each ledger row whether the globs, include and exclude of its source choose the document."""
    by_key = {source.key: source for source in sources}
    names = rows.select("source", "uri", pl.col("format").fill_null("")).iter_rows()
    is_chosen = [by_key[key].covers(uri, read_as) for key, uri, read_as in names]
    return pl.Series(is_chosen, dtype=pl.Boolean)


def _hash_changed(joined: pl.DataFrame, *, always: bool) -> pl.DataFrame:
    """Hash the known documents that may have changed; new ones are hashed when they are loaded.

    A document may have changed when its size differs or its fingerprint, or its time where there is no fingerprint.
    """
    has_fingerprints = (pl.col("fingerprint") != "") & (pl.col("known_fingerprint") != "")
    is_same_time = (pl.col("modified") == pl.col("known_modified")) & (pl.col("modified") != "")
    is_same_token = (
        pl.when(has_fingerprints).then(pl.col("fingerprint") == pl.col("known_fingerprint")).otherwise(is_same_time)
    )
    is_same = (pl.col("size") == pl.col("known_size")) & is_same_token
    is_known = pl.col("status").is_not_null() & (pl.col("content_hash") == "") & (pl.col("known_hash") != "")
    compared = joined.with_columns(is_same=is_same.fill_null(value=False))
    return _hash_where(compared, is_known if always else is_known & ~pl.col("is_same"))


def _hash_where(documents: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    """Fill in `content_hash` of the documents that meet a condition; empty where the file cannot be read."""
    chosen = documents.filter(condition).select("doc_id", "location")
    if not chosen.height:
        return documents
    shares = [chosen.gather_every(_HASH_THREADS, first) for first in range(min(_HASH_THREADS, chosen.height))]
    with ThreadPoolExecutor(_HASH_THREADS) as threads:
        hashes = threads.map(lambda share: list(hash_locations(share["location"])), shares)
        columns = [pl.Series("fresh", each, dtype=pl.String) for each in hashes]
    fresh = pl.concat(
        share.select("doc_id").with_columns(column) for share, column in zip(shares, columns, strict=True)
    )
    joined = documents.join(fresh, on="doc_id", how="left", maintain_order="left")
    return joined.with_columns(content_hash=pl.coalesce("fresh", "content_hash")).drop("fresh")


def _action(options: PlanOptions) -> pl.Expr:
    """The action of a listed document: the first rule that applies. Hashes decide where known, else size and time."""
    is_hashed = pl.col("content_hash") != ""
    is_unchanged = pl.when(is_hashed).then(pl.col("content_hash") == pl.col("known_hash")).otherwise(pl.col("is_same"))
    reason = pl.col("known_reason").str.split(":").list.first()
    known, retries = list(REASONS), list(map(float, REASONS.values()))
    allowed = reason.replace_strict(known, retries, default=0.0, return_dtype=pl.Float64)
    is_retried = ((allowed > 0) & (pl.col("attempts") <= allowed)) | options.retry_quarantined
    is_quarantined = pl.col("status") == QUARANTINED
    rules = [
        (pl.col("status").is_null(), "added"),
        (pl.col("status") == WRITING, "retry"),
        (~is_unchanged, "changed"),
        (pl.col("has_other_parser"), "reread"),
        (is_quarantined & is_retried, "retry"),
        (is_quarantined, "quarantined"),
        (pl.col("has_other_embedded"), "changed"),
        (pl.col("has_other_fields"), "metadata"),
    ]
    return pl.coalesce(*(pl.when(rule).then(pl.lit(action)) for rule, action in rules), pl.lit("unchanged"))


def _is_touched() -> pl.Expr:
    """Whether an unchanged document has a new time, fingerprint or size, which its ledger row is to get.

    The size is new when the document was written between its listing and its reading by the run that indexed it.
    """
    has_new_size = pl.col("size") != pl.col("known_size")
    has_new_time = pl.col("modified") != pl.col("known_modified")
    has_new_fingerprint = (pl.col("fingerprint") != "") & (pl.col("fingerprint") != pl.col("known_fingerprint"))
    return pl.col("action").is_in(["unchanged", *FIELD_ACTIONS]) & (has_new_time | has_new_fingerprint | has_new_size)


def _with_fields(joined: pl.DataFrame, embedded: Sequence[str]) -> pl.DataFrame:
    """Complete the fields that rules give, and find the documents whose rows have, or are embedded with, other ones."""
    filled = joined.with_columns(pl.col("fields", "known_fields_hash").fill_null(""))
    texts = filled["fields"].unique()
    hashes = pl.Series([fields_digest(text, embedded) for text in texts], dtype=pl.String)
    hashed = filled.with_columns(fields_hash=pl.col("fields").replace_strict(texts, hashes, return_dtype=pl.String))
    has_rows = pl.col("old_chunks") > 0
    is_other = digest_of_all("fields_hash") != digest_of_all("known_fields_hash")
    is_embedded = digest_of_embedded("fields_hash") != digest_of_embedded("known_fields_hash")
    return hashed.with_columns(has_other_fields=is_other & has_rows, has_other_embedded=is_embedded & has_rows)


def _find_moves(documents: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
    """Fill in `moved_from`: pair documents that arrive with missing ones of the same content, and call them `renamed`.

    Only documents whose size a missing one has are hashed.
    """
    may_have_moved = _MAY_HAVE_MOVED & pl.col("size").is_in(missing["size"].unique().to_list())
    hashed = _hash_where(documents, may_have_moved & (pl.col("content_hash") == ""))
    moves = _pair(hashed.filter(may_have_moved), missing, "content_hash")
    joined = hashed.drop("moved_from").join(moves, on="doc_id", how="left", maintain_order="left")
    is_renamed = (pl.col("action") == "added") & pl.col("moved_from").is_not_null()
    return joined.with_columns(
        pl.col("moved_from").fill_null(""), action=pl.when(is_renamed).then(pl.lit("renamed")).otherwise("action")
    )


def _pair(documents: pl.DataFrame, missing: pl.DataFrame, by: str) -> pl.DataFrame:
    """Pair each document with at most one missing, indexed document that has the same value in a column.

    Returns:
        Frame of `doc_id` and `moved_from`, the missing one's id.
    """
    nth = pl.int_range(pl.len()).over(by)
    indexed = missing.filter((pl.col("status") == INDEXED) & (pl.col("content_hash") != ""))
    candidates = indexed.select(by, moved_from="doc_id", nth=nth)
    return documents.select(by, "doc_id", nth=nth).join(candidates, on=[by, "nth"]).select("doc_id", "moved_from")


def _find_kept(missing: pl.DataFrame, documents: pl.DataFrame) -> list[str]:
    """Find the missing documents whose chunks are kept, because they may be a listed one that is refused.

    Their chunks are then all that is left of the document. One that was refused for good is recognised by its content,
    one that cannot be read now by its size only.
    """
    unmoved = documents.filter(pl.col("moved_from") == "")
    refused = unmoved.filter(
        (pl.col("status") == QUARANTINED) & pl.col("action").is_in(["quarantined", "retry", "reread"])
    )
    by_hash = _pair(refused.with_columns(content_hash="known_hash"), missing, "content_hash")["moved_from"]
    is_unread = (pl.col("content_hash") == "") & (pl.col("known_hash").fill_null("") == "")
    others = missing.filter(~pl.col("doc_id").is_in(by_hash.to_list()))
    by_size = _pair(unmoved.filter(_MAY_HAVE_MOVED & is_unread), others, "size")["moved_from"]
    return [*by_hash, *by_size]


def _plan_deletions(missing: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """Plan the missing documents: `moved` where their content was found at another URI, else `deleted`.

    Returns:
        Frame with the columns of `PLANNED` and of `ledger.ROW`.
    """
    is_moved = pl.col("doc_id").is_in(documents["moved_from"].to_list())
    kept = _find_kept(missing.filter(~is_moved), documents)
    return missing.filter(~pl.col("doc_id").is_in(kept)).with_columns(
        action=pl.when(is_moved).then(pl.lit("moved")).otherwise(pl.lit("deleted")),
        old_chunks=OLD_CHUNKS,
        committed="chunk_count",
        moved_from=pl.lit(""),
        is_touched=pl.lit(value=False),
        fields=pl.lit(""),
        known_fields_hash="fields_hash",
        has_other_fields=pl.lit(value=False),
        location=pl.lit(""),
        spool=pl.lit(""),
        row=pl.lit(-1),
    )
