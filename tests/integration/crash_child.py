"""A program that forks one process for each job: the real orchestration of a run, killed wherever a test asks for it.

Importing Prefect, Milvus and the splitters takes seconds and is done once; a fork then costs milliseconds. Nothing
of gRPC may be made before the fork. The flow's own code runs, with stand-ins for what costs time and decides nothing
here: the model (vectors come from a hash of the text), the worker processes, and, except in `command` jobs, Prefect.

A stand-in goes wherever a module of Roost has the original (`replace`), so code may move between modules; a name
that is gone fails at the start.

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
import resource
import signal
import sys
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
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
import polars as pl  # noqa: E402
import prefect.events  # noqa: E402
import prefect.runtime  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.substrait  # noqa: E402, F401
from pymilvus.client import grpc_handler  # noqa: E402
from tests.drop import drop_version  # noqa: E402
from tests.integration.crash import DIMENSION, vector_of  # noqa: E402
from tests.stand_ins import InProcessWorkers  # noqa: E402

import roost.flows.ingest  # noqa: E402
from roost.cli import main as command_line  # noqa: E402
from roost.flows.parameters import IngestRequest  # noqa: E402
from roost.flows.running import prefect_api  # noqa: E402
from roost.tasks import crash_points, workers  # noqa: E402
from roost.tasks.errors import DocumentError, RoostError  # noqa: E402
from roost.tasks.ids import hash_file  # noqa: E402
from roost.tasks.milvus.store import open_store  # noqa: E402
from roost.tasks.models import embedder  # noqa: E402
from roost.tasks.models.endpoint_client import EndpointClient  # noqa: E402
from roost.tasks.models.engine import Vectors  # noqa: E402
from roost.tasks.models.model import Model, find_model  # noqa: E402
from roost.tasks.records import TEXT_BLOCK  # noqa: E402
from roost.tasks.settings import Embedding, load_settings  # noqa: E402
from roost.tasks.steps import chunk, cut  # noqa: E402
from roost.tasks.steps.load_file import read_file  # noqa: E402
from roost.tasks.versions import ledger  # noqa: E402
from roost.tasks.versions.live_version import require_live_version  # noqa: E402

#: Calls of pymilvus that change something; a run may be killed before or after each.
CHANGING = (
    "create_collection", "create_index", "load_collection", "create_alias", "insert_rows", "upsert_rows", "delete",
    "flush",
)  # fmt: skip
#: Rows in one write and keys in one delete: few, so that a run makes many of both.
MAX_WRITE_ROWS, MAX_DELETE_KEYS = 3, 2


def modules() -> list[ModuleType]:
    """Every module of Roost that is imported."""
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "roost"]


def names_of(original: object) -> Iterator[tuple[ModuleType, str]]:
    """Where modules of Roost have this object, and under which name."""
    for module in modules():
        yield from ((module, name) for name, value in list(vars(module).items()) if value is original)


def replace(original: object, stand_in: object) -> None:
    """Put a stand-in wherever a module of Roost has the original.

    Raises:
        LookupError: No module has it: the code has changed, and the stand-in with it must.
    """
    found = list(names_of(original))
    if not found:
        raise LookupError(f"no module of Roost has {original!r}: nothing to replace")
    for module, name in found:
        setattr(module, name, stand_in)


def set_constant(name: str, value: int) -> None:
    """Set a constant in the module that defines it and in those that import it.

    Raises:
        LookupError: No module has it.
    """
    found = [module for module in modules() if name in vars(module)]
    if not found:
        raise LookupError(f"no module of Roost has a constant {name}")
    for module in found:
        setattr(module, name, value)


def check_interface(stand_in: type, original: type) -> None:
    """Refuse a stand-in with a public method that the original has not, or has no more."""
    public = {name for name in vars(stand_in) if not name.startswith("_") and callable(getattr(stand_in, name))}
    if missing := sorted(name for name in public if not hasattr(original, name)):
        raise LookupError(f"{original.__module__}.{original.__name__} has no {missing}: the stand-in must change too")


class Embedder(embedder.Embedder):
    """Makes vectors without a model, and lets other batches run in between as the real one does."""

    seconds = 0.0

    async def load(self) -> None:
        """Do nothing if there is no model."""
        if self.model.endpoint:
            await super().load()

    async def embed_chunks(self, texts: list[str], tokens: list[int]) -> Vectors:
        if self.model.endpoint:
            return await super().embed_chunks(texts, tokens)
        await asyncio.sleep(0.001)
        self.seconds += 0.001
        return Vectors(np.array([vector_of(text) for text in texts], dtype=np.float32).reshape(-1, DIMENSION))


check_interface(Embedder, embedder.Embedder)
check_interface(InProcessWorkers, workers.Workers)


def put_stand_ins(model: Model) -> None:
    """Put the cheap model and workers into the flow."""
    replace(find_model, lambda settings: model)
    replace(embedder.Embedder, Embedder)
    replace(workers.Workers, InProcessWorkers)
    set_constant("MAX_WRITE_ROWS", MAX_WRITE_ROWS)
    set_constant("MAX_DELETE_KEYS", MAX_DELETE_KEYS)
    # pymilvus asks every half second whether an index is there.
    grpc_handler.time = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.005)))


def without_prefect() -> None:
    """Run the tasks as the functions that they are; show and send nothing."""
    tasks = [(module, name) for module in modules() for name, value in vars(module).items() if is_task(value)]
    if not tasks:
        raise LookupError("no module of Roost has a Prefect task")
    for module, name in tasks:
        setattr(module, name, getattr(module, name).fn)

    async def show_nothing(*_: object, **__: object) -> None:
        pass

    async def call_nothing(*_: object, **__: object) -> bool:
        return True

    replace(prefect_api.record, show_nothing)
    replace(prefect_api.call_prefect, call_nothing)
    replace(prefect.events.emit_event, lambda *_, **__: None)
    replace(prefect.get_run_logger, lambda: logging.getLogger("roost.crash"))


def is_task(value: object) -> bool:
    return isinstance(value, prefect.Task)


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


def count_requests(job: dict[str, Any]) -> None:
    """Die before a request to an embedding endpoint is sent, or once it is answered."""
    send = EndpointClient._send
    made = [0]

    async def counted(self: EndpointClient, texts: list[str]) -> Any:
        made[0] += 1
        number = made[0]
        if number == job.get("kill_before_request"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(self, texts)
        if number == job.get("kill_after_request"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    EndpointClient._send = counted  # type: ignore[method-assign]


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
    """Make these files unreadable, as when the storage does not answer."""
    original_read, original_hash = read_file, hash_file

    def read(location: str) -> bytes:
        if location in files:
            raise DocumentError("unreadable", "it is away")
        return original_read(location)

    replace(original_read, read)
    replace(original_hash, lambda location: "" if location in files else original_hash(location))


def limit(job: dict[str, Any]) -> None:
    """Let writes to files fail above a size (EFBIG), and memory end, as a job asks for."""
    if size := job.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    if more := job.get("memory_bytes"):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))


def is_starved() -> bool:
    """Whether this process has a limit of memory: then any exception may come from anywhere."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def lift_limits() -> None:
    """Set no limit any more."""
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def count_passes(passed: Counter[str]) -> None:
    """Count the passes of every crash point."""
    crash_point = crash_points.crash_point

    def counted(name: str) -> None:
        passed[name] += 1
        crash_point(name)

    replace(crash_point, counted)


#: What modules of Roost have for Prefect's facts about the run: the last of these.
RUNTIME: list[object] = [prefect.runtime]


def ingest(step: dict[str, Any]) -> dict[str, Any]:
    """Run the flow's function; its state, its report, or its error."""
    request = IngestRequest.model_validate(step["request"])
    run_id = str(uuid.uuid4())
    flow_run = SimpleNamespace(id=run_id, name=f"crash-{run_id}")
    replace(RUNTIME[-1], runtime := SimpleNamespace(flow_run=flow_run, task_run=SimpleNamespace(run_count=1)))
    RUNTIME.append(runtime)
    try:
        state = asyncio.run(roost.flows.ingest.ingest.fn(request))
    except Exception as error:
        if not isinstance(error, RoostError) and not is_starved():
            raise
        return {"run_id": run_id, "state": type(error).__name__, "error": str(error)}
    return {"run_id": run_id, "state": state.data.outcome, "report": state.data}


def read(step: dict[str, Any]) -> dict[str, Any]:
    """Read everything that an index holds."""

    async def pages() -> dict[str, Any]:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, step["index"])
            chunks = [row async for page in store.read_pages(version.name, ["*"]) for row in page]
            rows = [row async for page in store.read_pages(version.ledger, list(ledger.ROW)) for row in page]
        return {"chunks": chunks, "ledger": rows}

    try:
        return asyncio.run(pages())
    except RoostError as error:
        return {"error": str(error)}


def drop(step: dict[str, Any]) -> dict[str, Any]:
    """Drop an index with all that belongs to it."""

    async def gone() -> dict[str, Any]:
        async with open_store(load_settings().milvus) as store:
            await drop_version(store, await require_live_version(store, step["index"]))
        return {}

    return asyncio.run(gone())


def command(step: dict[str, Any]) -> dict[str, Any]:
    """Run the command line below a Prefect server; its exit code and what it printed."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    sys.argv = ["roost", *step["words"]]
    command_line.leave = sys.exit  # it would end the process
    out, err = Path(step["out"]), Path(step["err"])
    with out.open("w") as o, err.open("w") as e, redirect_stdout(o), redirect_stderr(e):
        try:
            with temporary_settings({PREFECT_API_URL: step["api"]}):
                command_line.main()
        except SystemExit as end:
            code = end.code
    return {"code": code, "out": out.read_text(), "err": err.read_text()}


def do_steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Do a job's steps one after another."""
    os.environ.update(job["env"])
    if not any(step["do"] == "command" for step in job["steps"]):
        without_prefect()
    made: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    count_calls(job, made)
    count_passes(passed)
    count_requests(job)
    if "kill_within_lite" in job:
        die_within_lite(job["kill_within_lite"])
    keep_away(job.get("away", ()))
    kinds = {"ingest": ingest, "read": read, "drop": drop, "command": command}
    answers = []
    limit(job)
    try:
        for step in job["steps"]:
            os.environ["ROOST_MILVUS__URI"] = step.get("uri", job["uri"])
            answers.append(kinds[step["do"]](step))
    finally:
        lift_limits()
    return [*answers, {"calls": made["calls"], "passes": dict(passed)}]


def child(job: dict[str, Any]) -> None:
    """Do a job in this fresh fork and leave without any clean-up of what the parent made."""
    code = 0
    try:
        answers = do_steps(job)
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
    put_stand_ins(model)
    chunk.check_window(chunking, model)
    warm = {
        "doc_id": "d",
        "text": "# Warm\n\n" + "Up. " * 500,
        "page": 0,
        "start": 0,
        "kind": "markdown",
        "heading": "",
    }
    sizes = cut.CutSizes(chunking.size, chunking.overlap, str(model.tokenizer_file))
    cut.cut_blocks(pl.DataFrame([warm], schema=TEXT_BLOCK), sizes)
    gc.freeze()  # what is here already is looked at no more, and so is not copied for each fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guards
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        for name in job.get("preload", ()):
            import_module(name)
        if not os.fork():
            guard(job)


if __name__ == "__main__":
    main()
