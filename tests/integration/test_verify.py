"""`verify` finds what was done behind Roost's back, and mends it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest
from pymilvus import MilvusClient

import roost.tasks.versions.verification
from roost.cli.main import run
from roost.flows.parameters import VerifyRequest
from roost.flows.running.run import run_flow
from roost.flows.verify import verify as verify_flow
from roost.tasks.errors import InconsistentIndexError, LeaseLostError, UsageError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions import ledger
from roost.tasks.versions.lease import Lease
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.verification import compare_with_ledger
from roost.tasks.versions.verify_report import DocumentName, VerifyReport

TEXT = "# Ferry\n\nThe ferry leaves at noon.\n\n## Fares\n\nA child pays four crowns.\n\n## Dogs\n\nDogs ride free.\n"


@pytest.fixture
def verified(prefect_api: str, index: str) -> Callable[..., tuple[str, VerifyReport]]:
    """Run the flow `verify` on this test's index: (state name, report)."""
    return lambda **choices: run_flow(verify_flow, VerifyRequest(index=index, **choices))


@pytest.mark.usually("lite")
def test_a_fresh_index_is_in_step(milvus, ingest, folder, verified):
    ingest(folder(**{"a.md": TEXT, "b.txt": "Bees."}))
    state, report = verified()
    assert state == "Completed"
    assert report.ok
    assert (report.documents, report.chunks) == (2, 4)
    assert sum(getattr(report, name) for name in ("missing", "orphaned", "duplicated", "mismatched", "repaired")) == 0
    assert report.to_redo == report.next_steps == ()


@pytest.mark.usually("standalone")
def test_rows_deleted_behind_our_back_are_found_and_mended_by_repair_and_a_run(
    milvus, ingest, folder, stored, verified, index
):
    source = folder(**{"a.md": TEXT, "b.txt": "Bees."})
    ingest(source)
    before, _, _ = stored()
    gone = before["id"].to_list()[1]
    with closing(MilvusClient(milvus)) as client:
        client.delete(_version(client, index), ids=[gone])
    state, report = verified()
    assert (state, report.missing, report.ok) == ("OutOfStep", 1, False)
    assert report.next_steps[0].startswith("roost verify --repair --index ")
    state, report = verified(repair=True)
    assert (state, report.missing, report.deleted, report.marked) == ("OutOfStep", 1, 0, 1)
    assert report.to_redo == (DocumentName("docs", "a.md"),)
    assert report.next_steps[0].startswith(f"ingest source 'docs' ({source}) again")
    ingest(source)
    state, report = verified()
    assert (state, report.ok) == ("Completed", True)
    assert stored()[0]["text"].to_list() == before["text"].to_list()


@pytest.mark.usually("standalone")
def test_orphaned_rows_are_deleted_page_by_page_and_rows_of_frameworks_are_left(
    milvus, ingest, folder, stored, verified, monkeypatch, index
):
    monkeypatch.setattr(roost.tasks.versions.verification, "TEXT_PAGE_ROWS", 3)
    ingest(folder(**{"a.md": TEXT}))
    row = {"vector": [0.1] * 384, "text": "stray", "chunk_hash": "x"}
    with closing(MilvusClient(milvus)) as client:
        orphans = [{"id": f"{n:032x}-000000", "doc_id": f"{n:032x}", **row} for n in range(10)]
        foreign = {"id": "from-langchain", "vector": [0.2] * 384, "text": "theirs"}
        client.upsert(_version(client, index), orphans)
        client.upsert(_version(client, index), [foreign])
    state, report = verified()
    assert (state, report.orphaned, report.foreign) == ("OutOfStep", 10, 1)
    state, report = verified(repair=True, max_delete_fraction=1.0)
    assert (state, report.deleted, report.repaired, report.ok) == ("Completed", 10, 10, True)
    assert "theirs" in stored()[0]["text"].to_list()
    assert "stray" not in stored()[0]["text"].to_list()


def test_a_text_that_was_tampered_with_is_written_again(lite, ingest, folder, stored, verified, index):
    source = folder(**{"a.md": TEXT})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        name = _version(client, index)
        client.load_collection(name)
        [row] = client.query(name, 'text like "%Fares%"', output_fields=["*"])
        client.upsert(name, [row | {"text": "A child pays nothing."}])
        _release(lite)
    state, report = verified(repair=True)
    assert (state, report.mismatched, report.deleted, report.marked) == ("OutOfStep", 1, 1, 1)
    ingest(source)
    assert verified()[1].ok
    assert any("four crowns" in text for text in stored()[0]["text"])


def test_rows_of_one_id_are_found_though_no_query_shows_them_and_are_mended_by_repair_and_a_run(
    standalone, monkeypatch, ingest, folder, stored, verified, index
):
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    source = folder(**{"a.md": TEXT, "b.txt": "Bees.", "c.txt": "Cats."})
    ingest(source)
    before, vectors, _ = stored()
    with closing(MilvusClient(standalone)) as client:
        name = _version(client, index)
        [row] = client.query(name, 'text == "Bees."', output_fields=["*"])
        client.insert(name, [row | {"vector": [0.1] * 384}] * 2)
    with pytest.raises(InconsistentIndexError, match=r"contains 7 chunks, its ledger counts 5: .*--repair"):
        ingest(source)
    state, report = verified()
    assert (state, report.chunks, report.duplicated) == ("OutOfStep", 7, 2)
    assert report.to_redo == (DocumentName("docs", "b.txt"),)
    state, report = verified(repair=True)
    assert (state, report.duplicated, report.deleted, report.marked) == ("OutOfStep", 2, 1, 1)
    assert ingest(source)[1].chunks.written == 1
    assert verified()[0] == "Completed"
    after, again, _ = stored()
    assert after.equals(before)
    assert np.allclose(again, vectors, atol=1e-6)


def test_a_document_that_no_run_lists_is_named_with_what_to_do_until_that_is_done(
    lite, ingest, folder, stored, verified, index
):
    source = folder(**{"a.md": TEXT, "b.txt": "Bees."})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        client.delete(_version(client, index), filter='text == "Bees."')
        _release(lite)
    verified(repair=True)
    ingest(source / "*.md")
    state, report = verified(repair=True)
    assert (state, report.unfinished, report.repaired) == ("OutOfStep", 1, 0)
    assert report.to_redo == (DocumentName("docs", "b.txt"),)
    assert "without narrower globs" in report.next_steps[0]
    assert report.next_steps[0].endswith(f"roost forget docs --index {index}")
    assert run(["forget", "docs", "--index", index, "--yes"]) == 0
    assert (verified()[0], stored()[2].height) == ("Completed", 0)


def test_a_repair_that_would_delete_most_of_an_index_is_refused_and_changes_nothing(
    lite, ingest, folder, stored, verified, index, capsys
):
    ingest(folder(**{f"{n}.md": f"Note {n}." for n in range(8)}))
    lost = [row["doc_id"] for row in stored()[2].to_dicts()][1:]

    async def lose() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            await store.delete(version.ledger, lost)

    asyncio.run(lose())
    says = "that would delete 7 rows of 7 of its 8 documents, 30% may go.*--max-delete-fraction 0.88"
    with pytest.raises(UsageError, match=says):
        verified(repair=True)
    assert stored()[0].height == 8
    assert run(["verify", "--index", index, "--repair", "--max-delete-fraction", "0.9"]) == 0
    assert "deleting 7 rows of 7 of 8 documents" in capsys.readouterr().err
    assert stored()[0].height == 1


def test_a_repair_whose_lease_ran_out_deletes_nothing(lite, ingest, folder, stored, index):
    ingest(folder(**{"a.md": TEXT}))
    lease = Lease("", "docs", "run 'late'", renewed=float("-inf"))

    async def mend() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            await store.delete(version.ledger, (await ledger.read_ledger(store, version.ledger))["doc_id"].to_list())
            await compare_with_ledger(store.guarded(lease.check, lease.key), version, repairing=True)

    with pytest.raises(LeaseLostError, match="run 'late' lost the writer lease on index"):
        asyncio.run(mend())
    assert stored()[0].height == 3


def test_the_command_ends_with_1_while_something_is_off_and_says_what_it_did_and_what_is_left(
    lite, ingest, folder, index, capsys
):
    source = folder(**{"a.md": TEXT})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        client.delete(_version(client, index), filter='text like "%Fares%"')
        _release(lite)
    assert run(["verify", "--index", index, "--repair"]) == 1
    shown = capsys.readouterr().out
    assert "to be re-indexed: docs/a.md" in shown
    assert "missing chunks: 1; repaired: 0 rows deleted, 1 documents marked: the next ingest re-indexes them" in shown
    assert f"ingest source 'docs' ({source}) again" in shown
    ingest(source)
    assert run(["verify", "--index", index]) == 0
    assert "3 chunks; store and ledger agree" in capsys.readouterr().out


def test_a_run_that_ends_with_other_counts_than_its_ledger_fails_and_says_so(lite, ingest, folder, index):
    source = folder(**{"a.md": TEXT, "b.txt": "Bees."})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        name = _version(client, index)
        client.delete(name, filter='text == "Bees."')
        _release(lite)
    with pytest.raises(InconsistentIndexError, match=r"contains 3 chunks, its ledger counts 4.*roost verify --repair"):
        ingest(source)


def _version(client: MilvusClient, index: str) -> str:
    """The version collection of the index under test; others are on this server too."""
    [name] = [name for name in client.list_collections() if re.fullmatch(rf"{index}__[0-9a-f]+", name)]
    return name


def _release(path: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(path)
