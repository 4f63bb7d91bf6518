"""Plan a million documents of synthetic listings: seconds, memory, batches and task runs, as one JSON object.

    python -m tests.benchmarks.planning [--documents 1000000] [--files] [--ledger]

The listing is a frame as `list_source` makes it, the ledger one as `read_ledger` does. With `--files` the documents are
empty files that are really listed; with `--ledger` the rows of a nightly run are written to a real Milvus server,
started for it, and read from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from roost.deployments.local.servers import milvus_standalone
from roost.tasks.errors import TransientError
from roost.tasks.ids import doc_id
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.records import DOCUMENT, WORK_ACTIONS
from roost.tasks.settings import Ingest, Milvus
from roost.tasks.sources.listing import Listing
from roost.tasks.sources.opened_source import ListingChoices, open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.steps.batches import cut_batches
from roost.tasks.steps.plan import PlanOptions, make_plan
from roost.tasks.versions.ledger import INDEXED, ROW, read_ledger, write_rows
from roost.tasks.versions.schema import make_ledger
from roost.tasks.workers import Workers

NAME = "corpus"
LEDGER = "planning__ledger2"
WRITTEN_AT_ONCE = 20_000
PER_FOLDER = 1_000
#: Task runs of a batch, and of a run beside its batches: list, discover, close.
BATCH_TASKS, RUN_TASKS = 4, 3


def listing(count: int) -> pl.DataFrame:
    """Make the frame that listing so many files gives."""
    uris = [f"{n // PER_FOLDER:05d}/report-{n:07d}.md" for n in range(count)]
    columns = {
        "doc_id": [doc_id(NAME, uri) for uri in uris],
        "source": NAME,
        "uri": uris,
        "location": [f"/srv/documents/{NAME}/{uri}" for uri in uris],
        "size": [2_000 + n * 7_919 % 9_000 for n in range(count)],
        "modified": [f"{1_700_000_000 + n}.25 {1_700_000_000 + n}.25" for n in range(count)],
    }
    frame = pl.DataFrame(columns).with_columns(content_hash=pl.lit(""), spool=pl.lit(""), row=-1, reason=pl.lit(""))
    return frame.select(list(DOCUMENT)).cast(DOCUMENT)


def known(listed: pl.DataFrame) -> pl.DataFrame:
    """Make the ledger of an index that holds what is listed."""
    return listed.select(
        "doc_id", "uri", "source", content_hash="doc_id", size="size", modified="modified", status=pl.lit(INDEXED),
        chunk_count=10, pending_chunk_count=0, reason=pl.lit(""), attempts=0, run_id=pl.lit("0" * 36),
        updated_at=pl.lit("2026-01-01T00:00:00+00:00"),
    ).cast(ROW)  # fmt: skip


def first(listed: pl.DataFrame) -> pl.DataFrame:
    """A first run: nothing is known."""
    return ROW.to_frame()


def nightly(listed: pl.DataFrame) -> pl.DataFrame:
    """All are known but a thousandth, and as many are gone: none meets another's size, so none need be read."""
    kept = known(listed).filter(pl.int_range(pl.len()) % 1_000 != 0)
    gone = known(listing(listed.height // 1_000)).with_columns(
        doc_id=pl.col("doc_id").str.reverse(), uri="old/" + pl.col("uri"), size=pl.lit(1, pl.Int64)
    )
    return pl.concat([kept, gone])


def moved(listed: pl.DataFrame) -> pl.DataFrame:
    """The whole tree was moved by a folder: all are new, all are gone, and content tells that they are the same."""
    return known(listed).with_columns(doc_id=pl.col("doc_id").str.reverse(), uri="old/" + pl.col("uri"))


SITUATIONS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {"first": first, "nightly": nightly, "moved": moved}


def as_listing(documents: pl.DataFrame, source: Source) -> Listing:
    """Make the listing of one source without a gap."""
    return Listing(documents, (source,), (), Counter())


def measure(situation: str, count: int) -> dict[str, Any]:
    """Plan and cut in this process."""
    listed = listing(count)
    if situation == "moved":  # contents as a table's: known without being read
        listed = listed.with_columns(content_hash="doc_id")
        ledger = moved(listed).with_columns(content_hash=pl.col("doc_id").str.reverse())
    else:
        ledger = SITUATIONS[situation](listed)
    before = _peak()
    started = time.perf_counter()
    planned = make_plan(as_listing(listed, Source(uri=f"/srv/documents/{NAME}")), ledger, PlanOptions())
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    batches = list(cut_batches(planned.filter(pl.col("action").is_in(WORK_ACTIONS)), NAME, Ingest()))
    return {
        "situation": situation,
        "documents": count,
        "actions": dict(sorted(planned["action"].value_counts().iter_rows())),
        "plan_seconds": round(seconds, 2),
        "cut_seconds": round(time.perf_counter() - started, 2),
        "inputs_mib": before,
        "peak_mib": _peak(),
        "batches": len(batches),
        "task_runs": len(batches) * BATCH_TASKS + RUN_TASKS,
    }


def measure_files(count: int) -> dict[str, Any]:
    """List real files, as many as asked for, then plan them as a first run's and as an unchanged one's."""
    with tempfile.TemporaryDirectory() as folder:
        for n in range(count):
            file = Path(folder, f"{n // PER_FOLDER:05d}", f"report-{n:07d}.md")
            if n % PER_FOLDER == 0:
                file.parent.mkdir()
            file.touch()
        source = Source(uri=folder, name=NAME)
        started = time.perf_counter()
        choices = ListingChoices.of(Ingest(), Workers(workers=1, memory_mb=512))
        [opened] = open_sources([source], choices)
        listed = list_source(opened, Path(folder)).documents
        listing_seconds = time.perf_counter() - started
        planned = make_plan(as_listing(listed, source), ROW.to_frame(), PlanOptions())
        plan_seconds = time.perf_counter() - started - listing_seconds
        del planned
        ledger = known(listed)
        started = time.perf_counter()
        planned = make_plan(as_listing(listed, source), ledger, PlanOptions())
        return {
            "situation": "files",
            "documents": planned.height,
            "actions": dict(sorted(planned["action"].value_counts().iter_rows())),
            "list_seconds": round(listing_seconds, 2),
            "plan_seconds": round(plan_seconds, 2),
            "plan_again_seconds": round(time.perf_counter() - started, 2),
            "peak_mib": _peak(),
        }


async def fill(uri: str, count: int) -> dict[str, Any]:
    """Write the ledger that a nightly run finds."""
    ledger = nightly(listing(count))
    started = time.perf_counter()
    async with open_store(Milvus(uri=uri)) as store:
        await make_ledger(store, LEDGER)
        for part in ledger.iter_slices(WRITTEN_AT_ONCE):
            await write_rows(store, LEDGER, part.to_dicts(), run_id="0" * 36)
        await store.flush(LEDGER)
        await answered(store)
    return {"write_seconds": round(time.perf_counter() - started, 1)}


async def answered(store: Store) -> None:
    """Wait until the server has taken in what it was given: a strong read right after a million rows may time out."""
    for _ in range(10):
        with suppress(TransientError):
            await store.count(LEDGER)
            return


async def measure_ledger(uri: str, count: int) -> dict[str, Any]:
    """Read the ledger from the server and plan a nightly run by it, the listing held."""
    listed = listing(count)
    before, used, started = _peak(), time.process_time(), time.perf_counter()
    async with open_store(Milvus(uri=uri)) as store:
        ledger = await read_ledger(store, LEDGER)
    read_seconds, used = time.perf_counter() - started, time.process_time() - used
    peak, started = _peak(), time.perf_counter()
    planned = make_plan(as_listing(listed, Source(uri=f"/srv/documents/{NAME}")), ledger, PlanOptions())
    return {
        "situation": "ledger",
        "documents": count,
        "rows": ledger.height,
        "actions": dict(sorted(planned["action"].value_counts().iter_rows())),
        "read_seconds": round(read_seconds, 2),
        "read_cpu_seconds": round(used, 2),
        "plan_seconds": round(time.perf_counter() - started, 2),
        "inputs_mib": before,
        "read_peak_mib": peak,
        "peak_mib": _peak(),
    }


def _peak() -> int:
    """Most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure each situation in a process of its own, so that peaks do not add up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--files", action="store_true", help="list real files too")
    parser.add_argument("--ledger", action="store_true", help="read the ledger of a nightly run from a server too")
    parser.add_argument("--only", choices=[*SITUATIONS, "files", "fill", "ledger"], help=argparse.SUPPRESS)
    parser.add_argument("--uri", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure_only(asked.only, asked.documents, asked.uri)))
        return
    situations = [*SITUATIONS, *(["files"] if asked.files else [])]
    results = [in_a_process(situation, asked.documents) for situation in situations]
    if asked.ledger:
        with tempfile.TemporaryDirectory() as folder, milvus_standalone(Path(folder)) as server:
            written = in_a_process("fill", asked.documents, server.uri)
            results.append(in_a_process("ledger", asked.documents, server.uri) | written)
    print(json.dumps(results, indent=1))


def measure_only(situation: str, count: int, uri: str) -> dict[str, Any]:
    """Measure one situation in this process."""
    if situation == "files":
        return measure_files(count)
    if situation in ("fill", "ledger"):
        return asyncio.run(fill(uri, count) if situation == "fill" else measure_ledger(uri, count))
    return measure(situation, count)


def in_a_process(situation: str, count: int, uri: str = "") -> dict[str, Any]:
    """Measure one situation in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.planning", "--documents", str(count), "--uri", uri]
    done = subprocess.run([*command, "--only", situation], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
