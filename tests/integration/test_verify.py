"""`verify` finds what was done behind Roost's back, and mends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from pymilvus import MilvusClient

from flows.parameters import VerifyRequest
from flows.running import run_flow

TEXT = "# Ferry\n\nThe ferry leaves at noon.\n\n## Fares\n\nA child pays four crowns.\n\n## Dogs\n\nDogs ride free.\n"


@pytest.fixture
def verified(prefect_api: str, index: str) -> Callable[..., tuple[str, dict[str, Any]]]:
    """Run the flow `verify` on this test's index: (state name, report)."""
    return lambda **choices: run_flow("verify", VerifyRequest(index=index, **choices))


def test_a_fresh_index_is_in_step(milvus, ingest, folder, verified):
    ingest(folder(**{"a.md": TEXT, "b.txt": "Bees."}))
    state, report = verified()
    assert state == "Completed"
    assert report["ok"]
    assert (report["documents"], report["chunks"]) == (2, 4)
    assert sum(report[name] for name in ("missing", "orphaned", "duplicated", "mismatched", "repaired")) == 0


def test_rows_deleted_behind_our_back_are_found_and_mended_by_repair_and_a_run(
    milvus, ingest, folder, stored, verified
):
    source = folder(**{"a.md": TEXT, "b.txt": "Bees."})
    ingest(source)
    before, _, _ = stored()
    gone = before["id"].to_list()[1]
    with closing(MilvusClient(milvus)) as client:
        client.delete(_version(client), ids=[gone])
    state, report = verified()
    assert (state, report["missing"], report["ok"]) == ("OutOfStep", 1, False)
    _, report = verified(repair=True)
    assert len(report["to_redo"]) == 1
    ingest(source)
    state, report = verified()
    assert (state, report["ok"]) == ("Completed", True)
    assert stored()[0]["text"].to_list() == before["text"].to_list()


def test_orphaned_rows_are_deleted_by_repair_and_rows_of_frameworks_are_left(milvus, ingest, folder, stored, verified):
    ingest(folder(**{"a.md": TEXT}))
    row = {"vector": [0.1] * 384, "text": "stray", "doc_id": "f" * 32, "chunk_hash": "x"}
    with closing(MilvusClient(milvus)) as client:
        orphan = {"id": f"{'f' * 32}-000000", **row}
        foreign = {"id": "from-langchain", "vector": [0.2] * 384, "text": "theirs"}
        client.upsert(_version(client), [orphan])
        client.upsert(_version(client), [foreign])
    state, report = verified()
    assert (state, report["orphaned"], report["foreign"]) == ("OutOfStep", 1, 1)
    state, report = verified(repair=True)
    assert (state, report["repaired"], report["ok"]) == ("Completed", 1, True)
    assert "theirs" in stored()[0]["text"].to_list()
    assert "stray" not in stored()[0]["text"].to_list()


def test_a_text_that_was_tampered_with_is_written_again(lite, ingest, folder, stored, verified):
    source = folder(**{"a.md": TEXT})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        name = _version(client)
        client.load_collection(name)
        [row] = client.query(name, 'text like "%Fares%"', output_fields=["*"])
        client.upsert(name, [row | {"text": "A child pays nothing."}])
        _release(lite)
    state, report = verified(repair=True)
    assert (state, report["mismatched"]) == ("OutOfStep", 1)
    ingest(source)
    assert verified()[1]["ok"]
    assert any("four crowns" in text for text in stored()[0]["text"])


def test_a_run_that_ends_with_other_counts_than_its_ledger_fails_and_says_so(lite, ingest, folder):
    from tasks.errors import StepError

    source = folder(**{"a.md": TEXT, "b.txt": "Bees."})
    ingest(source)
    with closing(MilvusClient(lite)) as client:
        name = _version(client)
        client.delete(name, filter='text == "Bees."')
        _release(lite)
    with pytest.raises(StepError, match=r"holds 3 chunks, its ledger counts 4.*roost verify --repair"):
        ingest(source)


def _version(client: MilvusClient) -> str:
    """The version collection of the index under test: the newest one on this server."""
    names = [name for name in client.list_collections() if "__" in name and not name.endswith("__ledger")]
    return max(names, key=lambda name: client.describe_collection(name).get("created_timestamp", 0))


def _release(path: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(path)
