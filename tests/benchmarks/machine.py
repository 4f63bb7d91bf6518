"""What a benchmark ran on: processor and its instructions for small numbers, cores, memory, load at the start."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from roost.tasks.host_resources import cores, memory_mb

#: Instructions that decide how fast a model in bf16 or int8 is.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def describe_machine() -> dict[str, Any]:
    """Describe this machine, without its name."""
    info = _cpu_info()
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name") or platform.processor(),
        "cores": cores(),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "memory_gib": round(memory_mb() / 1024),
        "load_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu_info() -> dict[str, str]:
    """Read the facts of the first core that Linux names."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    first = file.read_text().split("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
