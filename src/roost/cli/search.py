"""The commands that look into an index: `search`, `ask`."""

from __future__ import annotations

from typing import Annotated

import typer

from roost.cli.app import Index, Json, app
from roost.cli.output.print_json import print_json
from roost.tasks.errors import RoostError, UsageError

Where = Annotated[str, typer.Option("--where", "-w", help='Filter, as in: source == "handbook" and page > 2.')]


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    index: Index = "docs",
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="Passages to show.")] = 5,
    where: Where = "",
    diverse: Annotated[bool, typer.Option("--diverse", help="Passages unlike each other.")] = False,
    by: Annotated[str, typer.Option("--by", help="Rank passages (chunk), or documents by their best one.")] = "chunk",
    neighbours: Annotated[int, typer.Option(min=0, max=10, help="Passages before and after each to show.")] = 0,
    client: Annotated[str, typer.Option(help="Whose search: pymilvus, llamaindex, langchain.")] = "pymilvus",
    as_json: Json = False,
) -> None:
    """Find passages by a question or a few words."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.flows.operations.search import search_index
    from roost.flows.running.run import run_async
    from roost.tasks.errors import unknown_value
    from roost.tasks.search.retrieve import SearchOptions

    if not query.strip():
        raise UsageError("the query is empty: write a question or a few words")
    if by not in ("chunk", "document"):
        raise UsageError(unknown_value("--by", by, ("chunk", "document")))
    how = SearchOptions(where=where, diverse=diverse, by_document=by == "document", neighbours=neighbours)
    [hits] = run_async(lambda: search_index(index, [query], k, how, client))
    if as_json:
        print_json({"query": query, "index": index, "hits": [hit.as_dict() for hit in hits]})
    else:
        from roost.cli.output.show_hits import show_hits

        show_hits(query, hits, where=where)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    index: Index = "docs",
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=100, help="Passages to answer from.")] = 6,
    where: Where = "",
    diverse: Annotated[bool, typer.Option("--diverse", help="Passages unlike each other.")] = False,
    as_json: Json = False,
) -> None:
    """Have a language model answer from the passages found, and name them."""
    from roost.tasks.settings import set_library_defaults

    set_library_defaults(quiet=True)
    from roost.cli.output.show_hits import show_hits, show_piece, show_sources
    from roost.flows.operations.search import find_passages
    from roost.flows.running.run import run_async
    from roost.tasks.search.retrieve import SearchOptions

    if not question.strip():
        raise UsageError("the question is empty")
    how = SearchOptions(where=where, diverse=diverse)
    from roost.tasks.search.answer import answer_from
    from roost.tasks.settings import load_settings

    hits = run_async(lambda: find_passages(question, index, k, how))
    asked = {"question": question, "index": index}
    if not hits:
        raise UsageError("no passage was found, so there is nothing to answer from")
    try:
        answer = run_async(
            lambda: answer_from(question, hits, load_settings().llm, (lambda _: None) if as_json else show_piece)
        )
    except RoostError as error:
        if as_json:
            why = {"answer": None, "why": str(error), "cited": [], "passages": [hit.as_dict() for hit in hits]}
            print_json({**asked, **why})
        else:
            show_hits(question, hits)
        raise
    if as_json:
        print_json({**asked, **answer.as_dict()})
    else:
        show_sources(answer.hits[: answer.given], answer.cited)
