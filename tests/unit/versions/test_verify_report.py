"""The report of a verification: its JSON keys, and the texts that people read."""

from __future__ import annotations

import json
from dataclasses import fields

import polars as pl

from roost.tasks.models.recipe import Recipe
from roost.tasks.versions.verification import Findings
from roost.tasks.versions.verify_report import make_verify_report
from roost.tasks.versions.version import Version

VERSION = Version(
    "docs",
    "docs__0a1b2c3d",
    Recipe("m", "r", 4, "c", 240, 24, "", ""),
    "2026-11-01T00:00:00+00:00",
    "COSINE",
    places={"notes": "/srv/notes"},
)
SCHEMA = {"doc_id": pl.String, "source": pl.String, "uri": pl.String, "status": pl.String, "chunk_count": pl.Int64}


def findings(*rows: tuple[str, str, str], **counts: int) -> Findings:
    frame = pl.DataFrame([("0", *row, 1) for row in rows], schema=SCHEMA, orient="row")
    names = {field.name for field in fields(Findings)} - {"inconsistent"}
    return Findings(inconsistent=frame, **dict.fromkeys(names, 0) | {"documents": 3, "chunks": 7} | counts)


def test_the_report_has_the_documented_keys_and_is_json() -> None:
    found = findings(("notes", "a.md", "indexed"), missing=1)
    left = findings(("notes", "a.md", "writing"), unfinished=1)
    report = make_verify_report(VERSION, found, left, marked=1)
    assert list(json.loads(json.dumps(report.as_dict()))) == [
        "index",
        "version",
        "documents",
        "quarantined",
        "chunks",
        "missing",
        "orphaned",
        "duplicated",
        "mismatched",
        "unfinished",
        "foreign",
        "repaired",
        "deleted",
        "marked",
        "to_redo",
        "next",
        "ok",
    ]
    assert report.as_dict()["to_redo"] == [{"source": "notes", "uri": "a.md"}]
    assert (report.repaired, report.ok) == (1, False)


def test_the_counts_have_titles_that_a_reader_understands() -> None:
    found = findings(("notes", "a.md", "writing"), unfinished=1, foreign=2, mismatched=3)
    report = make_verify_report(VERSION, found, found, marked=0)
    titles = report.counts()
    assert titles["interrupted writes"] == 1
    assert titles["rows not written by Roost"] == 2
    assert titles["content differs from ledger"] == 3
    assert report.summary() == ("docs: 3 documents, 7 chunks; content differs from ledger: 3, interrupted writes: 1")
    [step] = report.next_steps
    assert step.startswith("ingest source 'notes' (/srv/notes) again")


def test_quarantined_documents_are_counted_apart_as_the_status_does() -> None:
    report = make_verify_report(VERSION, found := findings(quarantined=2), found, marked=0)
    assert (report.as_dict()["documents"], report.as_dict()["quarantined"]) == (3, 2)
    assert report.summary() == "docs: 3 documents and 2 quarantined, 7 chunks; store and ledger agree"


def test_a_consistent_index_is_ok_and_leaves_nothing_to_do() -> None:
    report = make_verify_report(VERSION, findings(), findings(), marked=0)
    assert report.ok
    assert report.next_steps == ()
    assert report.summary().endswith("store and ledger agree")
