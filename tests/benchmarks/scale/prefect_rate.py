"""How many task runs a second one Prefect server takes: trivial tasks, from a few processes, each some at a time.

`python -m tests.benchmarks.scale.prefect_rate TASKS WIDTH` is one of these processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import httpx
import psutil

#: Processes, tasks of each, and tasks that each runs at once. Beyond 3,000 waiting ones the server drops some.
CLIENTS, TASKS, WIDTH = 2, 1_200, 4
TIMEOUT_S = 120.0


def own_seconds(process: psutil.Process) -> float:
    """Processor seconds of one process so far; 0 when it has ended."""
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


def family_seconds(pid: int) -> float:
    """Processor seconds so far of a process and its descendants, those that have ended included."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
    return total


def count_task_runs(api: str, **filters: Any) -> int:
    """Count the completed task runs that a server has recorded."""
    wanted = {"state": {"type": {"any_": ["COMPLETED"]}}} | filters
    return int(httpx.post(f"{api}/task_runs/count", json={"task_runs": wanted}, timeout=60, trust_env=False).json())


def measure_rate(api: str, server_pid: int) -> dict[str, Any]:
    """Run trivial tasks as fast as they go, until the server has recorded all of them."""
    before, used = count_task_runs(api), family_seconds(server_pid)
    command = [sys.executable, "-m", "tests.benchmarks.scale.prefect_rate", str(TASKS), str(WIDTH)]
    env = os.environ | {"PREFECT_LOGGING_LEVEL": "WARNING"}
    clients = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        for _ in range(CLIENTS)
    ]
    for client in clients:  # each says when it has imported Prefect
        assert client.stdout is not None
        client.stdout.readline()
    started = time.monotonic()
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("\n")
        client.stdin.flush()
    ended = [json.loads(client.communicate()[0].splitlines()[-1]) for client in clients]
    made_s = max(one["ended"] for one in ended) - started
    client_cpu_s = sum(one["cpu_s"] for one in ended)
    wanted, recorded, recorded_s = CLIENTS * TASKS, 0, 0.0
    while recorded < wanted and time.monotonic() - started < TIMEOUT_S:
        time.sleep(0.5)
        if (now := count_task_runs(api) - before) > recorded:
            recorded, recorded_s = now, time.monotonic() - started
    server_cpu_s = family_seconds(server_pid) - used
    return {
        "clients": CLIENTS,
        "at_once": CLIENTS * WIDTH,
        "task_runs": wanted,
        "recorded": recorded,
        "made_per_second": round(wanted / made_s, 1),
        "recorded_per_second": round(recorded / recorded_s, 1),
        "server_cpu_ms_per_task_run": round(1000 * server_cpu_s / recorded, 1),
        "client_cpu_ms_per_task_run": round(1000 * client_cpu_s / wanted, 1),
    }


def main() -> None:
    """Run the tasks of one process when told; print when they had ended, and its processor seconds."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(name="nothing", cache_policy=NO_CACHE, persist_result=False)
    async def nothing() -> None: ...

    @flow(name="task runs", persist_result=False)
    async def many(count: int, width: int) -> None:
        waiting = iter(range(count))

        async def lane() -> None:
            for _ in waiting:
                await nothing()

        await asyncio.gather(*(lane() for _ in range(width)))

    print("ready", flush=True)
    sys.stdin.readline()
    used = os.times()
    asyncio.run(many(int(sys.argv[1]), int(sys.argv[2])))
    now = os.times()
    cpu_s = now.user + now.system - used.user - used.system
    print(json.dumps({"ended": time.monotonic(), "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
