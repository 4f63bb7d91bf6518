"""Worker processes: what their start costs, and that it holds up nobody."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT

from roost.tasks.workers import Workers

PROGRAM = """
import asyncio, os
from pathlib import Path
Path("imports").open("a").write("x")
from roost.tasks.workers import Workers

async def main():
    with Workers(workers=2, memory_mb=512) as workers:
        await asyncio.gather(*(workers.run(os.getpid, ()) for _ in range(4)))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_do_not_import_the_program_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / "imports").read_text() == "x"


async def test_the_loop_goes_on_while_processes_start() -> None:
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            at = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - at)

    async def late(workers: Workers) -> None:
        await asyncio.sleep(0.1)
        await workers.run(os.getpid, ())

    with Workers(workers=1, memory_mb=512) as workers:
        beating = asyncio.ensure_future(beat())
        started = time.perf_counter()
        await asyncio.gather(workers.run(os.getpid, ()), late(workers))
        took = time.perf_counter() - started
        beating.cancel()
    assert longest < took / 2  # the start is most of what it took; below a second of it none is the loop's


async def test_processes_have_imported_what_they_need_and_not_what_that_would_like_to_have() -> None:
    names = ["nltk", "llama_index.core.node_parser", "pypdf", "roost.tasks.steps.cut", "scipy", "sklearn"]
    with Workers(workers=1, memory_mb=2048) as workers:
        imported = await workers.run(eval, (f"[name for name in {names} if name in __import__('sys').modules]",))
    assert imported == names[:4]
