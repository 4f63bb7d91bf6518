"""What follows for 100 workers from the measured costs of a batch: calculated, not measured."""

from __future__ import annotations

from typing import Any

WORKERS = 100
#: Task runs of one batch: load, chunk, embed, index, and on Dask and Ray `batch` around them.
TASK_RUNS = {"dask": 5, "ray": 5, "shards": 4}
#: Measured with all-MiniLM-L6-v2 and Markdown (docs/capacity.md): core seconds and bytes of text of a chunk.
MODEL_CORE_S, CHUNK_BYTES = 0.0108, 540
MEBIBYTE = 2**20


def reckon(engines: list[dict[str, Any]], prefect: dict[str, Any]) -> list[dict[str, Any]]:
    """Calculate the batch size from which 100 workers of one core each do not wait for Prefect or for the run itself.

    Args:
        engines: Measurements of `engines`.
        prefect: Measurement of `prefect_rate`.

    Returns:
        One for each engine that was measured, from its measurement with the most workers.
    """
    most = {one["engine"]: one for one in sorted(engines, key=lambda one: one["workers"])}
    found = []
    for engine, task_runs in TASK_RUNS.items():
        if engine not in most:
            continue
        rates = {"prefect": prefect["recorded_per_second"] / task_runs}
        if engine != "shards" and (used := most[engine]["cpu_s_per_batch"].get("run")):
            rates["run"] = 1 / used  # one process hands out all batches
        bound = min(rates, key=lambda name: rates[name])
        seconds = WORKERS / rates[bound]
        chunks = seconds / MODEL_CORE_S
        found.append(
            {
                "engine": engine,
                "workers": WORKERS,
                "task_runs_per_batch": task_runs,
                "batches_per_second_at_most": {name: round(rate, 1) for name, rate in rates.items()},
                "bound": bound,
                "batch_s_at_least": round(seconds, 1),
                "batch_chunks_at_least": round(chunks),
                "batch_mib_at_least": round(chunks * CHUNK_BYTES / MEBIBYTE, 2),
            }
        )
    return found
