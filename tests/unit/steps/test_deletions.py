"""How many documents a run may delete: by source and by index, and what a refusal says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.steps.test_plan import Row, as_listing, ledger, ledger_row, listed, listed_row, on_disk

from roost.tasks.errors import UsageError
from roost.tasks.records import Plan
from roost.tasks.sources.source import Source
from roost.tasks.steps.deletions import MAX_NAMED
from roost.tasks.steps.plan import PlanOptions, plan_run, preview_run
from roost.tasks.versions.deletion_limit import MAX_FREE_DELETIONS
from roost.tasks.versions.ledger import QUARANTINED, WRITING


async def planned(
    documents: pl.DataFrame, known: pl.DataFrame, *sources: str, unlisted: Any = (), **options: Any
) -> Plan:
    named = (Source(uri="/nowhere", name=name) for name in sources or ("docs",))
    return await plan_run(as_listing(documents, *named, unlisted=unlisted), known, PlanOptions(**options))


async def deleted(*args: Any, **options: Any) -> int:
    return (await planned(*args, **options)).counts()["deleted"]


def many(gone: int, kept: int, source: str = "docs") -> tuple[pl.DataFrame, pl.DataFrame]:
    """A listing, and a ledger that knows `kept` listed documents and `gone` others."""
    stays = [f"{n}.md" for n in range(kept)]
    left = (ledger_row(f"gone/{n}.md", source=source, content=f"words {n}".encode()) for n in range(gone))
    known = ledger(*(ledger_row(uri, source=source) for uri in stays), *left)
    return listed(*(listed_row(uri, source=source) for uri in stays)), known


@pytest.mark.parametrize("size", [1, 3, 8, 40, 400])
@pytest.mark.parametrize("fraction", [0.3, 1.0])
async def test_a_source_that_lists_nothing_any_more_is_refused_until_it_is_named(size: int, fraction: float) -> None:
    _, mount = many(size, 0, "mount")
    documents, docs = many(0, 1_000 - size)
    known = pl.concat([docs, mount])
    says = (
        rf"source 'mount' lists no documents, the index has {size} of it\. Is every source mounted and complete\? "
        "To delete them all the same: --allow-deletions mount; to keep them: --keep-missing\n  mount/gone/0.md"
    )
    with pytest.raises(UsageError, match=says):
        await planned(documents, known, "docs", "mount", max_delete_fraction=fraction)
    assert await deleted(documents, known, "docs", "mount", allow_deletions=("mount",)) == size
    assert await deleted(documents, known, "docs", "mount", keep_missing=True) == 0


async def test_an_emptied_source_of_an_index_of_its_own_is_refused_however_small() -> None:
    with pytest.raises(UsageError, match="source 'docs' lists no documents, the index has 1 of it"):
        await planned(*many(1, 0))


async def test_everyday_deletions_in_a_small_folder_are_made() -> None:
    assert await deleted(*many(MAX_FREE_DELETIONS, 1), max_delete_fraction=0.0) == MAX_FREE_DELETIONS


async def test_a_larger_share_of_one_source_is_refused_though_it_is_small_for_the_index() -> None:
    documents, known = many(MAX_FREE_DELETIONS + 1, 9)
    others, held = many(0, 1_000, "other")
    args = (pl.concat([documents, others]), pl.concat([known, held]), "docs", "other")
    with pytest.raises(UsageError, match=r"source 'docs' would lose 4 of 13 documents \(30% may go\)"):
        await planned(*args)
    assert await deleted(*args, max_delete_fraction=0.31) == MAX_FREE_DELETIONS + 1
    assert await deleted(*args, allow_deletions=("docs",)) == MAX_FREE_DELETIONS + 1


async def test_a_larger_share_of_the_index_is_refused_though_each_source_loses_few() -> None:
    parts = [many(2, 2, f"s{n}") for n in range(5)]
    documents, known = (pl.concat(frames) for frames in zip(*parts, strict=True))
    names = [f"s{n}" for n in range(5)]
    with pytest.raises(UsageError, match=r"the index would lose 10 of 20 .*--max-delete-fraction 0\.5") as told:
        await planned(documents, known, *names)
    assert "source 's" not in str(told.value)
    assert await deleted(documents, known, *names, allow_deletions=("s1", "s2")) == 10


async def test_a_refusal_names_the_first_documents_and_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        await planned(*many(30, 19))
    reason, *names = str(caught.value).splitlines()
    assert reason == (
        "refused to delete documents: source 'docs' would lose 30 of 49 documents (30% may go). Is every source "
        "mounted and complete? To delete them all the same: --max-delete-fraction 0.62; to keep them: --keep-missing"
    )
    assert names[0] == "  docs/gone/0.md"
    assert len(names) == MAX_NAMED + 1
    assert names[-1] == "  and 10 more: roost ingest --dry-run --json names all"


async def test_a_preview_gives_the_plan_and_the_reason_in_one_line() -> None:
    documents, known = many(30, 19)
    plan, refused = await preview_run(as_listing(documents), known, PlanOptions())
    assert plan.counts()["deleted"] == 30
    assert refused
    assert "\n" not in refused


async def test_as_many_deletions_as_their_share_are_made() -> None:
    assert await deleted(*many(30, 70)) == 30


@pytest.mark.parametrize("kept", [1, MAX_FREE_DELETIONS + 1])
async def test_deletions_of_copies_of_what_stays_need_leave_too(kept: int) -> None:
    stays = [f"v2/{n}.md" for n in range(kept)]
    known = [ledger_row(uri, run_id="second") for uri in stays]
    known += [ledger_row(f"v1/{n}.md", run_id="first") for n in range(MAX_FREE_DELETIONS + 1)]
    with pytest.raises(UsageError, match=f"would lose 4 of {4 + kept} documents"):
        await planned(listed(*map(listed_row, stays)), ledger(*known))


async def test_one_new_copy_of_many_equal_documents_is_no_leave_to_delete_the_others(tmp_path: Path) -> None:
    known = ledger(*(ledger_row(f"{n}.md") for n in range(500)))
    with pytest.raises(UsageError, match="would lose 499 of 500 documents"):
        await planned(listed(on_disk(tmp_path / "x.md", "new.md", b"old words")), known)


async def test_a_source_whose_documents_all_moved_to_another_one_is_not_refused(tmp_path: Path) -> None:
    rows = [on_disk(tmp_path / f"{n}", f"{n}.md", f"words {n}".encode()) for n in range(9)]
    _, known = many(9, 0, "old")
    assert await deleted(listed(*rows), known, "docs", "old") == 0


@pytest.mark.parametrize(
    "row",
    [
        {"status": WRITING, "chunk_count": 3},
        {"status": WRITING, "content_hash": "", "chunk_count": 0, "pending_chunk_count": 3},
        {"status": QUARANTINED, "reason": "empty: ", "chunk_count": 0},
    ],
    ids=["begun", "never committed", "never indexed"],
)
async def test_what_was_being_deleted_or_holds_nothing_committed_goes_without_leave(row: Row) -> None:
    known = ledger(*(ledger_row(f"{n}.md", **row) for n in range(500)))
    assert await deleted(listed(), known, max_delete_fraction=0.0) == 500


async def test_a_committed_document_whose_rewrite_was_cut_off_goes_with_leave_only() -> None:
    known = ledger(*(ledger_row(f"{n}.md", status=WRITING, content_hash="") for n in range(500)))
    with pytest.raises(UsageError, match="the index has 500 of it"):
        await planned(listed(), known)


async def test_a_source_of_which_a_part_could_not_be_listed_loses_nothing_there_and_the_rest_with_leave_only() -> None:
    known = ledger(*(ledger_row(f"{folder}/{n}.md") for folder in ("down", "up") for n in range(2)))
    with pytest.raises(UsageError, match="lists no documents, the index has 2 of it"):
        await planned(listed(), known, unlisted=[("docs", "down/")])
    assert await deleted(listed(), known, unlisted=[("docs", "down/")], allow_deletions=("docs",)) == 2


@example(gone=29, kept=71)
@given(gone=st.integers(MAX_FREE_DELETIONS + 1, 150), kept=st.integers(1, 150))
async def test_the_share_that_the_refusal_names_is_enough(gone: int, kept: int) -> None:
    documents, known = many(gone, kept)
    with pytest.raises(UsageError) as caught:
        await planned(documents, known, max_delete_fraction=0.0)
    named = re.search(r"--max-delete-fraction ([0-9.]+);", str(caught.value))
    assert named
    assert await deleted(documents, known, max_delete_fraction=float(named.group(1))) == gone


def excluding(**choices: Any) -> Source:
    return Source(uri="/nowhere", name="docs", **choices)


async def test_documents_that_exclude_no_longer_chooses_stay_are_counted_and_go_when_asked() -> None:
    known = ledger(
        ledger_row("a.md"), ledger_row("drafts/b.md"), ledger_row("drafts/c.md"), ledger_row("d.md", chunk_count=0)
    )
    listing = as_listing(listed(listed_row("a.md"), listed_row("d.md")), excluding(exclude=["drafts/**"]))
    plan = await plan_run(listing, known, PlanOptions())
    assert (plan.counts()["deleted"], dict(plan.not_chosen)) == (0, {"docs": 2})
    plan = await plan_run(listing, known, PlanOptions(delete_excluded=True))
    assert plan.with_actions("deleted")["uri"].to_list() == ["drafts/b.md", "drafts/c.md"]
    assert dict(plan.not_chosen) == {}


async def test_excluded_documents_go_within_the_same_limits() -> None:
    documents, known = many(9, 9)
    listing = as_listing(documents, excluding(exclude=["gone/**"]))
    with pytest.raises(UsageError, match="would lose 9 of 18 documents"):
        await plan_run(listing, known, PlanOptions(delete_excluded=True))
    plan = await plan_run(listing, known, PlanOptions(delete_excluded=True, allow_deletions=("docs",)))
    assert plan.counts()["deleted"] == 9
