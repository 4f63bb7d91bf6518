"""`roost mcp`, with the official client over standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from tests.integration.handbook import QUESTIONS

from roost.flows.operations.search import search_index
from roost.tasks.search.hits import SearchOptions

WHERE = "ordinal >= 1"


@asynccontextmanager
async def connected(index: str) -> AsyncIterator[Client]:
    """A client of `roost mcp`, started as an agent starts it."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "roost", "mcp", "-i", index], env=dict(os.environ)
    )
    async with Client(server) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


@pytest.mark.usually("lite")
async def test_an_agent_finds_what_a_search_finds_and_leaves_the_file_to_others(handbook: str) -> None:
    async with connected(handbook) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "passage", "ask", "status"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        for where in ("", WHERE):
            found = await call(client, "search", query=QUESTIONS[0], k=4, where=where)
            # In this process, while the server runs: on Milvus Lite it has closed the file.
            [ours] = await search_index(handbook, [QUESTIONS[0]], 4, SearchOptions(where=where))
            assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in ours]
        best = found["hits"][0]
        passage = await call(client, "passage", id=best["id"], neighbours=1)
        assert (passage["text"], len(passage["before"])) == (best["text"], 1)
        [index] = (await call(client, "status", index=handbook))["indexes"]
        assert index["chunks"] > 100
        assert "has a field 'sorce'" in await refusal(client, "search", query="ladder", where="sorce == 1")
        assert "has no chunk \"x'] or" in await refusal(client, "passage", id="x'] or ordinal >= 0 or id in ['y")
        assert "no index 'nothing'" in await refusal(client, "search", query="ladder", index="nothing")
        assert "ROOST_LLM__MODEL" in await refusal(client, "ask", question="why?")


async def test_two_hundred_calls_at_once_are_all_answered(
    standalone_handbook: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, index = standalone_handbook
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    async with connected(index) as client:
        first = await call(client, "search", query=QUESTIONS[0], k=3)
        calls = (call(client, "search", query=QUESTIONS[0], k=3) for _ in range(200))
        assert all(found == first for found in await asyncio.gather(*calls))
