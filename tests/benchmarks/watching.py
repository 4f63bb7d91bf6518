"""How long after a save `roost watch` has brought the text into the index: `python -m tests.benchmarks.watching`.

A Milvus Lite server holds the index, so that a reader can search while the watch writes. Each save puts a word of its
own into a file of a folder; the reader searches for it until its chunk is the first hit. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from tests.benchmarks.machine import describe_machine

_POLL_S = 0.05
_TIMEOUT_S = 60.0
_QUANTILES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def main() -> None:
    """Measure, and print the result."""
    options = argparse.ArgumentParser()
    options.add_argument("--saves", type=int, default=100)
    options.add_argument("--documents", type=int, default=50)
    options.add_argument("--pause", type=float, default=2.0, help="mean time between two saves, s")
    given = options.parse_args()
    machine = describe_machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= _servers(stack, folder)
        docs = folder / "docs"
        docs.mkdir()
        for number in range(given.documents):
            _save(docs, number, f"start{number}")
        stack.enter_context(_watching(folder))
        seconds = asyncio.run(_measure(docs, given.saves, given.documents, given.pause))
        runs = len((folder / "out").read_text().splitlines()) - 1
    quantiles = {name: round(float(np.quantile(seconds, share)), 2) for name, share in _QUANTILES.items()}
    numbers = {"saves": len(seconds), "documents": given.documents, "pause_s": given.pause, "runs": runs}
    print(json.dumps({**numbers, "seconds": quantiles, "machine": machine}))


def _servers(stack: ExitStack, folder: Path) -> dict[str, str]:
    from roost.deployments.local.servers import milvus_lite, prefect_server

    milvus = stack.enter_context(milvus_lite(folder / "milvus"))
    prefect = stack.enter_context(prefect_server(folder / "prefect"))
    return {"ROOST_MILVUS__URI": milvus.uri, "PREFECT_API_URL": prefect.uri, "PREFECT_HOME": str(folder / "home")}


@contextmanager
def _watching(folder: Path) -> Iterator[None]:
    """Run `roost watch`, from the end of its first run."""
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "roost", "watch", "docs", "--json"], cwd=folder, stdout=out)
    try:
        while not (folder / "out").read_text().strip():
            assert process.poll() is None, "roost watch ended"
            time.sleep(_POLL_S)
        yield
    finally:
        process.terminate()
        process.wait()


def _save(docs: Path, number: int, word: str) -> None:
    (docs / f"{number}.md").write_text(f"# Harbour {word}\n\nThe ferry {word} leaves the harbour {word} at noon.")


async def _measure(docs: Path, saves: int, documents: int, pause: float) -> list[float]:
    """Save at random times, one after another or several within a run, and give the seconds until each is found."""
    from roost import SearchOptions, aopen_index

    chance = random.Random(1)
    found: list[float] = []

    async def wait_for(number: int, word: str) -> None:
        started = time.perf_counter()
        while time.perf_counter() - started < _TIMEOUT_S:
            hits = await index.asearch(f"the ferry {word}", k=3, options=SearchOptions(where=f'uri == "{number}.md"'))
            if any(word in hit.text for hit in hits):
                break
            await asyncio.sleep(_POLL_S)
        found.append(time.perf_counter() - started)

    async with aopen_index("docs") as index, asyncio.TaskGroup() as group:
        for save in range(saves):
            number, word = save % documents, f"word{chance.getrandbits(32):x}"
            _save(docs, number, word)
            group.create_task(wait_for(number, word))
            await asyncio.sleep(chance.expovariate(1 / pause))
    return found


if __name__ == "__main__":
    main()
