"""The cores and the memory that this process may use: the host's, or less where a container's limit says so."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

#: File of each process that names its cgroups, one a line: `ID:CONTROLLERS:PATH`.
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


@lru_cache(maxsize=1)
def cores() -> int:
    """Number of cores that this process may use, limited by its affinity and by a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_cgroup_quotas()]))


def memory_mb() -> int:
    """Give the smallest limit of memory, MiB, that applies to this process; of cgroup v1 or v2 in a container."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits()]) // 2**20


def _cgroup_limits() -> Iterator[int]:
    """Yield the memory limits, bytes, of this process's cgroups and of those that contain them."""
    for folder, is_v1 in _cgroups("memory"):
        limit = _read(folder / ("memory.limit_in_bytes" if is_v1 else "memory.max"))
        if limit.isdigit():  # else there is no limit
            yield int(limit)


def _cgroup_quotas() -> Iterator[int]:
    """Yield the cores, rounded up, that the quotas of these cgroups allow: a share of the time of each period."""
    for folder, is_v1 in _cgroups("cpu"):
        if is_v1:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        else:
            quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield math.ceil(int(quota) / int(period))


def _cgroups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process's cgroups with a controller, and of those that contain them; whether v1."""
    for line in _read(_OWN_CGROUPS).splitlines():  # nothing where it is not Linux
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP_ROOT / controller if controllers else _CGROUP_ROOT
        own = root / path.lstrip("/")
        yield from ((folder, bool(controllers)) for folder in (own, *own.parents) if folder.is_relative_to(root))


def _read(file: Path) -> str:
    """Read a file's text; empty where there is no such file."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
