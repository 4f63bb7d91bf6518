"""The step `select`: which documents a backfill chooses, and which unchanged ones of them it embeds again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from fsspec.utils import glob_translate

from roost.tasks.errors import UsageError
from roost.tasks.milvus.store import Store
from roost.tasks.records import Plan
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.source import absolute_uri
from roost.tasks.sources.table_uris import mail_of, table_of
from roost.tasks.steps.plan import PlanOptions, plan_run, read_known_ledger
from roost.tasks.steps.selection import Selection
from roost.tasks.versions.ledger import QUARANTINED
from roost.tasks.versions.version import Version

#: Actions of documents that a run without `force` does not process.
_UNPROCESSED = ("unchanged", "metadata", "quarantined")


@dataclass(frozen=True)
class Selected:
    """The documents that a selection chose.

    documents: Frame of `DOCUMENT`.
    listed: Number of documents to choose from.
    undated: Number of documents that `since` and `until` left out because they have no modification time: their source
        has none, or they are rows of a table.
    unknown: URIs of the selection that name no document.
    """

    documents: pl.DataFrame
    listed: int
    undated: int = 0
    unknown: tuple[str, ...] = ()


async def plan_selected(
    listing: Listing,
    store: Store | None,
    version: Version | None,
    options: PlanOptions,
    selection: Selection,
    forced_id: str | None,
) -> tuple[Plan, Selected]:
    """Choose documents of a listing, and plan them as `plan_run` does.

    Args:
        listing: What the sources contain.
        store: Where the ledger is; None without an index.
        version: Version whose ledger is compared; None without an index.
        options: Choices for planning.
        selection: Which documents to choose.
        forced_id: Id under which unchanged documents are embedded again too; None to leave them alone.

    Raises:
        UsageError: The selection's globs match none of the documents.
    """
    ledger = await read_known_ledger(store, version)
    selected = await asyncio.to_thread(select_documents, listing.documents, ledger, selection)
    plan = await plan_run(replace(listing, documents=selected.documents), ledger, options)
    unlisted = _chosen_parts(listing.unlisted, selected.documents)
    plan = replace(plan, unlisted=unlisted, empty_sources=tuple(source.key for source in listing.empty_sources))
    if forced_id is not None:
        plan = replace(plan, documents=force_unprocessed(plan.documents, ledger, forced_id))
    return plan, selected


def select_documents(listed: pl.DataFrame, ledger: pl.DataFrame, selection: Selection) -> Selected:
    """Choose documents.

    A URI of the selection names a document by its path in its source, alone or after the source's name and a slash,
    or by its location, a path or URL. The URI of a table names all its rows.

    Args:
        listed: Frame of `DOCUMENT`.
        ledger: Frame of `ledger.ROW`.
        selection: What to choose.

    Raises:
        UsageError: The selection's globs match none of the documents.
    """
    chosen = listed
    unknown: tuple[str, ...] = ()
    if selection.only:
        chosen = chosen.filter(_matches_glob(chosen, selection.only))
        if not chosen.height:
            globs = ", ".join(selection.only)
            raise UsageError(f"--only {globs} matches none of the {listed.height} documents of the sources: correct it")
    if selection.uris:
        chosen, unknown = _find_named(chosen, selection.uris)
    if selection.only_failed:
        failed = ledger.filter((pl.col("reason") != "") | (pl.col("status") == QUARANTINED))
        chosen = chosen.join(failed, on="doc_id", how="semi", maintain_order="left")
    undated = 0
    if selection.since or selection.until:
        time = pl.Series("time", modification_times(chosen["modified"]))
        undated = time.null_count()
        is_after = time >= selection.since if selection.since else time.is_not_null()
        is_before = time < selection.until if selection.until else time.is_not_null()
        chosen = chosen.filter((is_after & is_before).fill_null(value=False))
    return Selected(chosen, listed.height, undated, unknown)


def modification_times(modified: pl.Series) -> pl.Series:
    """Read the modification time from the change tokens that listings make.

    Args:
        modified: Tokens that begin with seconds since 1970, with ISO 8601 (UTC where it names no zone), or with an
            archive's (year, month, day, hour, minute, second).

    Returns:
        Datetimes in UTC; null where the token has no time.
    """
    first_word = pl.col("token").str.split(" ").list.first()
    seconds = first_word.cast(pl.Float64, strict=False)
    iso = first_word.str.replace("Z$", "+00:00")
    archive = pl.col("token").str.extract(r"^\((\d+, \d+, \d+, \d+, \d+, \d+)\)")
    time = pl.coalesce(
        pl.from_epoch((seconds * 1e6).cast(pl.Int64, strict=False), "us").dt.replace_time_zone("UTC"),
        iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False),
        iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False),
        archive.str.to_datetime("%Y, %m, %d, %H, %M, %S", time_unit="us", time_zone="UTC", strict=False),
    )
    return modified.alias("token").to_frame().select(time.alias("time")).to_series()


def force_unprocessed(planned: pl.DataFrame, ledger: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Plan unchanged and quarantined documents as `forced`, except those that this backfill has already written.

    Args:
        planned: Frame of `PLANNED`.
        ledger: Frame of `ledger.ROW`.
        run_id: The id that this backfill writes into the ledger.

    Returns:
        Frame of `PLANNED`.
    """
    written = ledger.filter(pl.col("run_id") == run_id)["doc_id"]
    is_forced = pl.col("action").is_in(_UNPROCESSED) & ~pl.col("doc_id").is_in(written.implode())
    return planned.with_columns(action=pl.when(is_forced).then(pl.lit("forced")).otherwise("action"))


def _chosen_parts(unlisted: Sequence[tuple[str, str]], chosen: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    """Keep of the parts that could not be listed the folders, and the tables that the selection chose itself."""

    def is_chosen(source: str, prefix: str) -> bool:
        uri = pl.col("uri")
        is_inside = (uri == prefix.removesuffix("#")) | uri.str.starts_with(prefix)
        return not prefix.endswith("#") or chosen.filter((pl.col("source") == source) & is_inside).height > 0

    return tuple(part for part in unlisted if is_chosen(*part))


def _matches_glob(listed: pl.DataFrame, globs: Sequence[str]) -> pl.Series:
    """Tell of each document whether a glob matches it, or the table that it is a row of."""
    patterns = [re.compile(glob_translate(glob)) for glob in globs]

    def matches(uri: str, spool: str) -> bool:
        file = table_of(uri) if spool else mail_of(uri) or uri
        return any(pattern.match(uri) or pattern.match(file) for pattern in patterns)

    return pl.Series([matches(*names) for names in listed.select("uri", "spool").iter_rows()], dtype=pl.Boolean)


def _find_named(listed: pl.DataFrame, uris: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Find the documents that have one of these names, and the names that no document has."""
    uri_by_name = {name: uri for uri in uris for name in (uri, absolute_uri(uri))}
    found: set[str] = set()
    is_named = []
    for source, uri, location, spool in listed.select("source", "uri", "location", "spool").iter_rows():
        file = table_of(uri) if spool else mail_of(uri) or uri
        names = (uri, f"{source}/{uri}", file, f"{source}/{file}", location)
        matched = {uri_by_name[name] for name in names if name in uri_by_name}
        is_named.append(bool(matched))
        found |= matched
    unknown = tuple(uri for uri in dict.fromkeys(uris) if uri not in found)
    return listed.filter(pl.Series(is_named, dtype=pl.Boolean)), unknown
