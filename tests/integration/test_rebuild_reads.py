"""How often a rebuild reads a ledger: as a whole once for the live version, and afterwards only what changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import roost.flows.rebuild
from roost.flows.operations.versions import list_versions
from roost.flows.parameters import RebuildRequest
from roost.flows.running.catch_up import Build
from roost.flows.running.run import run_flow
from roost.tasks.errors import UsageError
from roost.tasks.evaluation.questions import Questions
from roost.tasks.evaluation.version_comparison import Verdict
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import ledger_snapshot
from roost.tasks.versions.ledger import ROW, read_ledger, write_rows
from roost.tasks.versions.ledger_format import LEDGER_FORMAT, ledger_name
from roost.tasks.versions.ledger_snapshot import LedgerSnapshot, read_snapshot, refresh_snapshot
from roost.tasks.versions.live_version import require_live_version


@pytest.fixture
def full_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the reads of all rows of a collection, by its name."""
    reads: Counter[str] = Counter()
    read_pages = Store.read_pages

    async def spy(store: Store, collection: str, fields: list[str], filter: str = "", **options: Any) -> AsyncIterator:
        reads[collection] += not filter
        async for page in read_pages(store, collection, fields, filter, **options):
            yield page

    monkeypatch.setattr(Store, "read_pages", spy)
    return reads


def test_a_rebuild_reads_the_live_ledger_once_and_the_new_one_four_times_at_most(
    lite, ingest, folder, index, full_reads
):
    ingest(
        folder(**{f"n{n}.md": f"# Note {n}\n\nThe keeper of lamp {n} naps at three in the cabin.\n" for n in range(6)})
    )
    full_reads.clear()
    state, report = run_flow(roost.flows.rebuild.rebuild, RebuildRequest(index=index, chunk_size=48, max_drop=1.0))
    assert (state, report.promoted, report.quality.asked) == ("Completed", True, 6)
    assert full_reads[ledger_name(report.before, LEDGER_FORMAT)] == 1
    assert full_reads[ledger_name(report.version, LEDGER_FORMAT)] <= 4


def test_a_document_that_another_run_adds_from_another_source_before_the_promotion_is_not_lost(
    lite, ingest, folder, index, monkeypatch
):
    ingest(folder(**{"a.md": "# A\n\nThe keeper of the lamp naps at three in the cabin.\n"}))
    before = roost.flows.rebuild.judge

    async def judge_then_add(build: Build, questions: Questions | None) -> Verdict:
        verdict = await before(build, questions)
        [row] = build.live_ledger.rows.to_dicts()
        late = row | {"doc_id": "f" * 32, "source": "other", "uri": "late.md"}
        await write_rows(build.store, build.live.ledger, [late], run_id="another")
        return verdict

    monkeypatch.setattr(roost.flows.rebuild, "judge", judge_then_add)
    with pytest.raises(UsageError, match=r"1 documents that these sources do not cover, other/late\.md"):
        run_flow(roost.flows.rebuild.rebuild, RebuildRequest(index=index, chunk_size=48, max_drop=1.0))
    live, built = asyncio.run(list_versions(index)).versions
    assert (live.recipe.chunk_size, built.recipe.chunk_size, built.live) == (240, 48, False)


def test_a_snapshot_is_refreshed_by_the_changed_rows_alone_unless_rows_were_deleted(
    lite, ingest, folder, index, full_reads, monkeypatch
):
    monkeypatch.setattr(ledger_snapshot, "STAMP_MARGIN_S", 0.0)
    ingest(folder(**{f"n{n}.md": f"# Note {n}\n\nText {n}.\n" for n in range(4)}))

    async def work() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            first = await read_snapshot(store, version)
            first = LedgerSnapshot(first.rows, datetime.now(UTC) + timedelta(seconds=1))
            await asyncio.sleep(2)
            changed, added = first.rows.head(1).to_dicts()[0], first.rows.head(1).to_dicts()[0]
            new = [changed | {"reason": "changed: by another run"}, added | {"doc_id": "f" * 32, "uri": "new.md"}]
            await write_rows(store, version.ledger, new, run_id="another")
            full_reads.clear()
            second = await refresh_snapshot(store, version, first)
            assert full_reads[version.ledger] == 0
            assert _sorted(second) == _sorted(LedgerSnapshot(await read_ledger(store, version.ledger), second.began))
            await store.delete(version.ledger, ["f" * 32])
            full_reads.clear()
            third = await refresh_snapshot(store, version, second)
            assert full_reads[version.ledger] == 1
            assert "new.md" not in third.rows["uri"]

    asyncio.run(work())


def _sorted(snapshot: LedgerSnapshot) -> list[Any]:
    return snapshot.rows.select(list(ROW)).sort("doc_id").rows()
