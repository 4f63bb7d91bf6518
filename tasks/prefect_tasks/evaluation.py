"""Prefect tasks of the flow `evaluation`: names, retries and cache policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from roost.tasks.evaluation.client_timings import time_clients, time_index
from roost.tasks.evaluation.metrics import Quality, measure_quality
from roost.tasks.evaluation.own_loop import run_in_own_loop
from roost.tasks.evaluation.questions import Questions, sample_questions
from roost.tasks.evaluation.report_parts import Latency, SampleAnswer, WayResult
from roost.tasks.evaluation.timing_cells import Cell
from roost.tasks.evaluation.ways import Way, measure_ways
from roost.tasks.milvus.store import Store
from roost.tasks.models.embedder import Embedder
from roost.tasks.prefect_tasks.ingest import POLICY
from roost.tasks.search.hits import Hit
from roost.tasks.settings import LLM, Milvus
from roost.tasks.versions.version import Version

_POLICY = POLICY | {"retries": 3}


@task(name="sample", task_run_name="sample questions from {version.index}", **_POLICY)
async def sample(store: Store, version: Version, count: int) -> Questions:
    """Sample sentences of the index as questions."""
    return await sample_questions(store, version, count)


@task(name="quality", task_run_name="quality {version.index}", **_POLICY)
async def quality(store: Store, version: Version, embedder: Embedder, questions: Questions) -> Quality:
    """Measure the quality of the answers."""
    return await measure_quality(store, version, embedder, questions)


@task(name="latency", task_run_name="latency {version.index}", **_POLICY)
async def latency(store: Store, version: Version, texts: pl.Series, vectors: np.ndarray) -> Latency:
    """Time single searches of the index."""
    return await time_index(store, version, texts.to_list(), vectors)


@task(name="ways", task_run_name="ways to search {version.index}", **_POLICY)
async def ways(
    store: Store, version: Version, questions: Questions, vectors: np.ndarray, ways: dict[str, Way]
) -> tuple[WayResult, ...]:
    """Measure ways to search the index side by side."""
    return await measure_ways(store, version, questions, vectors, ways)


@task(name="answers", task_run_name="answers", cache_policy=NO_CACHE, persist_result=False)
async def answers(questions: list[str], found: list[list[Hit]], settings: LLM) -> list[SampleAnswer]:
    """Have the language model answer questions from their hits."""
    from roost.tasks.evaluation.sample_answers import answer_questions  # imports OpenAI's client, which takes a second

    return await answer_questions(questions, found, settings)


@task(name="timings", task_run_name="timings", cache_policy=NO_CACHE, persist_result=False)
async def timings(
    settings: Milvus,
    cells: Sequence[Cell],
    texts: pl.Series,
    vectors: np.ndarray,
    latency_ms: float,
    tell: Callable[[str], None],
) -> pl.DataFrame:
    """Time the clients; without retries, because failed calls are counted."""
    loop = asyncio.get_running_loop()

    def tell_caller(message: str) -> None:
        loop.call_soon_threadsafe(tell, message)

    async def work() -> pl.DataFrame:
        return await time_clients(settings, cells, texts.to_list(), vectors, latency_ms=latency_ms, tell=tell_caller)

    return await run_in_own_loop(work)  # the clients of both frameworks import and connect for seconds
