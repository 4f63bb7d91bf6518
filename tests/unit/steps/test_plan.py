"""The plan: which document is added, changed, renamed, deleted, retried or left unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stand_ins import listing_choices

from roost.tasks.errors import REASONS, SourceError
from roost.tasks.ids import content_hash, doc_id
from roost.tasks.records import ACTIONS, DOCUMENT, PLANNED
from roost.tasks.sources.listing import Listing, list_sources
from roost.tasks.sources.looked_at import LookedAt
from roost.tasks.sources.metadata.give import GIVEN, GivenFields
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.parsers.parse import parser_of
from roost.tasks.sources.source import Source
from roost.tasks.steps.embedded_fields import fields_digest
from roost.tasks.steps.plan import PlanOptions, make_plan, plan_run, preview_run
from roost.tasks.versions.ledger import INDEXED, QUARANTINED, ROW, WRITING

SOURCE = "docs"
Row = dict[str, Any]


def ledger_row(uri: str, *, source: str = SOURCE, content: bytes = b"old words", **changed: Any) -> Row:
    row = {
        "doc_id": doc_id(source, uri),
        "uri": uri,
        "source": source,
        "content_hash": content_hash(content),
        "size": len(content),
        "modified": "1",
        "status": INDEXED,
        "chunk_count": 3,
        "pending_chunk_count": 0,
        "reason": "",
        "attempts": 0,
        "run_id": "r",
        "updated_at": "2026-01-01T00:00:00+00:00",
    }
    return row | changed


def ledger(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ROW)


def listed_row(uri: str, *, source: str = SOURCE, content: bytes = b"old words", **changed: Any) -> Row:
    row = {
        "doc_id": doc_id(source, uri),
        "source": source,
        "uri": uri,
        "location": f"memory://unread/{uri}",
        "size": len(content),
        "modified": "1",
        "content_hash": "",
        "spool": "",
        "row": -1,
        "reason": "",
    }
    return row | changed


def listed(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=DOCUMENT)


def as_listing(documents: pl.DataFrame, *sources: Source, unlisted: Sequence[tuple[str, str]] = ()) -> Listing:
    """Make a listing of these documents; without a source, of one that covers everything."""
    return Listing(documents, sources or (Source(uri="/nowhere", name=SOURCE),), tuple(unlisted), Counter())


def on_disk(file: Path, uri: str, content: bytes, **changed: Any) -> Row:
    """A listed row whose location is a real file."""
    file.write_bytes(content)
    return listed_row(uri, content=content, location=str(file), **changed)


def plan(
    documents: pl.DataFrame,
    known: pl.DataFrame,
    options: PlanOptions = PlanOptions(),  # noqa: B008  it is frozen
    *,
    sources: Sequence[str] = (SOURCE,),
    unlisted: Sequence[tuple[str, str]] = (),
    looked_at: Mapping[str, LookedAt] | None = None,
    fields: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Plan, and give each document's action by `source/uri`; `fields` are those that rules give, by URI."""
    listing = as_listing(documents, *(Source(uri="/nowhere", name=name) for name in sources), unlisted=unlisted)
    rows = [{"doc_id": doc_id(SOURCE, uri), "fields": text} for uri, text in (fields or {}).items()]
    given = GivenFields(pl.DataFrame(rows, schema=GIVEN))
    made = make_plan(replace(listing, looked_at=looked_at or {}, given=given), known, options)
    assert made.schema == PLANNED
    assert made["doc_id"].n_unique() == made.height
    names = made.select(pl.concat_str("source", "uri", separator="/"), "action")
    return {name.removeprefix(f"{SOURCE}/"): action for name, action in names.iter_rows()}


# single actions


def test_everything_is_added_to_an_empty_ledger() -> None:
    assert plan(listed(listed_row("a.md"), listed_row("b.md")), ledger()) == {"a.md": "added", "b.md": "added"}


def test_nothing_listed_and_nothing_known_is_an_empty_plan() -> None:
    assert plan(listed(), ledger()) == {}


def test_a_document_of_the_same_size_and_time_is_unchanged_without_being_opened() -> None:
    assert plan(listed(listed_row("a.md")), ledger(ledger_row("a.md"))) == {"a.md": "unchanged"}


def test_a_touched_document_of_the_same_content_is_unchanged(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", b"old words", modified="2")
    assert plan(listed(row), ledger(ledger_row("a.md"))) == {"a.md": "unchanged"}


@pytest.mark.parametrize("content", [b"new words", b"longer words than before"])
def test_a_document_of_other_content_is_changed(tmp_path: Path, content: bytes) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", content, modified="2")
    assert plan(listed(row), ledger(ledger_row("a.md"))) == {"a.md": "changed"}


def test_a_document_of_another_size_is_changed_though_its_time_is_the_same(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", b"longer words than before")
    assert plan(listed(row), ledger(ledger_row("a.md"))) == {"a.md": "changed"}


def test_only_a_checksum_sees_new_content_behind_the_same_size_and_time(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", b"new words")
    assert plan(listed(row), ledger(ledger_row("a.md"))) == {"a.md": "unchanged"}
    assert plan(listed(row), ledger(ledger_row("a.md")), PlanOptions(checksum=True)) == {"a.md": "changed"}
    row = on_disk(tmp_path / "a.md", "a.md", b"old words")
    assert plan(listed(row), ledger(ledger_row("a.md")), PlanOptions(checksum=True)) == {"a.md": "unchanged"}


def test_a_fingerprint_decides_before_the_time_where_both_sides_have_one(tmp_path: Path) -> None:
    known = ledger(ledger_row("a.md", fingerprint="5d41"))
    overwritten = on_disk(tmp_path / "a.md", "a.md", b"new words", fingerprint="7d79")  # within the same second
    assert plan(listed(overwritten), known) == {"a.md": "changed"}
    unread = listed_row("a.md", modified="2", fingerprint="5d41")
    assert plan(listed(unread), known) == {"a.md": "unchanged"}
    assert plan(listed(listed_row("a.md", fingerprint="5d41")), ledger(ledger_row("a.md"))) == {"a.md": "unchanged"}


def test_unchanged_documents_with_a_new_time_or_fingerprint_are_touched_and_no_others(tmp_path: Path) -> None:
    known = ledger(*(ledger_row(name, fingerprint="") for name in ("same", "later", "first", "changed")))
    rows = [
        listed_row("same", fingerprint=""),
        on_disk(tmp_path / "later", "later", b"old words", modified="2", fingerprint=""),
        listed_row("first", fingerprint="5d41"),
        on_disk(tmp_path / "changed", "changed", b"new words", modified="2", fingerprint=""),
        on_disk(tmp_path / "added", "added", b"new words", modified="2", fingerprint="5d41"),
    ]
    made = make_plan(as_listing(listed(*rows)), known, PlanOptions())
    assert made.filter("is_touched")["uri"].to_list() == ["later", "first"]


def test_without_a_time_the_content_decides(tmp_path: Path) -> None:
    known = ledger(ledger_row("a.md", modified=""))
    assert plan(listed(on_disk(tmp_path / "a.md", "a.md", b"old words", modified="")), known) == {"a.md": "unchanged"}
    assert plan(listed(on_disk(tmp_path / "a.md", "a.md", b"new words", modified="")), known) == {"a.md": "changed"}


def test_a_known_document_that_cannot_be_opened_any_more_is_work_so_that_load_gives_the_reason() -> None:
    row = listed_row("a.md", modified="2", location="/nowhere/a.md")
    assert plan(listed(row), ledger(ledger_row("a.md"))) == {"a.md": "changed"}


def test_a_table_row_is_compared_by_its_content() -> None:
    same = listed_row("t.csv#1", modified="", content_hash=content_hash(b"old words"), spool="part", row=0)
    other = same | {"content_hash": content_hash(b"new words")}
    known = ledger(ledger_row("t.csv#1", modified=""))
    assert plan(listed(same), known) == {"t.csv#1": "unchanged"}
    assert plan(listed(other), known) == {"t.csv#1": "changed"}


def test_a_document_that_a_dead_run_was_writing_is_tried_again_though_it_has_not_changed() -> None:
    row = ledger_row("a.md", status=WRITING, content_hash="", chunk_count=2, pending_chunk_count=7)
    assert plan(listed(listed_row("a.md")), ledger(row)) == {"a.md": "retry"}


def test_the_plan_carries_the_committed_chunks_beside_the_intended_ones() -> None:
    row = ledger_row("a.md", status=WRITING, chunk_count=2, pending_chunk_count=7)
    made = make_plan(as_listing(listed(listed_row("a.md"))), ledger(row), PlanOptions())
    assert made.select("committed", "old_chunks").rows() == [(2, 7)]


def test_the_plan_carries_the_larger_of_old_and_intended_chunks_and_the_attempts() -> None:
    rows = [
        ledger_row("a.md", status=WRITING, chunk_count=2, pending_chunk_count=7, attempts=4),
        ledger_row("b.md", chunk_count=9, pending_chunk_count=1),
        ledger_row("gone.md", status=WRITING, chunk_count=5, pending_chunk_count=6),
    ]
    made = make_plan(
        as_listing(listed(listed_row("a.md"), listed_row("b.md"), listed_row("new.md"))),
        ledger(*rows),
        PlanOptions(),
    )
    found = {row["uri"]: (row["old_chunks"], row["attempts"]) for row in made.to_dicts()}
    assert found == {"a.md": (7, 4), "b.md": (9, 0), "gone.md": (6, 0), "new.md": (0, 0)}


# quarantine


def quarantined(uri: str, reason: str = "encrypted: it opens with a password only", **changed: Any) -> Row:
    return ledger_row(uri, **{"status": QUARANTINED, "reason": reason, "attempts": 1} | changed)


def test_a_quarantined_document_is_left_alone_until_it_changes(tmp_path: Path) -> None:
    known = ledger(quarantined("a.md"))
    assert plan(listed(listed_row("a.md")), known) == {"a.md": "quarantined"}
    assert plan(listed(on_disk(tmp_path / "a.md", "a.md", b"new words", modified="2")), known) == {"a.md": "changed"}


def test_a_touched_quarantined_document_whose_content_is_known_is_left_alone(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", b"old words", modified="2")
    assert plan(listed(row), ledger(quarantined("a.md"))) == {"a.md": "quarantined"}


def test_a_quarantined_document_whose_content_was_never_read_is_known_by_size_and_time() -> None:
    known = ledger(quarantined("a.md", content_hash=""))
    assert plan(listed(listed_row("a.md")), known) == {"a.md": "quarantined"}
    assert plan(listed(listed_row("a.md", modified="2")), known) == {"a.md": "changed"}


def test_a_quarantined_document_is_tried_again_on_demand() -> None:
    found = plan(listed(listed_row("a.md")), ledger(quarantined("a.md")), PlanOptions(retry_quarantined=True))
    assert found == {"a.md": "retry"}


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_that_may_pass_is_tried_again_and_another_is_not(reason: str) -> None:
    known = ledger(quarantined("a.md", f"{reason}: details: with a colon"))
    assert plan(listed(listed_row("a.md")), known) == {"a.md": "retry" if REASONS[reason] else "quarantined"}


@pytest.mark.parametrize(("reason", "runs"), [("too_slow", 1), ("stalled", 10), ("unreadable", 1_000)])
def test_a_reason_that_may_pass_is_tried_in_so_many_runs_and_then_left_alone(reason: str, runs: int) -> None:
    def action(attempts: int) -> str:
        known = ledger(quarantined("a.md", f"{reason}: details", attempts=attempts))
        return plan(listed(listed_row("a.md")), known)["a.md"]

    assert {action(1), action(runs)} == {"retry"}
    assert action(runs + 1) == ("retry" if reason == "unreadable" else "quarantined")


def test_failures_of_other_content_do_not_count(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "a.md", "a.md", b"new words", modified="2")
    planned = make_plan(as_listing(listed(row)), ledger(quarantined("a.md", attempts=7)), PlanOptions())
    assert planned.select("action", "attempts").rows() == [("changed", 0)]


def test_trying_again_on_demand_leaves_indexed_documents_alone() -> None:
    known = ledger(ledger_row("a.md"))
    assert plan(listed(listed_row("a.md")), known, PlanOptions(retry_quarantined=True)) == {"a.md": "unchanged"}


def test_a_quarantined_document_that_is_gone_is_deleted() -> None:
    assert plan(listed(), ledger(quarantined("a.md"))) == {"a.md": "deleted"}


# renames


def test_a_document_that_moved_is_renamed_and_its_old_row_moved(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "x.md", "new.md", b"old words")
    assert plan(listed(row), ledger(ledger_row("old.md"))) == {"new.md": "renamed", "old.md": "moved"}


def test_a_new_document_of_the_same_size_but_other_content_is_added(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "x.md", "new.md", b"new words")
    assert plan(listed(row), ledger(ledger_row("old.md"))) == {"new.md": "added", "old.md": "deleted"}


def test_a_copy_of_a_document_that_is_still_there_is_added(tmp_path: Path) -> None:
    rows = listed(listed_row("old.md"), on_disk(tmp_path / "x.md", "new.md", b"old words"))
    assert plan(rows, ledger(ledger_row("old.md"))) == {"old.md": "unchanged", "new.md": "added"}


def test_a_moved_table_row_is_renamed_by_its_content() -> None:
    row = listed_row("t.csv#2", modified="", content_hash=content_hash(b"old words"), spool="part", row=0)
    assert plan(listed(row), ledger(ledger_row("t.csv#1", modified=""))) == {"t.csv#2": "renamed", "t.csv#1": "moved"}


def test_a_move_from_one_listed_source_to_another_is_a_rename(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "x.md", "a.md", b"old words") | {"source": "b", "doc_id": doc_id("b", "a.md")}
    found = plan(listed(row), ledger(ledger_row("a.md", source="a")), sources=["a", "b"])
    assert found == {"b/a.md": "renamed", "a/a.md": "moved"}


@pytest.mark.parametrize("status", [WRITING, QUARANTINED])
def test_what_was_never_indexed_is_no_ground_for_a_rename(tmp_path: Path, status: str) -> None:
    row = on_disk(tmp_path / "x.md", "new.md", b"old words")
    assert plan(listed(row), ledger(ledger_row("old.md", status=status))) == {"new.md": "added", "old.md": "deleted"}


def test_when_missing_documents_are_kept_there_are_no_renames(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "x.md", "new.md", b"old words")
    assert plan(listed(row), ledger(ledger_row("old.md")), PlanOptions(keep_missing=True)) == {"new.md": "added"}


def test_renames_are_no_deletions(tmp_path: Path) -> None:
    contents = [f"words number {n:03d}".encode() for n in range(40)]
    rows = [on_disk(tmp_path / f"{n}", f"new/{n}.md", content) for n, content in enumerate(contents)]
    known = ledger(*(ledger_row(f"old/{n}.md", content=content) for n, content in enumerate(contents)))
    found = plan(listed(*rows), known)
    assert sorted(set(found.values())) == ["moved", "renamed"]


@pytest.mark.parametrize("row", [{"status": WRITING, "content_hash": ""}, {"status": QUARANTINED, "content_hash": ""}])
def test_a_move_that_was_cut_off_is_one_still(tmp_path: Path, row: Row) -> None:
    known = ledger(ledger_row("old.md"), ledger_row("new.md", reason="unreadable: away", **row))
    documents = listed(on_disk(tmp_path / "x.md", "new.md", b"old words"))
    made = make_plan(as_listing(documents), known, PlanOptions())
    assert made.select("uri", "action", "moved_from").rows() == [
        ("new.md", "retry", doc_id(SOURCE, "old.md")),
        ("old.md", "moved", ""),
    ]


def test_of_equal_documents_as_many_move_as_arrive(tmp_path: Path) -> None:
    known = ledger(*(ledger_row(f"old/{n}.md") for n in range(3)))
    one = on_disk(tmp_path / "x.md", "new.md", b"old words")
    assert sorted(plan(listed(one), known).values()) == ["deleted", "deleted", "moved", "renamed"]
    more = (on_disk(tmp_path / f"{n}", f"new/{n}.md", b"old words") for n in range(4))
    assert sorted(plan(listed(*more), known).values()) == ["added", *["moved"] * 3, *["renamed"] * 3]


@pytest.mark.parametrize("reason", ["damaged: no end", "unreadable: away"])
def test_the_old_place_of_a_document_whose_new_one_was_refused_stays_until_the_new_one_goes(reason: str) -> None:
    known = ledger(ledger_row("old.md"), ledger_row("older.md"), quarantined("new.pdf", reason, chunk_count=0))
    found = plan(listed(listed_row("new.pdf")), known)
    assert sorted(found) in (["new.pdf", "old.md"], ["new.pdf", "older.md"])  # one document holds back one
    assert set(plan(listed(), known).values()) == {"deleted"}


def test_a_document_that_cannot_be_read_now_may_be_a_missing_one_of_its_size() -> None:
    known = ledger(ledger_row("old.md"), ledger_row("other.md", content=b"other"))
    assert plan(listed(listed_row("new.md")), known) == {"new.md": "added", "other.md": "deleted"}


# deletions


def test_a_document_that_is_gone_is_deleted() -> None:
    found = plan(listed(listed_row("a.md")), ledger(ledger_row("a.md"), ledger_row("gone.md")))
    assert found == {"a.md": "unchanged", "gone.md": "deleted"}


def test_missing_documents_can_be_kept() -> None:
    assert plan(listed(), ledger(ledger_row("gone.md")), PlanOptions(keep_missing=True)) == {}


def test_documents_of_a_source_that_was_not_listed_are_not_in_the_plan() -> None:
    known = ledger(ledger_row("a.md"), ledger_row("b.md", source="other"))
    assert plan(listed(), known) == {"a.md": "deleted"}


def test_nothing_is_deleted_below_what_could_not_be_listed() -> None:
    known = ledger(ledger_row("sub/locked/a.md"), ledger_row("sub/b.md"), ledger_row("sub/locked/a.md", source="other"))
    found = plan(listed(), known, sources=[SOURCE, "other"], unlisted=[(SOURCE, "sub/locked")])
    assert found == {"sub/b.md": "deleted", "other/sub/locked/a.md": "deleted"}


def test_nothing_at_all_is_deleted_from_a_source_that_could_not_be_listed() -> None:
    known = ledger(ledger_row("a.md"), ledger_row("sub/b.md"))
    assert plan(listed(), known, unlisted=[(SOURCE, "")]) == {}


def test_a_rename_out_of_what_could_not_be_listed_is_added(tmp_path: Path) -> None:
    row = on_disk(tmp_path / "x.md", "new.md", b"old words")
    found = plan(listed(row), ledger(ledger_row("locked/old.md")), unlisted=[(SOURCE, "locked")])
    assert found == {"new.md": "added"}


# any change at all


@pytest.fixture(scope="module")
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


CONTENTS = st.sampled_from([b"aaaa", b"bbbb", b"cccc", b"a longer one", b""])
NAMES = st.sampled_from([f"{n}.md" for n in range(10)])
FOLDER = st.dictionaries(NAMES, CONTENTS)


@given(
    before=FOLDER,
    after=FOLDER,
    touched=st.sets(NAMES),
    checksum=st.booleans(),
)
def test_any_two_states_of_a_folder_give_the_plan_that_leads_from_one_to_the_other(
    memory: Any, before: dict[str, bytes], after: dict[str, bytes], touched: set[str], checksum: bool
) -> None:
    memory.store.clear()
    rows = []
    for uri, content in after.items():
        memory.pipe(f"/docs/{uri}", content)
        time = "1" if before.get(uri) == content and uri not in touched else "2"
        rows.append(listed_row(uri, content=content, location=f"memory:///docs/{uri}", modified=time))
    known = ledger(*(ledger_row(uri, content=content) for uri, content in before.items()))

    left = [uri for uri in before if uri not in after]
    came = [uri for uri in after if uri not in before]
    moves = [
        move
        for same in set(before.values())
        for move in zip([u for u in left if before[u] == same], [u for u in came if after[u] == same], strict=False)
    ]
    moved, renamed = {old for old, _ in moves}, {new for _, new in moves}
    expected = {
        uri: "renamed"
        if uri in renamed
        else "added"
        if uri not in before
        else "unchanged"
        if before[uri] == content
        else "changed"
        for uri, content in after.items()
    } | {uri: "moved" if uri in moved else "deleted" for uri in left}
    assert plan(listed(*rows), known, PlanOptions(checksum=checksum)) == expected


# from sources to plan


async def test_real_folders_are_listed_and_planned_together(tmp_path: Path) -> None:
    for name in ("one/a.md", "two/b.md", "two/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    sources = [Source(uri="one"), Source(uri="two")]
    found = await list_sources(open_sources(sources, listing_choices()), tmp_path)
    assert found.sources == tuple(sources)
    known = ledger(ledger_row("a.md", source="one", content=b"one/a.md"), ledger_row("gone.md", source="two"))
    made = await plan_run(found, known, PlanOptions())
    assert made.counts() == dict.fromkeys(ACTIONS, 0) | {"unchanged": 1, "added": 1, "deleted": 1}
    assert made.listed == 2
    assert dict(made.skipped) == {".png": 1}
    assert not made.is_first
    assert (await plan_run(found, ledger(), PlanOptions())).is_first


def test_a_place_that_is_missing_stops_everything_before_anything_is_listed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(SourceError, match="no such file or folder: two"):
        open_sources([Source(uri="one"), Source(uri="two")], listing_choices())


def test_what_a_narrower_glob_or_an_exclusion_leaves_out_is_not_missing() -> None:
    known = ledger(ledger_row("a.md"), ledger_row("b.txt"), ledger_row("drafts/c.md"))
    narrow = Source(uri="/nowhere/*.md", name=SOURCE)
    made = make_plan(as_listing(listed(), narrow), known, PlanOptions())
    assert made.select("uri", "action").rows() == [("a.md", "deleted")]
    without = Source(uri="/nowhere", name=SOURCE, exclude=["drafts/**"])
    assert set(make_plan(as_listing(listed(), without), known, PlanOptions())["uri"]) == {"a.md", "b.txt"}


# parsers


@pytest.mark.parametrize(
    ("uri", "recorded", "action"),
    [
        ("a.md", "roost-markdown 1", "unchanged"),
        ("a.md", "roost-markdown 0", "reread"),
        ("a.MD", "roost-text 1", "reread"),
        ("a.md", "", "unchanged"),
        ("a/b.c/LICENSE", "roost-text 1", "unchanged"),
        (".md", "roost-text 1", "unchanged"),
        ("a.docx", "", "reread"),
        ("a.docx", "mammoth 0.1", "reread"),
    ],
)
def test_an_unchanged_document_that_another_parser_reads_now_is_read_again(
    uri: str, recorded: str, action: str
) -> None:
    assert plan(listed(listed_row(uri)), ledger(ledger_row(uri, parser=recorded))) == {uri: action}


def test_a_document_that_another_parser_refused_is_tried_again_with_its_failures_forgotten() -> None:
    known = ledger(
        quarantined("a.docx", "damaged: no end", parser="mammoth 0.1", attempts=7),
        quarantined("b.docx", "unreadable: away", parser="", attempts=7),
        quarantined("c.docx", "damaged: no end", parser=parser_of("c.docx").parser, attempts=7),
    )
    made = make_plan(as_listing(listed(*(listed_row(f"{name}.docx") for name in "abc"))), known, PlanOptions())
    assert made.sort("uri").select("action", "attempts").rows() == [("reread", 0), ("retry", 7), ("quarantined", 7)]


def test_a_row_of_a_table_has_no_parser_that_could_change() -> None:
    known = ledger(ledger_row("t.pdf.csv#1", content_hash="0" * 32))
    found = listed(listed_row("t.pdf.csv#1", spool="part", row=0, content_hash="0" * 32))
    assert plan(found, known) == {"t.pdf.csv#1": "unchanged"}


# documents that were looked at alone


def test_of_a_source_that_was_not_listed_only_what_was_looked_at_can_be_missing() -> None:
    uris = ("a.md", "b.md", "sub/c.md", "subway.md", "faq.csv#1", "faq.csv#2", "a#b.md")
    known = ledger(*(ledger_row(uri, format="csv row" if "csv" in uri else "markdown") for uri in uris))
    found = listed(listed_row("faq.csv#2"), listed_row("new.md", content=b"quite other words"))
    keys, gone = frozenset(["a", "a.md", "sub", "faq.csv", "new.md"]), frozenset(["a", "a.md", "sub"])
    looked_at = {SOURCE: LookedAt(keys, gone, gone)}
    assert plan(found, known, looked_at=looked_at) == {
        "faq.csv#2": "unchanged",
        "new.md": "added",
        "a.md": "deleted",
        "sub/c.md": "deleted",
        "faq.csv#1": "deleted",
    }
    assert set(plan(found, known, PlanOptions(keep_missing=True), looked_at=looked_at)) == {"faq.csv#2", "new.md"}


async def test_the_limits_of_deletion_count_what_is_gone_of_a_source_that_was_looked_at() -> None:
    known = ledger(*(ledger_row(f"{n}.md") for n in range(20)))
    for count, is_refused in ((2, False), (15, True)):
        keys = frozenset(f"{n}.md" for n in range(count))
        listing = replace(as_listing(listed()), looked_at={SOURCE: LookedAt(keys, keys, keys)})
        made, refused = await preview_run(listing, known, PlanOptions())
        assert made.counts()["deleted"] == count
        assert (refused is not None) == is_refused
        assert made.empty_sources == ()
        assert "lists no documents" not in (refused or "")


# fields that are embedded


def test_another_value_of_an_embedded_field_is_a_change_and_one_of_another_field_is_none() -> None:
    options = PlanOptions(embedded_fields=("team",))
    values = {"a.md": '{"level": 1, "team": "ops"}', "b.md": '{"level": 2, "team": "ops"}', "c.md": '{"team": "ada"}'}
    before = fields_digest(values["a.md"], ["team"])
    known = ledger(*(ledger_row(uri, fields_hash=before) for uri in (*values, "d.md")))
    documents = listed(*(listed_row(uri) for uri in (*values, "d.md")))
    assert plan(documents, known, options, fields=values) == {
        "a.md": "unchanged",
        "b.md": "metadata",
        "c.md": "changed",
        "d.md": "changed",
    }
    plain = ledger(*(ledger_row(uri, fields_hash=fields_digest(values["a.md"], [])) for uri in (*values, "d.md")))
    found = plan(documents, plain, fields=values)
    assert found == {"a.md": "unchanged", "b.md": "metadata", "c.md": "metadata", "d.md": "metadata"}
