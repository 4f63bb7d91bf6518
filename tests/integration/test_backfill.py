"""The flow `backfill` beside `ingest`, on Milvus Lite and the real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roost.flows.running import events
from roost.tasks.errors import ConflictError, RoostError, UsageError
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import Chosen
from roost.tasks.versions import lease
from roost.tasks.versions.live_version import require_live_version

Backfill = Callable[..., tuple[str, Any]]
#: Documents that are a batch each, one after the other.
ONE_BY_ONE = {"ROOST_INGEST__BATCH_BYTES": "1024", "ROOST_INGEST__BATCHES_IN_FLIGHT": "1"}
FOUR = {f"{name}.txt": f"{name} is told at length. " * 60 for name in ("ada", "bea", "cai", "dov")}


@pytest.fixture
def backfill(prefect_api: str, index: str) -> Backfill:
    """Run the flow `backfill` on this test's index: (state name, report)."""
    from roost.flows.backfill import backfill as backfill_flow
    from roost.flows.parameters import BackfillRequest
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.source import Source

    def run(*places: str | Path, **choices: Any) -> tuple[str, Any]:
        sources = [Source(uri=str(place)) for place in places]
        return run_flow(backfill_flow, BackfillRequest(sources=sources, index=index, **choices))

    return run


@pytest.mark.usually("lite")
def test_a_backfill_does_what_it_chooses_touches_nothing_else_and_deletes_nothing(
    milvus, ingest, backfill, folder, stored
):
    source = folder(**{"a.md": "# A\n\nAnts.", "b.md": "# B\n\nBees.", "c.md": "# C\n\nCats.", "d.pdf": b"%PDF no"})
    ingest(source)
    before = stored()[2]
    (source / "a.md").unlink()
    for name in ("b.md", "c.md"):
        (source / name).write_text(f"# {name}\n\nBirds of {name}.")
    os.utime(source / "b.md", (1, 1))
    state, report = backfill(source, until=datetime(2000, 1, 1, tzinfo=UTC))
    assert (state, report.documents.changed, report.chosen.chosen) == ("Completed", 1, 1)
    chunks, _, after = stored()
    assert "Ants." in "".join(chunks["text"])
    assert "Birds of b.md." in "".join(chunks["text"])
    assert "Birds of c.md." not in "".join(chunks["text"])
    others = pl.col("uri") != "b.md"
    assert after.filter(others).equals(before.filter(others))
    (source / "d.pdf").write_bytes(b"%PDF still no")
    state, report = backfill(source, only_failed=True, uris=["docs/d.pdf", "nowhere.md"])
    assert state == "Partial"
    assert report.chosen == Chosen(listed=1, chosen=1, undated=0, unknown=("nowhere.md",), resumed=False)
    assert stored()[2].filter(uri="d.pdf")["attempts"].to_list() == [1]  # its content is another


def test_a_broken_table_is_no_matter_of_a_backfill_of_other_documents_and_a_glob_without_match_is_refused(
    lite, ingest, backfill, folder
):
    source = folder(**{"a.md": "# A\n\nAnts.", "bad.jsonl": "{no json"})
    assert ingest(source)[0] == "Partial"
    state, report = backfill(source, only=["*.md"])
    assert (state, report.unlisted) == ("Completed", ())
    state, report = backfill(source)
    assert (state, report.unlisted) == ("Partial", ("docs/bad.jsonl#",))
    with pytest.raises(UsageError, match=r"--only b\*\.md matches none of the 2 documents"):
        backfill(source, only=["b*.md"])


def test_force_embeds_unchanged_documents_without_their_stored_vectors_and_makes_the_same(
    lite, ingest, backfill, folder, stored
):
    source = folder(**{"t.csv": "id,body\n1,Some text that is long enough\n2,Another text as long\n", **FOUR})
    ingest(source)
    before, vectors, ledger = stored()
    _, planned = backfill(source, only=["t.csv"], force=True, dry_run=True)
    assert (planned.dry_run, planned.documents.forced, planned.estimate.chunks) == (True, 2, 2)
    assert stored()[2].equals(ledger)
    _, report = backfill(source, only=["t.csv"], force=True)
    assert (report.documents.forced, report.chunks.embedded, report.chunks.reused) == (2, 2, 0)
    after, same, _ = stored()
    assert after.equals(before)
    assert (same == vectors).all()
    _, again = backfill(source, only=["t.csv"], force=True)
    assert (again.documents.forced, again.chosen.resumed) == (2, False)  # that one had ended


def test_a_forced_backfill_that_was_cut_off_goes_on_where_it_was_unless_it_is_to_restart(
    lite, ingest, backfill, folder, stored, monkeypatch
):
    for name, value in ONE_BY_ONE.items():
        monkeypatch.setenv(name, value)
    source = folder(**FOUR)
    whole = ingest(source)[1].chunks.embedded
    _cut_off(monkeypatch, backfill, source, after=3)
    _, report = backfill(source, force=True)
    assert report.chosen.resumed
    assert (report.documents.forced, report.documents.unchanged) == (1, 3)
    assert report.chunks.embedded == whole / 4
    assert stored()[2]["run_id"].n_unique() == 1
    _cut_off(monkeypatch, backfill, source, after=2)
    _, other = backfill(source, force=True, only=["a*"])
    assert (other.chosen.resumed, other.documents.forced) == (False, 1)  # another request
    _, report = backfill(source, force=True, restart=True)
    assert (report.chosen.resumed, report.documents.forced) == (False, 4)


def test_a_backfill_tells_automations_which_documents_it_could_not_index(lite, backfill, folder, index, monkeypatch):
    told = []
    monkeypatch.setattr(events, "emit_event", lambda event, resource, payload: told.append((event, payload)))
    state, _ = backfill(folder(**{"a.md": "# A\n\nAnts.", "bad.pdf": b"%PDF-1.7 cut"}))
    assert state == "Partial"
    [(event, payload)] = told
    assert (event, payload["index"]) == ("roost.documents.quarantined", index)
    assert payload["summary"] == f"1 documents of {index} are quarantined: bad.pdf"


def test_a_backfill_does_not_write_beside_another_run(standalone, monkeypatch, ingest, folder, index):
    from roost.flows.backfill import backfill
    from roost.flows.parameters import BackfillRequest
    from roost.tasks.sources.source import Source

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setattr(lease, "GRACE_S", 0.0)
    source = folder(**{"a.md": "# A\n\nAnts."})
    ingest(source)
    request = BackfillRequest(sources=[Source(uri=str(source))], index=index, force=True, on_conflict="refuse")

    async def meet() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            async with lease.acquire_lease(store, version, LeaseOwner("run 'nightly'")):
                with pytest.raises(ConflictError, match="being written by run 'nightly'"):
                    await backfill(request)

    asyncio.run(meet())


def _cut_off(monkeypatch: pytest.MonkeyPatch, backfill: Backfill, source: Path, *, after: int) -> None:
    """Run a forced backfill whose model fails when it has embedded some batches."""
    embed_chunks, made = Embedder.embed_chunks, []

    async def fails(self: Embedder, *arguments: Any) -> Any:
        if len(made) == after:
            raise RuntimeError("out of memory")
        made.append(1)
        return await embed_chunks(self, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(Embedder, "embed_chunks", fails)
        with pytest.raises(RoostError, match="out of memory"):
            backfill(source, force=True)
