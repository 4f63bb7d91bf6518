"""Those that are compared, each in a process of its own: the same documents, chunks, model, machine and Milvus.

`python -m tests.benchmarks.subjects NAME FOLDER` prints one JSON object. Counted is everything from the making of the
collection to the last row, for Roost Prefect and the loading of its model too; imports, and the others' loading of
their model, are not.
Each is used as its own documentation shows it; all cut with Roost's chunker, so that all do the same work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roost.tasks.settings import set_library_defaults

set_library_defaults(quiet=True)

import polars as pl  # noqa: E402
from tests.benchmarks.loop import flows  # noqa: E402
from tests.benchmarks.pdf_progress import PdfProgress  # noqa: E402

from roost.flows.running.garbage import leave_out_imports  # noqa: E402
from roost.flows.running.progress import Advanced, Planned, Progress  # noqa: E402
from roost.tasks.models.model import Model, find_model  # noqa: E402
from roost.tasks.records import TEXT_BLOCK  # noqa: E402
from roost.tasks.settings import Chunking, load_settings  # noqa: E402
from roost.tasks.sources.parsers.parse import parse  # noqa: E402
from roost.tasks.steps.cut import cut_blocks  # noqa: E402
from roost.tasks.steps.cut_sizes import CutSizes  # noqa: E402

#: Seconds between two searches.
LOOK = 0.2


def read_blocks(folder: Path) -> pl.DataFrame:
    """Read and parse a folder's documents in this process: a frame of `TEXT_BLOCK`."""
    rows = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        start = 0
        for block in parse(file.read_bytes(), file.name).blocks:
            place = {"page": block.page, "start": start, "kind": block.kind, "heading": block.heading}
            rows.append({"doc_id": file.name, "text": block.text, **place})
            start += len(block.text) + 1
    return pl.DataFrame(rows, schema=TEXT_BLOCK)


def chunked(blocks: pl.DataFrame, model: Model) -> pl.DataFrame:
    """Cut text blocks as Roost does."""
    sizes = Chunking()
    return cut_blocks(blocks, CutSizes(sizes.size, sizes.overlap, str(model.tokenizer_file)))


async def roost(folder: Path) -> dict[str, Any]:
    """The whole flow `ingest`, into a fresh index; then again, unchanged."""
    from roost.flows.ingest import ingest
    from roost.flows.parameters import IngestRequest
    from roost.flows.running.progress import PROGRESS
    from roost.tasks.sources.source import Source

    index = f"bench{uuid.uuid4().hex[:12]}"
    request = IngestRequest(sources=[Source(uri=str(folder))], index=index)
    pages = PdfProgress()
    watcher = _Watcher()
    PROGRESS.set(watcher)
    started = time.perf_counter()
    state: Any = await ingest(request, return_state=True)
    report = await state.aresult()
    seconds = time.perf_counter() - started
    progress = pages.as_dict()
    again = time.perf_counter()
    await ingest(request, return_state=True)  # type: ignore[misc]
    unchanged = time.perf_counter() - again
    await _drop(index)
    return {
        "seconds": seconds,
        **asdict(report.store),
        "batches": watcher.batches,
        "embedding_seconds": report.seconds.embed,
        "first_searchable_seconds": watcher.first - started,
        "unchanged_seconds": unchanged,
        **progress,
    }


async def searching(folder: Path) -> dict[str, Any]:
    """Search an index again and again while a run fills it."""
    from roost.flows.ingest import ingest
    from roost.flows.parameters import IngestRequest
    from roost.tasks.milvus.store import open_store
    from roost.tasks.sources.source import Source

    index = f"bench{uuid.uuid4().hex[:12]}"
    request = IngestRequest(sources=[Source(uri=str(folder))], index=index)
    running = asyncio.ensure_future(ingest(request, return_state=True))  # type: ignore[arg-type,var-annotated]
    times: list[float] = []
    async with open_store(load_settings().milvus) as store:
        while not running.done():
            await asyncio.sleep(LOOK)
            if await store.describe_collection(index):
                started = time.perf_counter()
                await store.search(
                    index, [[0.05] * find_model(load_settings().embedding).dimension], ["text"], limit=10
                )
                times.append(1000 * (time.perf_counter() - started))
    await running
    await _drop(index)
    return {"searches": len(times), "p50_ms": statistics.median(times), "p95_ms": sorted(times)[int(0.95 * len(times))]}


async def _drop(index: str) -> None:
    from tests.drop import drop_version

    from roost.tasks.milvus.store import open_store
    from roost.tasks.versions.live_version import require_live_version

    async with open_store(load_settings().milvus) as store:
        await drop_version(store, await require_live_version(store, index))


class _Watcher:
    """Notes when the first batch was written."""

    first = 0.0
    batches = 0

    def __call__(self, event: Progress) -> None:
        if isinstance(event, Planned):
            self.batches = event.batches
        elif isinstance(event, Advanced):
            self.first = self.first or time.perf_counter()


async def llamaindex(folder: Path) -> dict[str, Any]:
    """`IngestionPipeline.arun`: reader, splitter, `HuggingFaceEmbedding`, `MilvusVectorStore`."""
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.schema import Document, TextNode, TransformComponent
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.milvus import MilvusVectorStore

    model = find_model(load_settings().embedding)

    class Cut(TransformComponent):
        def __call__(self, nodes: list[Any], **_: Any) -> list[Any]:
            rows = [node.metadata | {"text": node.text} for node in nodes]
            cuts = chunked(pl.DataFrame(rows, schema=TEXT_BLOCK), model)
            return [
                TextNode(text=row["text"], metadata={"source": row["doc_id"]}, excluded_embed_metadata_keys=["source"])
                for row in cuts.iter_rows(named=True)
            ]

    embedding = HuggingFaceEmbedding(model_name=str(model.folder), device="cpu")
    name = f"bench{uuid.uuid4().hex[:12]}"
    started = time.perf_counter()
    store = MilvusVectorStore(uri=load_settings().milvus.uri, collection_name=name, dim=model.dimension, overwrite=True)
    pipeline = IngestionPipeline(transformations=[Cut(), embedding], vector_store=store)
    rows = read_blocks(folder).iter_rows(named=True)
    documents = [Document(text=row.pop("text"), metadata=row) for row in rows]
    nodes = await pipeline.arun(documents=documents)
    seconds = time.perf_counter() - started
    store.client.drop_collection(name)
    return {"seconds": seconds, "chunks": len(nodes)}


async def langchain(folder: Path) -> dict[str, Any]:
    """`aindex` with a record manager, `HuggingFaceEmbeddings` and the Milvus store."""
    from langchain_core.documents import Document
    from langchain_core.indexing import InMemoryRecordManager, aindex
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_milvus import Milvus
    from pymilvus import connections

    model = find_model(load_settings().embedding)
    embedding = HuggingFaceEmbeddings(model_name=str(model.folder), model_kwargs={"device": "cpu"})
    name = f"bench{uuid.uuid4().hex[:12]}"
    store = Milvus(embedding, collection_name=name, connection_args={"uri": load_settings().milvus.uri}, auto_id=False)
    # pymilvus 2.6.10 and later keep a client's handler where langchain-milvus 0.3.3 does not look for it.
    connections._alias_handlers[store.alias] = store.client._handler
    records = InMemoryRecordManager(namespace=name)
    await records.acreate_schema()
    started = time.perf_counter()
    rows = chunked(read_blocks(folder), model).iter_rows(named=True)
    documents = [
        Document(page_content=row["text"], metadata={"source": row["doc_id"], "place": row["ordinal"]}) for row in rows
    ]
    result = await aindex(documents, records, store, cleanup="incremental", source_id_key="source")
    seconds = time.perf_counter() - started
    store.client.drop_collection(name)
    return {"seconds": seconds, "chunks": result["num_added"]}


async def bare(folder: Path) -> dict[str, Any]:
    """The floor: Roost's engine over the ready chunks, longest first, nothing else."""
    from roost.tasks.models.engine_choice import load_engine

    model = find_model(load_settings().embedding)
    chunks = chunked(read_blocks(folder), model).unique("chunk_hash").sort("tokens", descending=True)
    engine = load_engine(model, load_settings().embedding)
    engine.embed_chunks(chunks["text"].to_list()[:32], [])
    started = time.perf_counter()
    engine.embed_chunks(chunks["text"].to_list(), [])
    return {"seconds": time.perf_counter() - started, "chunks": chunks.height, "engine": engine.name}


async def encode(folder: Path) -> dict[str, Any]:
    """sentence-transformers' own OpenVINO backend over the ready chunks, longest first, calls of 16."""
    from sentence_transformers import SentenceTransformer

    model = find_model(load_settings().embedding)
    chunks = chunked(read_blocks(folder), model).unique("chunk_hash").sort("tokens", descending=True)
    exported = SentenceTransformer(str(model.folder), backend="openvino", device="cpu", model_kwargs={"export": True})
    exported.encode(chunks["text"].to_list()[:32], batch_size=16)
    started = time.perf_counter()
    exported.encode(chunks["text"].to_list(), batch_size=16)
    return {"seconds": time.perf_counter() - started, "chunks": chunks.height}


SUBJECTS: dict[str, Callable[[Path], Awaitable[dict[str, Any]]]] = {
    function.__name__: function for function in (roost, flows, searching, llamaindex, langchain, bare, encode)
}


def main() -> None:
    """Run one subject and print what it took."""
    name, folder = sys.argv[1:]
    logging.disable(logging.WARNING)
    leave_out_imports()  # as a command does, for all subjects
    answer = asyncio.run(SUBJECTS[name](Path(folder)))  # type: ignore[arg-type]
    answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
