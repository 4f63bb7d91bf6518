"""`import roost`: what it offers, what it imports, and what it refuses in a running loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

import roost
from roost.api import IngestKeywords, SearchKeywords
from roost.flows.parameters import IngestRequest

HEAVY = ("pymilvus", "prefect", "polars", "numpy", "pydantic", "llama_index", "langchain_core", "torch", "anyio")


def test_importing_roost_imports_nothing_heavy_and_takes_milliseconds() -> None:
    code = (
        "import json, sys, time; started = time.perf_counter(); import roost; dir(roost); "
        "print(json.dumps([1000 * (time.perf_counter() - started), sorted(sys.modules)]))"
    )
    times = []
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        milliseconds, modules = json.loads(ended.stdout)
        times.append(milliseconds)
        assert not [name for name in modules if name.split(".")[0] in HEAVY]
    assert min(times) < 50


def test_every_public_name_exists_and_is_listed() -> None:
    for name in roost.__all__:
        assert getattr(roost, name) is not None
        assert name in dir(roost)
    assert {
        "open_index",
        "open_retriever",
        "ingest",
        "search",
        "Hit",
        "IngestReport",
        "RoostError",
        "__version__",
    } <= set(roost.__all__)
    assert roost.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        roost.nothing  # noqa: B018


def test_the_keywords_are_those_of_the_request_and_of_the_options() -> None:
    assert {"sources", "index", "dry_run", *IngestKeywords.__annotations__} == set(IngestRequest.model_fields)
    assert set(SearchKeywords.__annotations__) == set(roost.SearchOptions.__dataclass_fields__)


async def test_sync_functions_are_refused_in_a_running_loop_with_the_name_of_the_async_form() -> None:
    with pytest.raises(roost.UsageError, match=r"search\(\) would block the running event loop: write await asearch"):
        roost.search("a question")
    with pytest.raises(roost.UsageError, match=r"await aingest\("):
        roost.ingest("./docs")
    with pytest.raises(roost.UsageError, match=r"async with aopen_index\("), roost.open_index("docs"):
        pass
    with pytest.raises(roost.UsageError, match=r"async with aopen_retriever\("):  # noqa: SIM117
        with roost.open_retriever("docs", "langchain"):
            pass


@pytest.mark.parametrize("chosen", ["", "DEBUG"])
def test_grpc_prints_nothing_into_scripts_unless_the_user_wants_it(chosen: str) -> None:
    """gRPC reads the variable when it is imported, which the package has not done by then."""
    program = "import os, sys, roost; print(os.environ['GRPC_VERBOSITY'], 'grpc' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    env |= {"GRPC_VERBOSITY": chosen} if chosen else {}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [chosen or "NONE", "False"]


def test_an_empty_query_and_a_count_of_zero_are_refused() -> None:
    started = time.perf_counter()
    with pytest.raises(roost.UsageError, match="the query is empty"):
        roost.search("  ")
    with pytest.raises(roost.UsageError, match="k=0"):
        roost.search("a question", k=0)
    assert time.perf_counter() - started < 5


def test_a_source_or_option_that_is_none_is_one_line() -> None:
    with pytest.raises(roost.UsageError, match=r"max_delete_fraction: .*less than or equal to 1"):
        roost.ingest("./docs", max_delete_fraction=2.0)
