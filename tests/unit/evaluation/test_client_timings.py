"""Timings: what is dropped afterwards, what is compared, and how the clients are connected."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from roost.tasks.evaluation import client_timings, clients, scratch
from roost.tasks.evaluation.client_timings import Measured
from roost.tasks.evaluation.timing_cells import Cell
from roost.tasks.settings import Milvus


@pytest.mark.parametrize(
    "name",
    [
        "roost_scratch",
        "roost_scratch_a",
        "roost_scratch_2024",
        "roost_scratch_notes__0a1b2c3d",
        "roost_scratch_",
        "roost_scratch_0a1b2c3d",
        "roost_scratch_0a1b2c3d_0a1b2c3d_1_mine",
        "my_roost_scratch_0a1b2c3d_0a1b2c3d_1",
    ],
)
def test_what_people_call_alike_is_not_dropped(name):
    assert not scratch.is_forgotten(name)


def test_what_a_run_left_a_day_ago_is_forgotten_and_what_one_makes_now_is_not():
    now = int(time.time())
    assert scratch.is_forgotten(f"roost_scratch_{now - 90_000:x}_0a1b2c3d_12")
    assert not scratch.is_forgotten(f"roost_scratch_{now:x}_0a1b2c3d_12")


def test_a_cell_with_failures_claims_no_speedup():
    sound, failed = Measured(2.0, [1.0], ["a"], 0), Measured(1.0, [], [None], 1)
    cell = Cell("pymilvus", "delete", 1)
    assert client_timings._frame(cell, {"sync": sound, "async": sound}, same=True)["speedup"].to_list() == [None, 1.0]
    assert client_timings._frame(cell, {"sync": sound, "async": failed}, same=True)["speedup"].to_list() == [None, None]
    assert client_timings._frame(cell, {"sync": failed, "async": sound}, same=True)["speedup"].to_list() == [None, None]


def test_both_frameworks_are_told_database_time_limit_and_certificate(monkeypatch):
    import llama_index.vector_stores.milvus

    import roost.tasks.search.langchain_bridge

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(llama_index.vector_stores.milvus, "MilvusVectorStore", lambda **fields: told.append(fields))
    monkeypatch.setattr(
        roost.tasks.search.langchain_bridge, "BridgedMilvus", lambda _, **fields: told.append(fields["connection_args"])
    )
    settings = Milvus(uri="https://host:19530", token="some:token", database="mine", timeout=7, ca_file=Path("ca.pem"))
    clients.LlamaIndex(settings, "name", 3)
    clients.LangChain(settings, "name", 3)
    wanted = {
        "uri": "https://host:19530",
        "token": "some:token",
        "db_name": "mine",
        "timeout": 7,
        "secure": True,
        "server_pem_path": "ca.pem",
    }
    assert len(told) == 3
    assert all(fields | wanted == fields for fields in told)
