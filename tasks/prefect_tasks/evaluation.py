"""The steps of an evaluation as Prefect tasks: names, retries and cache policies, no logic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from roost.tasks.errors import RoostError
from roost.tasks.evaluation.client_timings import Cell, time_clients, time_index
from roost.tasks.evaluation.metrics import Quality, measure_quality
from roost.tasks.evaluation.questions import Questions, draw_questions
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.prefect_tasks.ingest import POLICY
from roost.tasks.search.retrieve import Hit
from roost.tasks.settings import LLM, Milvus
from roost.tasks.versions.version import Version

#: Questions that a language model is asked at once, and passages that each answer is made of.
ANSWERS_AT_ONCE, PASSAGES = 4, 5

_POLICY = POLICY | {"retries": 3}


@task(name="draw", task_run_name="draw questions from {version.index}", **_POLICY)
async def draw(store: Store, version: Version, count: int) -> Questions:
    """Draw known items."""
    return await draw_questions(store, version, count)


@task(name="quality", task_run_name="quality {version.index}", **_POLICY)
async def quality(store: Store, version: Version, embedder: Embedder, questions: Questions) -> Quality:
    """Ask and judge."""
    return await measure_quality(store, version, embedder, questions)


@task(name="latency", task_run_name="latency {version.index}", **_POLICY)
async def latency(store: Store, version: Version, texts: pl.Series, vectors: np.ndarray) -> dict[str, Any]:
    """Time the index itself."""
    return await time_index(store, version, texts.to_list(), vectors)


@task(name="answers", task_run_name="answers", cache_policy=NO_CACHE, persist_result=False)
async def answers(questions: list[str], found: list[list[Hit]], settings: LLM) -> list[dict[str, Any]]:
    """Have the language model answer from what was found; what it could not answer says why."""
    from roost.tasks.search.answer import answer_from  # imports OpenAI's client, which takes a second

    gate = asyncio.Semaphore(ANSWERS_AT_ONCE)

    async def one(question: str, hits: list[Hit]) -> dict[str, Any]:
        passages = [hit.place for hit in hits]
        try:
            async with gate:
                answered = await answer_from(question, hits, settings, lambda _: None)
        except RoostError as error:
            return {"question": question, "answer": "", "error": str(error), "passages": passages}
        return {"question": question, **answered.as_dict(), "error": "", "passages": passages}

    return list(await asyncio.gather(*map(one, questions, found)))


@task(name="timings", task_run_name="timings", cache_policy=NO_CACHE, persist_result=False)
async def timings(
    settings: Milvus, cells: Sequence[Cell], texts: pl.Series, vectors: np.ndarray, latency_ms: float,
    tell: Callable[[str], None],
) -> pl.DataFrame:  # fmt: skip
    """Time the clients; not tried again: what failed once is in the counts."""
    return await time_clients(settings, cells, texts.to_list(), vectors, latency_ms=latency_ms, tell=tell)
