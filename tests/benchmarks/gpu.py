"""What a GPU gives: `python -m tests.benchmarks.gpu FOLDER [--model MODEL]`, on a machine with CUDA.

The Markdown files of the folder are listed, parsed and cut by as many worker processes as the machine has cores: the
work on text, which limits a run once the model is fast. Their chunks are then embedded batch by batch, as a run does,
and by sentence-transformers in the same process: as it comes (single precision, 32 texts in a call), and at its best
(half precision, 1,024 texts in a call). Rounds alternate between the three, and the fastest of each counts. Vectors are
compared with those in single precision. Nothing is written to Milvus.

Without `--model`, the models are the default one, and one as large as bge-base with random weights: as fast as a
trained one of that size, but its vectors mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from tests.benchmarks.machine import describe_machine
from tests.stand_ins import listing_choices, planned_row

from roost.tasks.host_resources import cores
from roost.tasks.models.embedder import Embedder
from roost.tasks.models.model import Model, find_model
from roost.tasks.records import PLANNED
from roost.tasks.settings import Chunking, Embedding, Ingest
from roost.tasks.sources.opened_source import open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.source_listing import list_source
from roost.tasks.steps.batches import cut_batches
from roost.tasks.steps.chunk import chunk_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.workers import Workers

ROUNDS = 3
#: Texts of which vectors in single precision are compared.
COMPARED = 2_000


def make_large_model(folder: Path) -> str:
    """Make a model with the layers of bge-base, random weights, and the tokenizer of the default model."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(1)
    BertModel(BertConfig()).save_pretrained(folder / "bert")  # BertConfig's defaults: 12 layers of 768
    AutoTokenizer.from_pretrained(find_model(Embedding()).folder, model_max_length=512).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=512)
    SentenceTransformer(modules=[transformer, Pooling(768), Normalize()]).save(str(folder / "model"))
    return str(folder / "model")


async def cut_folder(folder: Path, model: Model) -> tuple[list[pl.DataFrame], float]:
    """List, parse and cut a folder in worker processes, all batches at once: the chunks by batch, and the seconds."""
    ingest, chunking = Ingest(), Chunking()
    with TemporaryDirectory() as spool, Workers(workers=cores(), memory_mb=ingest.parse_memory_mb) as workers:
        await asyncio.gather(*(workers.run(time.sleep, (0.5,)) for _ in range(workers.size)))  # starts all processes
        started = time.perf_counter()
        [opened] = open_sources([Source(uri=str(folder))], listing_choices())
        listed = list_source(opened, Path(spool)).documents
        rows = [planned_row(**row) for row in listed.iter_rows(named=True)]
        batches = list(cut_batches(pl.DataFrame(rows, schema=PLANNED), "gpu", ingest))

        async def cut(number: int) -> pl.DataFrame:
            loaded = await load_batch(batches[number], workers, Path(spool) / str(number), seconds=60)
            return (await chunk_batch(loaded, chunking, model, workers, seconds=60)).chunks

        chunks = await asyncio.gather(*map(cut, range(len(batches))))
        seconds = time.perf_counter() - started
    return [frame for frame in chunks if frame.height], seconds


async def embed(embedder: Embedder, batches: list[pl.DataFrame], in_flight: int) -> np.ndarray:
    """Embed batches as a run does, some at a time."""
    turns = asyncio.Semaphore(in_flight)

    async def embed_batch(chunks: pl.DataFrame) -> np.ndarray:
        async with turns:
            return (await embedder.embed_chunks(chunks["text"].to_list(), chunks["tokens"].to_list())).values

    return np.concatenate(await asyncio.gather(*map(embed_batch, batches)))


def measure(name: str, folder: Path, device: str = "cuda") -> dict[str, Any]:
    """Measure one model."""
    import torch
    from sentence_transformers import SentenceTransformer

    settings = Embedding(model=name, backend="torch", device=device)
    model = find_model(settings)
    batches, text_seconds = asyncio.run(cut_folder(folder, model))
    texts = [text for chunks in batches for text in chunks["text"]]
    tokens = sum(int(chunks["tokens"].sum()) for chunks in batches)
    plain = SentenceTransformer(str(model.folder), device=device)
    half = SentenceTransformer(str(model.folder), device=device, model_kwargs={"dtype": "float16"})
    with Embedder(model, settings) as embedder:
        own = lambda: asyncio.run(embed(embedder, batches, Ingest().batches_in_flight))  # noqa: E731
        ways: dict[str, Callable[[], Any]] = {
            "roost": own,
            "sentence_transformers": lambda: plain.encode(texts),
            "sentence_transformers_half_1024": lambda: half.encode(texts, batch_size=1024),
        }
        for run in ways.values():
            run()
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                started = time.perf_counter()
                run()  # ends with vectors in the memory of the host
                seconds[way].append(time.perf_counter() - started)
        cosines = np.sum(_unit(own()[:COMPARED]) * _unit(plain.encode(texts[:COMPARED])), axis=1)
    rates = {way: tokens / min(times) for way, times in seconds.items()}
    return {
        "model": model.name,
        "dimension": model.dimension,
        "documents_bytes": sum(file.stat().st_size for file in folder.rglob("*.md*")),
        "chunks": len(texts),
        "tokens": tokens,
        "tokens_per_second": {way: round(rate) for way, rate in rates.items()},
        "times_sentence_transformers": round(rates["roost"] / rates["sentence_transformers"], 2),
        "times_sentence_transformers_half_1024": round(rates["roost"] / rates["sentence_transformers_half_1024"], 2),
        "text_tokens_per_second": round(tokens / text_seconds),
        "least_cosine_to_single_precision": round(float(cosines.min()), 6),
        "gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20),
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def main() -> None:
    """Measure and print one JSON object."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="")
    chosen = parser.parse_args()
    with TemporaryDirectory() as made:
        names = [chosen.model] if chosen.model else [Embedding().model, make_large_model(Path(made))]
        machine = describe_machine() | {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
        print(json.dumps({"machine": machine, "models": [measure(name, chosen.folder) for name in names]}, indent=1))


if __name__ == "__main__":
    main()
