"""A coroutine in a loop of its own: it may block, its result and error come back, a cancellation reaches it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from roost.tasks.evaluation.own_loop import run_in_own_loop


async def test_what_blocks_its_loop_does_not_block_the_callers() -> None:
    go_on = threading.Event()

    async def work() -> str:
        return "done" if go_on.wait(10) else "the caller's loop did not run"

    running = asyncio.ensure_future(run_in_own_loop(work))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await running == "done"


async def test_an_error_comes_back() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_in_own_loop(work)


async def test_a_cancellation_reaches_the_coroutine_and_waits_for_its_clean_up() -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(30)
        finally:
            time.sleep(0.05)  # noqa: ASYNC251  as a client that closes
            cleaned.set()

    running = asyncio.ensure_future(run_in_own_loop(work))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cleaned.is_set()


async def test_a_cancellation_before_the_coroutine_begins_lets_it_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    run, begun = asyncio.run, list[bool]()
    waiting, cancelled = threading.Event(), threading.Event()

    def run_late(work: Coroutine[Any, Any, None]) -> None:
        waiting.set()
        assert cancelled.wait(60)
        run(work)

    async def work() -> None:
        begun.append(True)

    monkeypatch.setattr(asyncio, "run", run_late)
    running = asyncio.ensure_future(run_in_own_loop(work))
    assert await asyncio.to_thread(waiting.wait, 60)
    running.cancel()
    await asyncio.sleep(0)  # it is told of the cancellation
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert begun == []
