"""What a backfill chooses, and which documents it embeds again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from roost.tasks.records import DOCUMENT, PLANNED
from roost.tasks.steps.select import force_unprocessed, modification_times, select_documents
from roost.tasks.steps.selection import Selection
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, ROW


def listed(*uris: str, source: str = "docs", **changed: Any) -> pl.DataFrame:
    rows = [
        {
            "doc_id": f"{source}{uri}".encode().hex(),
            "source": source,
            "uri": uri,
            "location": f"/far/{source}/{uri}",
            "size": 1,
            "modified": "1767225600.5 1767225600.5",
            "content_hash": "",
            "spool": "part" if ".csv#" in uri else "",
            "row": -1,
            "reason": "",
            **changed,
        }
        for uri in uris
    ]
    return pl.DataFrame(rows, schema=DOCUMENT)


def ledger(documents: pl.DataFrame, **changed: Any) -> pl.DataFrame:
    row = {name: 0 if kind == pl.Int64 else "" for name, kind in ROW.items()} | {"status": INDEXED} | changed
    rows = [row | known for known in documents.select("doc_id", "uri", "source").to_dicts()]
    return pl.DataFrame(rows, schema=ROW)


def chosen(documents: pl.DataFrame, **choices: Any) -> list[str]:
    return select_documents(documents, ROW.to_frame(), Selection(**choices)).documents["uri"].to_list()


def test_the_times_of_files_of_object_stores_and_of_archives_are_read_and_an_etag_is_none():
    tokens = [
        "1767225600.25 1767225600.2",
        "2026-01-01T02:00:00+02:00",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00",
        "(2026, 1, 1, 0, 0, 0) 3405691582",
        "",
        '"5d41402abc4b2a76b9719d911017c592"',
    ]
    year = datetime(2026, 1, 1, tzinfo=UTC)
    found = modification_times(pl.Series(tokens)).to_list()
    assert [time and time.replace(microsecond=0) for time in found] == [year] * 5 + [None] * 2
    assert [time.microsecond for time in found[:3]] == [250_000, 0, 500_000]


def test_a_range_of_time_holds_its_first_moment_and_not_its_last():
    documents = listed("a.md", modified="2026-01-01T00:00:00Z")
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert chosen(documents, since=first, until=second) == ["a.md"]
    assert chosen(documents, until=first) == chosen(documents, since=second) == []


def test_documents_without_a_time_are_left_out_and_counted():
    found = select_documents(
        listed("t.csv#1", modified=""), ROW.to_frame(), Selection(since=datetime(2026, 1, 1, tzinfo=UTC))
    )
    assert (found.documents.height, found.listed, found.undated) == (0, 1, 1)


def test_a_glob_chooses_paths_and_a_tables_path_its_rows():
    documents = listed("a.md", "deep/b.md", "t.csv#1", "t.csv#2", "u.csv#1")
    assert chosen(documents, only=("**/*.md",)) == ["a.md", "deep/b.md"]
    assert chosen(documents, only=("t.csv",)) == ["t.csv#1", "t.csv#2"]
    assert chosen(documents, only=("*.csv#1", "a.*")) == ["a.md", "t.csv#1", "u.csv#1"]


def test_documents_are_named_by_path_by_source_and_path_and_by_place_and_strangers_are_told():
    documents = pl.concat([listed("a.md", "b.md", "t.csv#1"), listed("a.md", source="more")])
    found = select_documents(
        documents, ROW.to_frame(), Selection(uris=("more/a.md", "/far/docs/../docs/b.md", "t.csv", "c.md"))
    )
    assert found.documents.select("source", "uri").rows() == [("docs", "b.md"), ("docs", "t.csv#1"), ("more", "a.md")]
    assert found.unknown == ("c.md",)


def test_only_what_the_ledger_has_a_reason_against_is_chosen_as_failed():
    good, bad = listed("good.md"), listed("bad.pdf")
    known = pl.concat([ledger(good), ledger(bad, status=QUARANTINED, reason="damaged: cut off")])
    found = select_documents(pl.concat([good, bad]), known, Selection(only_failed=True))
    assert found.documents["uri"].to_list() == ["bad.pdf"]


def test_what_this_backfill_already_forced_is_not_forced_again():
    documents = listed("new.md", "done.md", "left.md", "refused.md")
    known = pl.concat([ledger(documents[1:2], run_id="this"), ledger(documents[2:], run_id="that")])
    planned = (
        documents.with_columns(
            old_chunks=pl.lit(1),
            committed=pl.lit(1),
            attempts=pl.lit(0),
            moved_from=pl.lit(""),
            is_touched=pl.lit(value=False),
            has_other_fields=pl.lit(value=False),
            **{name: pl.lit("") for name in ("fields", "fields_hash", "known_fields_hash")},
            action=pl.Series(["added", "unchanged", "unchanged", "quarantined"]),
        )
        .select(list(PLANNED))
        .cast(PLANNED)
    )
    assert force_unprocessed(planned, known, "this")["action"].to_list() == ["added", "unchanged", "forced", "forced"]
