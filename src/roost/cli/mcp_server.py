"""The server of `roost mcp`: tools that search indexes, for agents. All of them only read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

import roost
from roost.flows.operations.index_reader import IndexReader
from roost.tasks.errors import RoostError, UsageError
from roost.tasks.search.hits import SearchOptions
from roost.tasks.settings import Settings

#: Hits from which the language model answers.
HITS_PER_ANSWER = 6
#: Chunks that one search returns at most, neighbours included: an agent's context is short.
MAX_CHUNKS = 200
#: Quarantined documents that `status` names of each index.
MAX_REJECTS = 20

_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Index = Annotated[str, Field(description="Name of the index; `status` lists all.")]
Where = Annotated[str, Field(description='Filter, as in: source == "handbook" and page > 2. Empty for none.')]


def make_server(settings: Settings, index: str) -> MCPServer[None]:
    """Make the server.

    Args:
        settings: Of Milvus, the embedding model and the language model.
        index: Name of the index that is searched when a call names none.
    """
    # MCPServer adds a handler of its own to the root logger unless there is one.
    to_stderr = logging.StreamHandler()
    to_stderr.setLevel(logging.ERROR)
    logging.getLogger().addHandler(to_stderr)
    reader = IndexReader(settings)

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        async with reader:
            yield

    server: MCPServer[None] = MCPServer(
        "roost",
        version=roost.__version__,
        instructions="Search documents that Roost indexed. Cite the `uri` and `page` of the hits that you use.",
        log_level="ERROR",
        lifespan=lifespan,
    )
    _add_tools(server, reader, settings, index)
    return server


def _add_tools(server: MCPServer[None], reader: IndexReader, settings: Settings, default: str) -> None:
    @server.tool(annotations=_READ_ONLY)
    async def search(
        query: Annotated[str, Field(description="Question or keywords.")],
        index: Index = default,
        k: Annotated[int, Field(ge=1, le=100, description="Number of hits.")] = 5,
        where: Where = "",
        by: Annotated[Literal["chunk", "document"], Field(description="Rank chunks, or documents.")] = "chunk",
        neighbours: Annotated[int, Field(ge=0, le=10, description="Chunks before and after each hit.")] = 0,
    ) -> dict[str, Any]:
        """Find the passages of an index that match a question or a few words, best first."""
        options = SearchOptions(where=where, by_document=by == "document", neighbours=neighbours)
        with _tool_errors():
            _check_size(k, neighbours)
            hits = await reader.search(index, query, k, options)
        return {"query": query, "index": index, "hits": [hit.as_dict() for hit in hits]}

    @server.tool(annotations=_READ_ONLY)
    async def passage(
        id: Annotated[str, Field(description="Id of a hit.")],
        index: Index = default,
        neighbours: Annotated[int, Field(ge=0, le=10, description="Chunks before and after it.")] = 2,
    ) -> dict[str, Any]:
        """Read one passage with the text before and after it."""
        with _tool_errors():
            return (await reader.passage(index, id, neighbours)).as_dict()

    @server.tool(annotations=_READ_ONLY)
    async def ask(
        question: Annotated[str, Field(description="The question.")], index: Index = default, where: Where = ""
    ) -> dict[str, Any]:
        """Have the configured language model answer a question from the index, with citations."""
        from roost.tasks.search.answer import answer_from, check_llm

        with _tool_errors():
            check_llm(settings.llm)
            hits = await reader.search(index, question, HITS_PER_ANSWER, SearchOptions(where=where))
            answer = await answer_from(question, hits, settings.llm, lambda _: None)
        return {"question": question, "index": index, **answer.as_dict()}

    @server.tool(annotations=_READ_ONLY)
    async def status(
        index: Annotated[str, Field(description="Name of one index; empty for all.")] = "",
    ) -> dict[str, Any]:
        """List indexes with their documents, chunks and the first of their quarantined documents."""
        with _tool_errors():
            report = await reader.status(index)
            return _shortened(report, names_rejects=not settings.search.required_filter.strip())


def _check_size(k: int, neighbours: int) -> None:
    """Refuse a search that would return too many chunks.

    Raises:
        UsageError: It would return more than `MAX_CHUNKS`.
    """
    if (count := k * (1 + 2 * neighbours)) > MAX_CHUNKS:
        raise UsageError(
            f"k={k} with neighbours={neighbours} may return {count} chunks, more than {MAX_CHUNKS}: ask for fewer hits "
            "or neighbours, and read on with `passage`"
        )


def _shortened(report: dict[str, Any], *, names_rejects: bool) -> dict[str, Any]:
    """Limit the quarantined documents of each index, and say how many there are; with a required filter name none."""
    count = MAX_REJECTS if names_rejects else 0
    indexes = [
        one | {"rejects": one["rejects"][:count], "quarantined": len(one["rejects"])} for one in report["indexes"]
    ]
    return report | {"indexes": indexes}


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Tell the agent the message of Roost's errors; of any other error the library tells none."""
    try:
        yield
    except RoostError as error:
        raise ToolError(str(error)) from None
