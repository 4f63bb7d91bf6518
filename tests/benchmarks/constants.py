"""Constants of docs/capacity.md, against a real Milvus server on this machine: one JSON object.

    python -m tests.benchmarks.constants [--chunks 40000] [--documents 40000]

Rows have the shape of those that `roost ingest` writes, with random vectors: what is measured is the store, not the
model. Speed of the model and of a whole run: `make bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from tests.benchmarks.planning import known, listing

from roost.deployments.local.servers import milvus_standalone
from roost.tasks.host_resources import cores
from roost.tasks.ids import chunk_hash
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.model import find_model
from roost.tasks.models.recipe import make_recipe
from roost.tasks.records import CHUNK, LOADED, REJECT, Embedded
from roost.tasks.settings import Chunking, Embedding, Milvus
from roost.tasks.steps.chunk_rows import chunk_rows
from roost.tasks.versions.ledger import INDEXED, read_ledger, write_rows
from roost.tasks.versions.live_version import open_or_create_version
from roost.tasks.versions.version import Version

T = TypeVar("T")

#: Chunks of a document, and characters of a chunk: what the Prefect documentation's average at size 240.
PER_DOCUMENT, CHARACTERS = 12, 540
FILLING = "words of a passage " * (CHARACTERS // 19 + 1)
PART = 5_000


def embedded(documents: pl.DataFrame, dimension: int, seed: int) -> Embedded:
    """Make a batch as it is handed to be written."""
    random = np.random.default_rng(seed)
    rows = documents.select("doc_id").join(pl.DataFrame({"ordinal": range(PER_DOCUMENT)}), how="cross")
    texts = [f"{key} {n} {FILLING}"[:CHARACTERS] for key, n in rows.iter_rows()]
    chunks = rows.with_columns(
        text=pl.Series(texts),
        chunk_hash=pl.Series([chunk_hash(text) for text in texts]),
        page=0,
        heading=pl.lit("Chapter > Section"),
        start=pl.col("ordinal") * CHARACTERS,
        end=pl.col("ordinal") * CHARACTERS,
        tokens=120,
    )
    chunks = chunks.with_columns(context=pl.lit(""))
    vectors = random.standard_normal((chunks.height, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    loaded = documents.with_columns(title=pl.lit("A report"), metadata=pl.lit("{}"))
    filled = loaded.with_columns(**{name: pl.lit(None) for name in LOADED if name not in loaded.columns})
    return Embedded(
        "0",
        filled.select(list(LOADED)).cast(LOADED),
        chunks.select(list(CHUNK)).cast(CHUNK),
        REJECT.to_frame(),
        vectors,
        0,
        0,
        0,
        0,
    )


async def timed(work: Awaitable[T]) -> tuple[float, float, T]:
    """Await; returns wall seconds, CPU seconds of this process, and the result."""
    started, used = time.perf_counter(), time.process_time()
    result = await work
    return time.perf_counter() - started, time.process_time() - used, result


async def write_chunks(store: Store, version: Version, documents: pl.DataFrame) -> int:
    """Write the chunks of all documents, one batch after another, and flush."""
    written = 0
    for number, part in enumerate(documents.iter_slices(PART // PER_DOCUMENT)):
        rows = list(chunk_rows(embedded(part, version.recipe.dimension, number)))
        written += await store.upsert(version.name, rows)
    await store.flush(version.name)
    return written


async def measure(uri: str, data: Path, pid: int, chunks: int, documents: int) -> dict[str, Any]:
    """Write and read back; sizes are the server's folder's and process's, before and after."""
    async with open_store(Milvus(uri=uri)) as store:
        version = await open_or_create_version(store, "capacity", make_recipe(find_model(Embedding()), Chunking()))
        disk, memory = _disk(data), _memory(pid)
        wall, used, written = await timed(write_chunks(store, version, listing(chunks // PER_DOCUMENT)))
        found: dict[str, Any] = {
            "chunks": written,
            "chunk_rows_per_second": round(written / wall),
            "client_cpu_ms_per_chunk": round(used / written * 1000, 3),
        }
        await asyncio.sleep(20)  # segments are sealed and their index is built
        found["server_disk_bytes_per_chunk"] = round((_disk(data) - disk) / written)
        found["server_memory_bytes_per_chunk"] = round((_memory(pid) - memory) / written)
        rows = known(listing(documents)).to_dicts()
        disk = _disk(data)
        wall, used, _ = await timed(write_rows(store, version.ledger, rows, run_id="0" * 36))
        await store.flush(version.ledger)
        found |= {"ledger_rows": documents, "ledger_rows_written_per_second": round(documents / wall)}
        found["client_cpu_ms_per_ledger_row"] = round(used / documents * 1000, 3)
        await asyncio.sleep(5)
        found["server_disk_bytes_per_ledger_row"] = round((_disk(data) - disk) / documents)
        wall, used, frame = await timed(read_ledger(store, version.ledger))
        assert frame.filter(pl.col("status") == INDEXED).height == documents
        found["ledger_rows_read_per_second"] = round(documents / wall)
        found["ledger_frame_bytes_per_row"] = round(frame.estimated_size() / documents)
        return found


def _disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=40_000)
    parser.add_argument("--documents", type=int, default=40_000)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, milvus_standalone(Path(folder)) as server:
        found = asyncio.run(measure(server.uri, server.data, server.pid, asked.chunks, asked.documents))
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": cores(), "load_before": round(load, 1)}
    print(json.dumps(facts | found, indent=1))


if __name__ == "__main__":
    main()
