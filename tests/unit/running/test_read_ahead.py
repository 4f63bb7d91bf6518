"""A read that begins before its result is asked for."""

import asyncio

import pytest

from roost.flows.running.listing import ReadAhead


async def test_it_begins_with_the_context_and_is_read_once() -> None:
    reads = []

    async def read() -> int:
        reads.append("begun")
        return len(reads)

    async with ReadAhead(read) as ahead:
        await asyncio.sleep(0)
        assert reads == ["begun"]
        assert [await ahead(), await ahead()] == [1, 1]


async def test_after_a_failure_it_reads_again() -> None:
    outcomes = iter([OSError("away"), 7])

    async def read() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    async with ReadAhead(read) as ahead:
        with pytest.raises(OSError, match="away"):
            await ahead()
        assert await ahead() == 7


async def test_it_ends_with_the_context_although_its_result_was_not_asked_for() -> None:
    ended = asyncio.Event()

    async def read() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with ReadAhead(read):
        await asyncio.sleep(0)
    assert ended.is_set()
