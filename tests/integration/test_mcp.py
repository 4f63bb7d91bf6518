"""`roost mcp`, with the official client over standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.handbook import QUESTIONS

from roost.flows.operations.search import search_index
from roost.flows.operations.versions import promote_version, roll_back
from roost.flows.parameters import RebuildRequest
from roost.flows.rebuild import rebuild
from roost.flows.running.run import run_flow
from roost.tasks.search.hits import SearchOptions

if TYPE_CHECKING:
    from mcp import Client

WHERE = "ordinal >= 1"


@asynccontextmanager
async def connected(index: str) -> AsyncIterator[Client]:
    """A client of `roost mcp`, started as an agent starts it."""
    from mcp import Client, StdioServerParameters

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
        assert "2100 chunks, more than 200" in await refusal(client, "search", query="ladder", k=100, neighbours=10)


@pytest.mark.long
async def test_two_hundred_calls_at_once_are_all_answered(
    standalone_handbook: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, index = standalone_handbook
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    async with connected(index) as client:
        first = await call(client, "search", query=QUESTIONS[0], k=3)
        calls = (call(client, "search", query=QUESTIONS[0], k=3) for _ in range(200))
        assert all(found == first for found in await asyncio.gather(*calls))


@pytest.mark.long
def test_a_rollback_and_a_promotion_under_load_give_no_error_and_no_empty_answer(
    ingest: Any, index: str, standalone: str, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    ingest(folder(**{"ships.md": "# Ships\n\n" + "A ship sails at noon with all her lamps lit. " * 40}))
    _, built = run_flow(rebuild, RebuildRequest(index=index, chunk_size=64, chunk_overlap=8, max_drop=1))
    texts = asyncio.run(asked_while_the_alias_moves(index, built.version))
    assert len(set(map(len, texts))) > 1  # both versions answered
    [hits] = asyncio.run(search_index(index, ["lamps"], 2))
    assert texts[-1] == hits[0].text


async def asked_while_the_alias_moves(index: str, newest: str) -> list[str]:
    """Ask all the time while the index is rolled back and promoted again: the best text of each answer."""
    texts: list[str] = []
    done = asyncio.Event()
    async with connected(index) as client:

        async def ask() -> None:
            found = await call(client, "search", query="lamps", k=2)
            texts.append(found["hits"][0]["text"])

        async def ask_on() -> None:
            while not done.is_set():
                await ask()

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_on())
            for move in (lambda: roll_back(index), lambda: promote_version(index, newest, force=False)):
                await move()
                for _ in range(4):
                    await ask()
            done.set()
        await ask()
    return texts
