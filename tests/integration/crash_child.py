"""A program that forks one process a job: the real orchestration of a run, to be killed wherever a test says.

Importing Prefect, Milvus and the splitters takes seconds and is done once; a fork then costs milliseconds. Nothing
of gRPC may be made before the fork. The flow's own code runs, with stand-ins for what costs time and decides nothing
here: the model (vectors come from a hash of the text), the worker processes, and, but in `command` jobs, Prefect.

A job is a line of JSON on standard input; how it ended is written to a file; see `Nursery` in crash.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import logging
import os
import pickle
import signal
import sys
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from roost.tasks.settings import set_library_defaults

set_library_defaults(quiet=True)

# Imported here so that no fork pays for it.
import fsspec.implementations.chained  # noqa: E402, F401
import grpc.experimental  # noqa: E402, F401
import milvus_lite.adapter.grpc.server  # noqa: E402
import milvus_lite.index.brute_force  # noqa: E402
import milvus_lite.index.faiss_hnsw  # noqa: E402
import milvus_lite.index.scalar  # noqa: E402
import milvus_lite.search.indexed_filter  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.substrait  # noqa: E402, F401
from prefect import Task  # noqa: E402
from pymilvus.client import async_grpc_handler, grpc_handler  # noqa: E402
from tests.integration.crash import DIMENSION, vector_of  # noqa: E402

import roost.flows.ingest  # noqa: E402
import roost.flows.running.batches  # noqa: E402
import roost.flows.running.run  # noqa: E402
import roost.tasks.milvus.store  # noqa: E402
import roost.tasks.models.embedder  # noqa: E402
import roost.tasks.steps.chunk  # noqa: E402
import roost.tasks.steps.index  # noqa: E402
import roost.tasks.steps.load  # noqa: E402
import roost.tasks.steps.plan  # noqa: E402
import roost.tasks.versions.version  # noqa: E402
from roost.cli import main as command_line  # noqa: E402
from roost.flows.parameters import IngestRequest  # noqa: E402
from roost.tasks import crash_points  # noqa: E402
from roost.tasks.errors import DocumentError, RoostError  # noqa: E402
from roost.tasks.models.model import Model, find_model, load_tokenizer  # noqa: E402
from roost.tasks.settings import Embedding, load_settings  # noqa: E402
from roost.tasks.versions import ledger  # noqa: E402
from roost.tasks.versions.version import drop_version, existing_version  # noqa: E402

#: Calls of pymilvus that change something; a run may be killed before or after each.
CHANGING = ("create_collection", "create_index", "load_collection", "create_alias", "delete", "flush")
#: The same on the async client.
WRITING = ("insert_rows", "upsert_rows")
#: Rows in one write and keys in one delete: few, so that a run makes many of both.
CALL_ROWS, DELETE_ROWS = 3, 2


class Embedder(roost.tasks.models.embedder.Embedder):
    """Makes vectors without a model, and lets other batches come between as the real one does."""

    async def load(self) -> None:
        """There is nothing to load."""

    async def passages(self, texts: list[str], tokens: list[int]) -> np.ndarray:
        await asyncio.sleep(0.001)
        self.seconds += 0.001
        return np.array([vector_of(text) for text in texts], dtype=np.float32).reshape(-1, DIMENSION)


class Workers:
    """Has the interface of `roost.tasks.workers.Workers`, and works in this process."""

    size = 1

    def __init__(self, **_: int) -> None:
        pass

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    async def run(self, function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float | None = None) -> Any:
        await asyncio.sleep(0.001)
        return function(*arguments)


@lru_cache(maxsize=2)
def _tokenizer(file: Path | str) -> Any:
    return load_tokenizer(Path(file))


def stand_in(model: Model) -> None:
    """Put the cheap model and workers into the flow."""
    roost.flows.ingest.find_model = lambda settings: model
    roost.tasks.steps.chunk.load_tokenizer = roost.tasks.steps.chunk._tokenizer = _tokenizer
    roost.flows.running.batches.Embedder = Embedder
    roost.flows.running.batches.Workers = Workers
    roost.tasks.milvus.store.CALL_ROWS, roost.tasks.milvus.store.DELETE_ROWS = CALL_ROWS, DELETE_ROWS
    # pymilvus looks every half second whether an index is there.
    grpc_handler.time = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.005)))


def without_prefect() -> None:
    """Run the steps as the functions that they are."""
    found = {name: step.fn for name, step in vars(ingest).items() if isinstance(step, Task)}
    roost.flows.ingest.steps = roost.flows.running.batches.steps = SimpleNamespace(**found)
    roost.flows.ingest.get_run_logger = roost.flows.running.batches.get_run_logger = lambda: logging.getLogger(
        "roost.crash"
    )

    async def publish(*_: object) -> None:
        pass

    roost.flows.ingest.artifacts = SimpleNamespace(publish=publish, moving=lambda _: nullcontext())
    roost.flows.ingest.events = SimpleNamespace(ingested=lambda _: None)


def count_calls(job: dict[str, Any], made: Counter[str]) -> None:
    """Count the calls that change something; tell of one of them, or die right before or after it."""

    def begins() -> int:
        made["calls"] += 1
        if made["calls"] == job.get("tell_at"):
            Path(job["told"]).touch()
        if made["calls"] == job.get("kill_before"):
            os.kill(os.getpid(), signal.SIGKILL)
        return made["calls"]

    def ends(number: int) -> None:
        if number == job.get("kill_after"):
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            number = begins()
            try:
                return call(*arguments, **options)
            finally:
                ends(number)

        return wrapped

    for name in CHANGING:
        setattr(grpc_handler.GrpcHandler, name, counted(getattr(grpc_handler.GrpcHandler, name)))

    def counted_async(call: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapped(*arguments: Any, **options: Any) -> Any:
            number = begins()
            try:
                return await call(*arguments, **options)
            finally:
                ends(number)

        return wrapped

    for name in WRITING:
        handler = async_grpc_handler.AsyncGrpcHandler
        setattr(handler, name, counted_async(getattr(handler, name)))


def die_within_lite(step: str) -> None:
    """Kill this process at a step inside Milvus Lite that no call shows."""

    def die(*arguments: Any) -> None:
        if step.endswith("index"):
            Path(arguments[1]).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    owner, name = {
        "schema": (milvus_lite.db, "save_schema"),
        "log": (milvus_lite.storage.wal.WAL, "close_and_delete"),
        "flat index": (milvus_lite.index.brute_force.BruteForceIndex, "save"),
        "hnsw index": (milvus_lite.index.faiss_hnsw.FaissHnswIndex, "save"),
        "scalar index": (milvus_lite.index.scalar.ScalarInvertedIndex, "save"),
    }[step]
    setattr(owner, name, die)


def keep_away(files: Collection[str]) -> None:
    """Have these files not be read, as when what holds them does not answer."""
    read_file, hash_file = roost.tasks.steps.load.read_file, roost.tasks.steps.plan.hash_file

    def read(location: str) -> bytes:
        if location in files:
            raise DocumentError("unreadable", "it is away")
        return read_file(location)

    roost.tasks.steps.load.read_file = read
    roost.tasks.steps.plan.hash_file = lambda location: "" if location in files else hash_file(location)


def count_passes(passed: Counter[str]) -> None:
    """Count the passes of every fault point."""
    crash_point = crash_points.crash_point

    def counted(name: str) -> None:
        passed[name] += 1
        crash_point(name)

    for module in (roost.tasks.steps.index, roost.tasks.milvus.store, roost.tasks.versions.version):
        module.crash_point = counted


def ingest(step: dict[str, Any]) -> dict[str, Any]:
    """Run the flow's function; its state, its report, or its error."""
    request = IngestRequest.model_validate(step["request"])
    run_id = str(uuid.uuid4())
    roost.flows.ingest.runtime = SimpleNamespace(flow_run=SimpleNamespace(id=run_id, name=f"crash-{run_id}"))
    try:
        state = asyncio.run(roost.flows.ingest.ingest.fn(request))
    except RoostError as error:
        return {"run_id": run_id, "state": type(error).__name__, "error": str(error)}
    return {"run_id": run_id, "state": str(state.name), "report": state.data}


def read(step: dict[str, Any]) -> dict[str, Any]:
    """Read everything that an index holds."""

    async def pages() -> dict[str, Any]:
        async with roost.tasks.milvus.store.open_store(load_settings().milvus) as store:
            version = await existing_version(store, step["index"])
            chunks = [row async for page in store.pages(version.name, ["*"]) for row in page]
            rows = [row async for page in store.pages(version.ledger, list(ledger.ROW)) for row in page]
        return {"chunks": chunks, "ledger": rows}

    try:
        return asyncio.run(pages())
    except RoostError as error:
        return {"error": str(error)}


def drop(step: dict[str, Any]) -> dict[str, Any]:
    """Drop an index with all that belongs to it."""

    async def gone() -> dict[str, Any]:
        async with roost.tasks.milvus.store.open_store(load_settings().milvus) as store:
            await drop_version(store, await existing_version(store, step["index"]))
        return {}

    return asyncio.run(gone())


def command(step: dict[str, Any]) -> dict[str, Any]:
    """Run the command line below a Prefect server; its exit code and what it printed."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    sys.argv = ["roost", *step["words"]]
    out, err = Path(step["out"]), Path(step["err"])
    with out.open("w") as o, err.open("w") as e, redirect_stdout(o), redirect_stderr(e):
        try:
            with temporary_settings({PREFECT_API_URL: step["api"]}):
                command_line.main()
        except SystemExit as end:
            code = end.code
    return {"code": code, "out": out.read_text(), "err": err.read_text()}


def execute_plan(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Do a job's steps one after another."""
    os.environ.update(job["env"])
    if not any(step["do"] == "command" for step in job["steps"]):
        without_prefect()
    made: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    count_calls(job, made)
    count_passes(passed)
    if "kill_within_lite" in job:
        die_within_lite(job["kill_within_lite"])
    keep_away(job.get("away", ()))
    kinds = {"ingest": ingest, "read": read, "drop": drop, "command": command}
    answers = []
    for step in job["steps"]:
        os.environ["ROOST_MILVUS__URI"] = step.get("uri", job["uri"])
        answers.append(kinds[step["do"]](step))
    return [*answers, {"calls": made["calls"], "passes": dict(passed)}]


def child(job: dict[str, Any]) -> None:
    """Do a job in this fresh fork and leave without any clean-up of what the parent made."""
    code = 0
    try:
        answers = execute_plan(job)
        Path(job["answer"]).write_bytes(pickle.dumps(answers))
    except BaseException:  # noqa: BLE001  whatever it was, the test must see it
        code = 70
        Path(job["answer"]).write_text(traceback.format_exc())
    os._exit(code)


def guard(job: dict[str, Any]) -> None:
    """Have a child do the job, kill it when its time has come, and write down how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (pid := os.fork()):
        child(job)
    if "kill_seconds" in job:
        time.sleep(job["kill_seconds"])
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ended = Path(job["ended"])
    ended.with_suffix(".part").write_text(str(code))
    ended.with_suffix(".part").rename(ended)
    os._exit(0)


def main() -> None:
    """Serve jobs until standard input ends."""
    model = dataclasses.replace(find_model(Embedding()), dimension=DIMENSION)
    chunking = load_settings().chunking
    stand_in(model)
    roost.tasks.steps.chunk.check_window(chunking, model)
    roost.tasks.steps.chunk._splitter(chunking.size, chunking.overlap, str(model.tokenizer_file)).split_text(
        "Warm up. " * 50
    )
    roost.tasks.steps.chunk._sections("# Warm\n\nup")
    gc.freeze()  # what is here already is looked at no more, and so is not copied for each fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guards
    print("ready", flush=True)
    for line in sys.stdin:
        if not os.fork():
            guard(json.loads(line))


if __name__ == "__main__":
    main()
