"""The cores and the memory that this process may use: the host's, or less where a container's limit says so."""

from __future__ import annotations

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
    import joblib

    return int(joblib.cpu_count())


def memory_mb() -> int:
    """Give the smallest limit of memory, MiB, that applies to this process; of cgroup v1 or v2 in a container."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_cgroup_limits()]) // 2**20


def _cgroup_limits() -> Iterator[int]:
    """Yield the memory limits, bytes, of this process's cgroups and of those that contain them."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (_CGROUP_ROOT / "memory", "memory.limit_in_bytes") if controllers else (_CGROUP_ROOT, "memory.max")
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield from _read_limit(folder / name)


def _read_limit(file: Path) -> Iterator[int]:
    """Yield the number in a cgroup's file; nothing where there is no file, or no limit (`max`)."""
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():
        yield int(text)
