"""What reranking costs: `python -m tests.benchmarks.reranking QUESTIONS --index docs`.

The cross-encoder is the default embedding model with a new layer for the score, of random weights: as large and as fast
as a trained one of that size (six layers of 384), but its order means nothing. The time to rerank the 20 best chunks of
each question, one question at a time, is compared with their tokens divided by the engine's rate, which is measured on
all pairs at once. Rounds alternate between both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from roost.tasks.models.engine_choice import load_scorer
from roost.tasks.models.model import find_model, find_reranker, load_tokenizer
from roost.tasks.models.reranker import Reranker
from roost.tasks.search.hits import SearchOptions
from roost.tasks.search.open_index import open_index
from roost.tasks.settings import Embedding, Search, load_settings

ROUNDS = 3
CANDIDATES = 20


def make_cross_encoder(folder: Path) -> None:
    """Put a layer for one score on the default embedding model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    base = find_model(Embedding()).folder
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base, model_max_length=512).save_pretrained(folder)


def measure(questions: list[str], index: str, folder: Path) -> dict[str, float | str]:
    """Measure the rate of the engine and the times of the questions."""
    embedding = load_settings().embedding
    model = find_reranker(str(folder), "")
    tokenizer, scorer = load_tokenizer(model.tokenizer_file), load_scorer(model, embedding)
    reranker = Reranker(Search(reranker=str(folder)), embedding)
    with open_index(index) as opened:
        options = SearchOptions(rerank=0)
        found = [[hit.text for hit in opened.search(text, k=CANDIDATES, options=options)] for text in questions]
        searching = [
            _seconds(lambda text=text: opened.search(text, k=CANDIDATES, options=options)) for text in questions
        ]
    pairs = [(query, text) for query, texts in zip(questions, found, strict=True) for text in texts]
    tokens = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(pairs)]
    own = np.array(tokens, dtype=float).reshape(len(questions), -1).sum(axis=1)

    async def rerank_all() -> list[float]:
        await reranker.load()
        times = []
        for query, texts in zip(questions, found, strict=True):
            started = time.perf_counter()
            await reranker.score(query, texts)
            times.append(time.perf_counter() - started)
        return times

    scorer.score(pairs)  # compiles for every length
    asyncio.run(rerank_all())
    bulk, single = [], []
    for _ in range(ROUNDS):
        bulk.append(_seconds(lambda: scorer.score(pairs)))
        single.append(asyncio.run(rerank_all()))
    reranker.close()
    rate = sum(tokens) / min(bulk)
    best = np.array(single).min(axis=0)
    return {
        "engine": scorer.name,
        "tokens_per_second": rate,
        "tokens_per_question": float(own.mean()),
        "search_p50_ms": 1000 * float(np.median(searching)),
        "rerank_p50_ms": 1000 * float(np.median(best)),
        "rerank_p95_ms": 1000 * float(np.percentile(best, 95)),
        "times_tokens_by_rate": float(best.sum() / (own.sum() / rate)),
    }


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--index", default="docs")
    chosen = parser.parse_args()
    questions = [json.loads(line)["query"] for line in chosen.questions.read_text("utf-8").splitlines()]
    with TemporaryDirectory() as folder:
        make_cross_encoder(Path(folder))
        print(json.dumps(measure(questions, chosen.index, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
