"""The parts by themselves: hashing, writes by client and call size, search, Prefect's share, memory over corpus size.

`python -m tests.benchmarks.parts NAME JSON` prints one JSON object, from a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roost.tasks.settings import set_library_defaults

set_library_defaults(quiet=True)

import numpy as np  # noqa: E402
from tests.drop import drop_version  # noqa: E402

from roost.tasks.ids import chunk_ids, digest, hash_file  # noqa: E402
from roost.tasks.milvus.store import Store, open_store  # noqa: E402
from roost.tasks.models.model import find_model  # noqa: E402
from roost.tasks.models.recipe import make_recipe  # noqa: E402
from roost.tasks.settings import Chunking, Embedding, Milvus, load_settings  # noqa: E402
from roost.tasks.versions.live_version import open_or_create_version, require_live_version  # noqa: E402
from roost.tasks.versions.version import Version  # noqa: E402

DIMENSION = 384


def hashing(files: int = 1000) -> dict[str, Any]:
    """Hash small files, as a run over touched ones does."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{number}.md")) for number in range(files)]
        for path in paths:
            Path(path).write_bytes(os.urandom(8_000))
        started = time.perf_counter()
        for path in paths:
            hash_file(path)
        return {"files_per_second": files / (time.perf_counter() - started)}


def writes(rows: int = 4000) -> dict[str, Any]:
    """Write chunk rows through pymilvus in calls of several sizes, and through both frameworks' stores."""
    return asyncio.run(_writes(rows))


async def _writes(count: int) -> dict[str, Any]:
    rates: dict[str, float] = {}
    async with _fresh() as (store, version):
        for size in (10, 100, 500):
            rows = _rows(count)
            started = time.perf_counter()
            for first in range(0, count, 4 * size):  # four calls in flight
                parts = (rows[first + n * size : first + (n + 1) * size] for n in range(4))
                await asyncio.gather(*(store.upsert(version.name, part) for part in parts if part))
            rates[f"roost, calls of {size}"] = count / (time.perf_counter() - started)
    rates["llama-index async_add"] = await _llamaindex_rate(count)
    return {"rows_per_second": rates}


async def _llamaindex_rate(count: int) -> float:
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.milvus import MilvusVectorStore

    name = f"bench{uuid.uuid4().hex[:12]}"
    uri = load_settings().milvus.uri
    store = MilvusVectorStore(uri=uri, collection_name=name, dim=DIMENSION, overwrite=True)
    nodes = [TextNode(text=row["text"], embedding=row["vector"].tolist()) for row in _rows(count)]
    started = time.perf_counter()
    await store.async_add(nodes)
    rate = count / (time.perf_counter() - started)
    store.client.drop_collection(name)
    return rate


def search(chunks: int, *, lite: bool) -> dict[str, Any]:
    """Search an index of that many chunks: median and 95th percentile."""
    if not lite:
        return asyncio.run(_search(chunks))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROOST_MILVUS__URI"] = str(Path(folder, "roost.db"))
        return asyncio.run(_search(chunks))


async def _search(chunks: int) -> dict[str, Any]:
    async with _fresh() as (store, version):
        rows = _rows(chunks)
        for first in range(0, chunks, 2000):
            await store.upsert(version.name, rows[first : first + 2000])
        if store.is_lite:
            await store.flush(version.name)  # as a run does at its end
        times = []
        for row in rows[:60]:
            started = time.perf_counter()
            await store.search(version.name, [row["vector"].tolist()], ["text"], limit=10)
            times.append(1000 * (time.perf_counter() - started))
        return {"p50_ms": statistics.median(times), "p95_ms": sorted(times)[57]}


def prefect_share(batches: int = 40) -> dict[str, Any]:
    """Run batches of four steps that do nothing: what Prefect costs a batch, in wall and in CPU milliseconds."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(cache_policy=NO_CACHE, persist_result=False)
    async def nothing() -> None:
        pass

    @flow
    async def empty() -> None:
        for _ in range(batches):
            for _ in range(4):
                await nothing()

    @flow
    async def none() -> None:
        pass

    asyncio.run(none())  # type: ignore[arg-type]
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(empty())  # type: ignore[arg-type]
    return {
        "wall_ms_per_batch": 1000 * (time.perf_counter() - wall) / batches,
        "cpu_ms_per_batch": 1000 * (time.process_time() - cpu) / batches,
    }


def memory(documents: int) -> dict[str, Any]:
    """Ingest that many documents of a page, vectors from a stand-in: peak resident memory of the run's own process."""
    import roost.tasks.models.embedder
    from roost.flows.ingest import ingest
    from roost.flows.parameters import IngestRequest
    from roost.tasks.sources.source import Source

    roost.tasks.models.embedder.load_engine = lambda *_: _Fast()  # type: ignore[assignment]
    index = f"bench{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        request = IngestRequest(sources=[Source(uri=str(_write_pages(Path(folder), documents, 1)))], index=index)
        report = asyncio.run(_ingested(ingest(request, return_state=True), index))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, **asdict(report.store), "seconds": report.seconds.total}


def memory_growth(documents: int, pages: int) -> dict[str, Any]:
    """Ingest documents without Prefect: bytes in use that each chunk leaves behind while the run goes on.

    After each batch the bytes that malloc has given out are read, garbage collected before. What batches in flight need
    comes and goes, so the least of the run's first third is compared with the least of its last. Needs glibc and
    PYTHONMALLOC=malloc; resident memory would tell less, since what is freed stays resident for a while. Prefect is
    left out since it keeps some kilobytes a task run, and more while its server is slow.
    """
    from tests.integration import crash_child

    import roost.tasks.models.embedder
    from roost.tasks.steps.index import index_batch

    os.environ["ROOST_INGEST__BATCH_BYTES"] = "100000"
    roost.tasks.models.embedder.load_engine = lambda *_: _Fast()  # type: ignore[assignment]
    crash_child.without_prefect()
    crash_child.set_constant("MAX_REMEMBERED", 200)  # a bound that only larger runs reach
    seen: list[tuple[int, int]] = []

    async def counted(*arguments: Any, **options: Any) -> Any:
        written = await index_batch(*arguments, **options)
        gc.collect()
        seen.append((written.written + (seen[-1][0] if seen else 0), _bytes_in_use()))
        return written

    crash_child.replace(index_batch, counted)
    with tempfile.TemporaryDirectory() as folder:
        request = {"sources": [{"uri": str(_write_pages(Path(folder), documents, pages))}], "index": "growth"}
        chunks = crash_child.ingest({"request": request})["report"].store.chunks
    crash_child.drop({"index": "growth"})
    third = len(seen) // 3
    (before, least), (after, most) = (min(part, key=lambda one: one[1]) for part in (seen[:third], seen[-third:]))
    return {"chunks": chunks, "batches": len(seen), "bytes_per_chunk": (most - least) / (after - before)}


#: Fields of glibc's `struct mallinfo2`, in their order.
MALLINFO2 = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


def _bytes_in_use() -> int:
    """Bytes that malloc has given out and not got back, in all its arenas."""
    import ctypes

    class Mallinfo2(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)

    library = ctypes.CDLL("libc.so.6")
    library.mallinfo2.restype = Mallinfo2
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _write_pages(folder: Path, documents: int, pages: int) -> Path:
    """Write a table of that many documents of so many pages."""
    table = folder / "documents.jsonl"
    with table.open("w") as lines:
        for number in range(documents):
            text = f"Ferry {number} leaves pier {number % 97}. " * 15 * pages
            lines.write(json.dumps({"id": number, "title": f"Ferry {number}", "text": text}) + "\n")
    return table


def quantize(source: str, folder: str) -> dict[str, Any]:
    """Make an int8 model, calibrated on a source's own texts."""
    from roost.flows.operations.quantize import quantize as made
    from roost.tasks.sources.source import Source

    report = asyncio.run(made([Source(uri=source)], Path(folder), texts=100)).as_dict()
    return {name: value for name, value in report.items() if name != "folder"}  # results are published


def quality(model: str) -> dict[str, Any]:
    """Measure nDCG@10 on SciFact: exact search, a document as good as its best chunk."""
    import polars as pl
    from tests.benchmarks.corpus import SCIFACT

    from roost.tasks.evaluation.metrics import score
    from roost.tasks.evaluation.questions import read_questions
    from roost.tasks.models.engine_choice import load_engine
    from roost.tasks.records import TEXT_BLOCK
    from roost.tasks.steps.cut import cut_blocks
    from roost.tasks.steps.cut_sizes import CutSizes

    settings = Embedding(model=model) if model else Embedding()
    found = find_model(settings)
    engine, sizes = load_engine(found, settings), Chunking()
    corpus = pl.read_ndjson(SCIFACT / "corpus.jsonl").select(
        doc_id="_id",
        text=pl.col("title") + "\n\n" + pl.col("text"),
        page=0,
        start=0,
        kind=pl.lit("text"),
        heading=pl.lit(""),
    )
    chunks = cut_blocks(corpus.cast(TEXT_BLOCK), CutSizes(sizes.size, sizes.overlap, str(found.tokenizer_file)))
    chunks = chunks.sort("tokens", descending=True)
    started = time.perf_counter()
    vectors = engine.embed_chunks(chunks["text"].to_list(), [])
    seconds = time.perf_counter() - started
    questions = read_questions(SCIFACT)
    scores = engine.embed_queries(questions.asked["text"].to_list()) @ vectors.T
    run = []
    for query, row in zip(questions.asked["question"], scores, strict=True):
        scored = (
            chunks.select(item="doc_id").with_columns(score=pl.Series(row)).group_by("item").agg(pl.col("score").max())
        )
        best = scored.sort("score", descending=True).head(10)
        run.append(best.select("item", question=pl.lit(query), rank=pl.int_range(1, 11)))
    found = score(questions.judgments.rename({"document": "item"}), pl.concat(run))
    return {"ndcg": found["nDCG@10"].mean(), "embedding_seconds": seconds}


class _Fast:
    """A model that costs nothing."""

    name = "fast"

    def embed_chunks(self, texts: list[str], tokens: list[int]) -> np.ndarray:
        return _vectors(len(texts))

    def embed_queries(self, texts: list[str]) -> np.ndarray:
        return _vectors(len(texts))


async def _ingested(run: Any, index: str) -> Any:
    report = await (await run).aresult()
    async with open_store(load_settings().milvus) as store:
        await drop_version(store, await require_live_version(store, index))
    return report


@asynccontextmanager
async def _fresh() -> AsyncIterator[tuple[Store, Version]]:
    """A new, empty index, dropped afterwards."""
    async with open_store(Milvus(uri=load_settings().milvus.uri)) as store:
        recipe = make_recipe(find_model(Embedding()), Chunking())
        version = await open_or_create_version(store, f"bench{uuid.uuid4().hex[:12]}", recipe)
        try:
            yield store, version
        finally:
            await drop_version(store, version)


def _rows(count: int) -> list[dict[str, Any]]:
    """Make chunk rows of some 1,000 characters."""
    ids = list(chunk_ids(digest(uuid.uuid4().bytes), 0, count))
    return [
        {"id": key, "vector": vector, "text": f"row {key} " * 25, "doc_id": key[:32]}
        for key, vector in zip(ids, _vectors(count), strict=True)
    ]


def _vectors(count: int) -> np.ndarray:
    vectors = np.random.default_rng(7).standard_normal((count, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (hashing, writes, search, prefect_share, memory, memory_growth, quantize, quality)
}


def main() -> None:
    """Run one part and print what it found."""
    name, options = sys.argv[1:]
    logging.disable(logging.WARNING)
    print(json.dumps(PARTS[name](**json.loads(options))))


if __name__ == "__main__":
    main()
