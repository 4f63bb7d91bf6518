"""What a backfill chooses of the documents that its sources list, and which of them it embeds again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from fsspec.utils import glob_translate

from roost.tasks.versions.ledger import QUARANTINED

#: Actions of documents that would be left alone.
_LEFT = ("unchanged", "quarantined")


@dataclass(frozen=True)
class Selection:
    """A choice of documents: all that is said must hold.

    since, until: Bounds of the modification time, with a time zone; the second is the first moment out.
    only: Globs, of which one must match the URI, or for a table's row the table's.
    uris: Documents by name, see `select_documents`.
    only_failed: Those that the ledger has a reason against.
    """

    since: datetime | None = None
    until: datetime | None = None
    only: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    only_failed: bool = False

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Selection:
        """Take the choices of these names from among others."""
        return cls(
            choices["since"], choices["until"], tuple(choices["only"]), tuple(choices["uris"]),
            only_failed=choices["only_failed"],
        )  # fmt: skip


@dataclass(frozen=True)
class Selected:
    """What was chosen.

    documents: frame of `DOCUMENT`.
    listed: documents that there were to choose from.
    undated: documents that no bound of time could choose: their source tells none, or they are a table's rows.
    unknown: those of the selection's URIs that name nothing.
    """

    documents: pl.DataFrame
    listed: int
    undated: int = 0
    unknown: tuple[str, ...] = ()


def select_documents(listed: pl.DataFrame, ledger: pl.DataFrame, selection: Selection) -> Selected:
    """Choose documents.

    A URI of the selection names a document by its path in its source, alone or after the source's name and a slash,
    or by where it lies, as a path or URL. The URI of a table names all its rows.

    Args:
        listed: Frame of `DOCUMENT`.
        ledger: Frame of `ledger.ROW`.
        selection: What to choose.
    """
    chosen = listed
    unknown: tuple[str, ...] = ()
    if selection.only:
        matched = _matching(chosen["uri"], selection.only)
        chosen = chosen.filter(matched)
    if selection.uris:
        chosen, unknown = _named(chosen, selection.uris)
    if selection.only_failed:
        failed = ledger.filter((pl.col("reason") != "") | (pl.col("status") == QUARANTINED))
        chosen = chosen.join(failed, on="doc_id", how="semi", maintain_order="left")
    undated = 0
    if selection.since or selection.until:
        time = pl.Series("time", modification_times(chosen["modified"]))
        undated = time.null_count()
        after = time >= selection.since if selection.since else time.is_not_null()
        before = time < selection.until if selection.until else time.is_not_null()
        chosen = chosen.filter((after & before).fill_null(value=False))
    return Selected(chosen, listed.height, undated, unknown)


def modification_times(modified: pl.Series) -> pl.Series:
    """Read the tokens that sources give for a document's time: UTC; null where one tells no time.

    They are seconds since 1970, ISO 8601 (without a zone: UTC), or an archive's (year, month, day, hour, minute, s).
    """
    first = pl.col("token").str.split(" ").list.first()
    seconds = first.cast(pl.Float64, strict=False)
    iso = first.str.replace("Z$", "+00:00")
    clock = pl.col("token").str.extract(r"^\((\d+, \d+, \d+, \d+, \d+, \d+)\)")
    found = pl.coalesce(
        pl.from_epoch((seconds * 1e6).cast(pl.Int64, strict=False), "us").dt.replace_time_zone("UTC"),
        iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False),
        iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False),
        clock.str.to_datetime("%Y, %m, %d, %H, %M, %S", time_unit="us", time_zone="UTC", strict=False),
    )
    return modified.alias("token").to_frame().select(found.alias("time")).to_series()


def force(planned: pl.DataFrame, ledger: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """Have the documents embedded again that would be left alone, but not those that this backfill already did.

    Args:
        planned: Frame of `PLANNED`.
        ledger: Frame of `ledger.ROW`.
        run_id: What this backfill stamps the ledger's rows with.
    """
    done = ledger.filter(pl.col("run_id") == run_id)["doc_id"]
    again = pl.col("action").is_in(_LEFT) & ~pl.col("doc_id").is_in(done.implode())
    return planned.with_columns(action=pl.when(again).then(pl.lit("forced")).otherwise("action"))


def _matching(uris: pl.Series, globs: Sequence[str]) -> pl.Series:
    patterns = [re.compile(glob_translate(glob)) for glob in globs]

    def matches(uri: str) -> bool:
        file = uri.partition("#")[0]
        return any(pattern.match(uri) or pattern.match(file) for pattern in patterns)

    return pl.Series([matches(uri) for uri in uris], dtype=pl.Boolean)


def _named(listed: pl.DataFrame, uris: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Find the documents of these names, and the names that are nobody's."""
    asked = {place: uri for uri in uris for place in (uri, _absolute(uri))}
    hit: set[str] = set()
    chosen = []
    for source, uri, location in listed.select("source", "uri", "location").iter_rows():
        file = uri.partition("#")[0]
        found = {asked[name] for name in (uri, f"{source}/{uri}", file, f"{source}/{file}", location) if name in asked}
        chosen.append(bool(found))
        hit |= found
    unknown = tuple(uri for uri in dict.fromkeys(uris) if uri not in hit)
    return listed.filter(pl.Series(chosen, dtype=pl.Boolean)), unknown


def _absolute(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(Path(uri).expanduser())  # noqa: PTH100  `..` goes too
