"""The steps of an evaluation as Prefect tasks: names, retries and cache policies, no logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.steps import is_transient
from tasks.embedder import Embedder
from tasks.metrics import Quality, measure_quality
from tasks.milvus import Store
from tasks.queries import Questions, draw_questions
from tasks.settings import Milvus
from tasks.timings import Cell, time_clients, time_index
from tasks.versions import Version

_POLICY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


@task(name="draw", task_run_name="draw questions from {version.index}", **_POLICY)
async def draw(store: Store, version: Version, count: int) -> Questions:
    """Draw known items."""
    return await draw_questions(store, version, count)


@task(name="quality", task_run_name="quality {version.index}", **_POLICY)
async def quality(store: Store, version: Version, embedder: Embedder, questions: Questions) -> Quality:
    """Ask and judge."""
    return await measure_quality(store, version, embedder, questions)


@task(name="latency", task_run_name="latency {version.index}", **_POLICY)
async def latency(store: Store, version: Version, vectors: np.ndarray) -> dict[str, Any]:
    """Time the index itself."""
    return await time_index(store, version, vectors)


@task(name="timings", task_run_name="timings", cache_policy=NO_CACHE, persist_result=False)
async def timings(
    settings: Milvus, cells: Sequence[Cell], texts: pl.Series, vectors: np.ndarray, latency_ms: float,
    tell: Callable[[str], None],
) -> pl.DataFrame:  # fmt: skip
    """Time the clients; not tried again: what failed once is in the counts."""
    return await time_clients(settings, cells, texts.to_list(), vectors, latency_ms=latency_ms, tell=tell)
