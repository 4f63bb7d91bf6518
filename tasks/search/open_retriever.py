"""An index open as a retriever of LlamaIndex or of LangChain.

    with open_retriever("handbook", "llamaindex", k=5) as retriever:
        nodes = retriever.retrieve("who waxes the skis?")

`aopen_retriever` is for async code; `open_retriever` refuses to be used inside a running loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from roost.tasks.errors import UsageError, unknown_value
from roost.tasks.search.hits import RetrieverKeywords
from roost.tasks.search.open_index import aopen_index, open_index, refuse_running_loop

if TYPE_CHECKING:
    from roost.tasks.search.langchain import IndexRetriever as LangChainRetriever
    from roost.tasks.search.llamaindex import IndexRetriever as LlamaIndexRetriever

FRAMEWORKS = ("llamaindex", "langchain")


@overload
@contextmanager
def open_retriever(
    index: str, framework: Literal["llamaindex"], *, k: int = 5, **options: Unpack[RetrieverKeywords]
) -> Iterator[LlamaIndexRetriever]: ...


@overload
@contextmanager
def open_retriever(
    index: str, framework: Literal["langchain"], *, k: int = 5, **options: Unpack[RetrieverKeywords]
) -> Iterator[LangChainRetriever]: ...


@contextmanager
def open_retriever(index: str, framework: str, *, k: int = 5, **options: Unpack[RetrieverKeywords]) -> Iterator[Any]:
    """Open an index as a retriever of one framework, in sync code.

    Example:
        with open_retriever("handbook", "langchain", k=5) as retriever:
            documents = retriever.invoke("who waxes the skis?")

    Args:
        index: Name of the index.
        framework: `llamaindex` or `langchain`.
        k: Chunks to return, >= 1.
        options: `where`, `fusion`, `weight`, `rerank`, `diverse`, `by_document`, `parent_tokens`: see
            `roost.SearchOptions`.

    Raises:
        UsageError: See `open_index`; or the framework is unknown, or an option is invalid for this index.
    """
    refuse_running_loop("open_retriever", "async with aopen_retriever(...)")
    _check_framework(framework)
    with open_index(index) as opened:
        make = opened.llamaindex_retriever if framework == "llamaindex" else opened.langchain_retriever
        yield make(k=k, **options)


@overload
@asynccontextmanager
def aopen_retriever(
    index: str, framework: Literal["llamaindex"], *, k: int = 5, **options: Unpack[RetrieverKeywords]
) -> AsyncIterator[LlamaIndexRetriever]: ...


@overload
@asynccontextmanager
def aopen_retriever(
    index: str, framework: Literal["langchain"], *, k: int = 5, **options: Unpack[RetrieverKeywords]
) -> AsyncIterator[LangChainRetriever]: ...


@asynccontextmanager
async def aopen_retriever(
    index: str, framework: str, *, k: int = 5, **options: Unpack[RetrieverKeywords]
) -> AsyncIterator[Any]:
    """Open an index as a retriever of one framework, in async code; see `open_retriever`.

    Example:
        async with aopen_retriever("handbook", "llamaindex", k=5) as retriever:
            nodes = await retriever.aretrieve("who waxes the skis?")
    """
    _check_framework(framework)
    async with aopen_index(index) as opened:
        make = opened.allamaindex_retriever if framework == "llamaindex" else opened.alangchain_retriever
        yield await make(k=k, **options)


def _check_framework(framework: str) -> None:
    if framework not in FRAMEWORKS:
        raise UsageError(unknown_value("framework", framework, FRAMEWORKS))
