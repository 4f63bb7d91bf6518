"""Every flow on one index, each watched from its first line to its last: how long, and where, it blocks the loop."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from tests.loop_watch import LoopWatch


async def flows(folder: Path) -> dict[str, Any]:
    """Run all flows.

    Returns:
        `longest_ms`: the longest block of the loop, wall time; `by_flow`: the same for each flow; `blocks`: the
        callbacks over the bound of processor time, with the stack that was seen in them.
    """
    with tempfile.TemporaryDirectory() as history:
        os.environ["ROOST_EVALUATION__FOLDER"] = history
        return await _watch_flows(folder)


async def _watch_flows(folder: Path) -> dict[str, Any]:
    from roost.flows import backfill, evaluation, ingest, rebuild, verify
    from roost.flows import parameters as of
    from roost.tasks.sources.source import Source

    index, sources = f"bench{uuid.uuid4().hex[:12]}", [Source(uri=str(folder))]
    runs: list[tuple[Any, Any]] = [
        (ingest.ingest, of.IngestRequest(sources=sources, index=index)),
        (backfill.backfill, of.BackfillRequest(sources=sources, index=index)),
        (verify.verify, of.VerifyRequest(index=index)),
        (evaluation.evaluation, of.EvaluationRequest(index=index, timings="none")),
        (rebuild.rebuild, of.RebuildRequest(index=index, chunk_size=200, max_drop=1.0)),
    ]
    longest: dict[str, float] = {}
    blocks: list[str] = []
    for flow, request in runs:
        with LoopWatch() as watch:
            await asyncio.sleep(0)  # what runs before the first await of a task is watched too
            await asyncio.ensure_future(flow(request, return_state=True))
        longest[flow.name] = round(1000 * watch.longest_wall, 1)
        blocks += [f"{flow.name}: {block}" for block in watch.slow]
    return {"longest_ms": max(longest.values()), "by_flow": longest, "blocks": blocks}
