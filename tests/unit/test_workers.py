"""Worker processes without starting any: how many there are, and what their start leaves of `__main__`."""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from roost.tasks import host_resources, workers
from roost.tasks.workers import Workers


def test_two_pools_that_start_at_once_leave_main_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(process: Any) -> None:
        time.sleep(0.05)

    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(start))
    main = sys.modules["__main__"]
    threads = []
    for delay in (0.0, 0.02):
        time.sleep(delay)
        threads.append(threading.Thread(target=workers._Process._Popen, args=(None,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    left, sys.modules["__main__"] = sys.modules["__main__"], main
    assert left is main


@pytest.mark.parametrize(
    ("cores", "memory_mb", "expected"),
    [
        (2, 64_000, (2, 2048)),
        (16, 64_000, (4, 2048)),
        (16, 6 * 1024, (1, 2048)),  # the pod of the Kubernetes example
        (16, 1024, (1, 512)),
        (16, 300, (1, 256)),
    ],
)
def test_the_processes_fit_into_the_cores_and_the_memory_of_the_container(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory_mb: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: cores)
    monkeypatch.setattr(workers, "host_memory_mb", lambda: memory_mb)
    made = Workers(workers=0, memory_mb=2048)
    assert (made.size, made._memory_mb) == expected


def test_a_shard_has_no_more_processes_than_fit_into_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "host_memory_mb", lambda: 6 * 1024)
    assert [workers.fitting_workers(count, 1024) for count in (0, 1, 3, 16)] == [1, 1, 3, 3]


def test_a_number_of_processes_that_was_asked_for_is_taken() -> None:
    made = Workers(workers=7, memory_mb=4096)
    assert (made.size, made._memory_mb) == (7, 4096)


@pytest.mark.parametrize(
    ("cgroups", "limits", "expected_mb"),
    [
        ("0::/\n", {"memory.max": "6442450944\n"}, 6144),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "1073741824\n"}, 1024),
        ("5:cpu:/x\n3:memory:/x\n", {"memory/x/memory.limit_in_bytes": "536870912\n"}, 512),
        ("3:memory:/docker/x\n", {"memory/memory.limit_in_bytes": "536870912\n"}, 512),  # its own root is mounted
    ],
)
def test_the_memory_of_a_container_is_its_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroups: str, limits: dict[str, str], expected_mb: int
) -> None:
    (tmp_path / "own").write_text(cgroups)
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(host_resources, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(host_resources, "_CGROUP_ROOT", tmp_path)
    assert host_resources.memory_mb() == expected_mb


@pytest.mark.parametrize(
    ("cgroups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "100000 100000\n"}, 1),
        ("5:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 1),
        ("5:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 16),
    ],
)
def test_the_cores_of_a_container_are_its_quota_rounded_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroups: str, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "own").write_text(cgroups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(host_resources, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(host_resources, "_CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert host_resources.cores.__wrapped__() == expected


def test_without_a_limit_it_is_the_memory_of_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_resources, "_OWN_CGROUPS", tmp_path / "nowhere")
    assert host_resources.memory_mb() > 256
