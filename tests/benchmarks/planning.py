"""Plan a million documents of synthetic listings: seconds, memory, batches and task runs, as one JSON object.

    python -m tests.benchmarks.planning [--documents 1000000] [--files]

Milvus is not in it: the ledger is a frame. What reading one costs stands in docs/capacity.md. With `--files` the
documents are empty files that are really listed; without it the listing is a frame as `list_source` makes it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tasks.discover import Options, cut_batches, make_plan
from tasks.identity import doc_id
from tasks.ledger import INDEXED, ROW
from tasks.records import DOCUMENT, WORK
from tasks.settings import Ingest
from tasks.sources import Source, list_source

NAME = "corpus"
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
    planned = make_plan(listed, ledger, Options(), [Source(uri=f"/srv/documents/{NAME}")])
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    batches = list(cut_batches(planned.filter(pl.col("action").is_in(WORK)), NAME, Ingest()))
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
        listed = list_source(source, Path(folder)).documents
        listing_seconds = time.perf_counter() - started
        planned = make_plan(listed, ROW.to_frame(), Options(), [source])
        plan_seconds = time.perf_counter() - started - listing_seconds
        del planned
        ledger = known(listed)
        started = time.perf_counter()
        planned = make_plan(listed, ledger, Options(), [source])
        return {
            "situation": "files",
            "documents": planned.height,
            "actions": dict(sorted(planned["action"].value_counts().iter_rows())),
            "list_seconds": round(listing_seconds, 2),
            "plan_seconds": round(plan_seconds, 2),
            "plan_again_seconds": round(time.perf_counter() - started, 2),
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
    parser.add_argument("--only", choices=[*SITUATIONS, "files"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        found = measure_files(asked.documents) if asked.only == "files" else measure(asked.only, asked.documents)
        print(json.dumps(found))
        return
    results = []
    for situation in [*SITUATIONS, *(["files"] if asked.files else [])]:
        command = [sys.executable, "-m", "tests.benchmarks.planning", "--documents", str(asked.documents)]
        done = subprocess.run([*command, "--only", situation], capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
