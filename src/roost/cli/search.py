"""The commands that query an index: `search`, `ask`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from roost.cli import next_steps
from roost.cli.begin import begin
from roost.cli.command_help import command
from roost.cli.flow_runs import run_operation
from roost.cli.options import Function, index_option, json_option
from roost.cli.output.next_step import tell_next
from roost.cli.output.print_json import print_json
from roost.tasks.errors import RoostError, UsageError

#: Most tokens of a section that `--parent` shows.
PARENT_TOKENS = 500


def filter_options(function: Function) -> Function:
    """Add `--where` and `--diverse`."""
    where = click.option(
        "--where", "-w", metavar="FILTER", default="", help='Filter, as in: source == "handbook" and page > 2.'
    )
    diverse = click.option("--diverse", is_flag=True, help="Prefer chunks that differ from each other.")
    return where(diverse(function))


def fusion_options(function: Function) -> Function:
    """Add `--fusion`, `--weight` and `--rerank`."""
    fusion = click.option(
        "--fusion",
        type=click.Choice(["dense", "sparse", "rrf", "minmax", "weighted"]),
        help="How to use vectors and words (default: as roost tune chose, else rrf).",
    )
    weight = click.option(
        "--weight", type=click.FloatRange(0, 1), metavar="W", help="Share of the vectors; implies --fusion weighted."
    )
    rerank = click.option(
        "--rerank",
        type=click.IntRange(0, 1000),
        metavar="N",
        help="Number of the best chunks that the reranker orders; 0: do not use it (default: as set).",
    )
    return fusion(weight(rerank(function)))


def limit_option(default: int, most: int, text: str) -> Callable[[Function], Function]:
    """Add `--k`."""
    return click.option(
        "--k", "-k", type=click.IntRange(1, most), metavar="N", default=default, show_default=True, help=text
    )


@command(
    examples=(
        'roost search "how do I reset my password?" --index docs',
        'roost search "late trains" --where \'source == "handbook" and page > 2\' --parent',
        'roost search "late trains" --k 20 --by document --json',
    ),
)
@click.argument("query", help="A question or a few words.")
@index_option()
@limit_option(5, 1000, "Number of hits to show.")
@filter_options
@fusion_options
@click.option(
    "--by",
    type=click.Choice(["chunk", "document"]),
    default="chunk",
    show_default=True,
    help="Rank chunks, or documents by their best chunk.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(0, 10),
    metavar="N",
    default=0,
    help="Number of chunks before and after each hit to show.",
)
@click.option("--parent", is_flag=True, help=f"Show the section around each hit, up to {PARENT_TOKENS} tokens.")
@click.option(
    "--parent-tokens", type=click.IntRange(1, 8000), metavar="N", help="Show the section, up to N tokens of it."
)
@json_option
def search(
    *,
    query: str,
    index: str,
    k: int,
    where: str,
    diverse: bool,
    fusion: str | None,
    weight: float | None,
    rerank: int | None,
    by: str,
    neighbours: int,
    parent: bool,
    parent_tokens: int | None,
    as_json: bool,
) -> None:
    """Find the chunks that match a question or a few words."""
    begin(quiet=True)
    from roost.flows.operations.search import search_index
    from roost.tasks.search.hits import SearchOptions, check_query

    check_query(query)
    options = SearchOptions(
        where=where,
        fusion=fusion or "",
        weight=weight,
        rerank=rerank,
        diverse=diverse,
        by_document=by == "document",
        neighbours=neighbours,
        parent_tokens=parent_tokens or (PARENT_TOKENS if parent else 0),
    )
    [hits] = run_operation(lambda _: search_index(index, [query], k, options))
    if as_json:
        print_json({"query": query, "index": index, "hits": [hit.as_dict() for hit in hits]})
    else:
        from roost.cli.output.show_hits import show_hits

        show_hits(query, hits, where=where)
        has_sections = bool(options.parent_tokens)
        tell_next(next_steps.after_search(query, index, found=bool(hits), has_sections=has_sections))


@command(
    examples=(
        'roost ask "How do I reset my password?" --index docs',
        'roost ask "Who mends the radio?" --k 10 --json',
    ),
)
@click.argument("question", help="The question.")
@index_option()
@limit_option(6, 100, "Number of chunks to answer from.")
@filter_options
@fusion_options
@json_option
def ask(
    *,
    question: str,
    index: str,
    k: int,
    where: str,
    diverse: bool,
    fusion: str | None,
    weight: float | None,
    rerank: int | None,
    as_json: bool,
) -> None:
    """Let a language model answer from the chunks found."""
    from roost.tasks.settings import load_settings

    begin(quiet=True)
    from roost.cli.output.show_hits import show_hits, show_piece, show_sources
    from roost.flows.operations.search import search_index
    from roost.tasks.search.answer import answer_from
    from roost.tasks.search.hits import SearchOptions

    if not question.strip():
        raise UsageError("the question is empty")
    options = SearchOptions(where=where, fusion=fusion or "", weight=weight, rerank=rerank, diverse=diverse)
    [hits] = run_operation(lambda _: search_index(index, [question], k, options))
    if not hits:
        raise UsageError("no chunk was found, so there is nothing to answer from")
    asked: dict[str, Any] = {"question": question, "index": index}
    show = (lambda _: None) if as_json else show_piece
    try:
        answer = run_operation(lambda _: answer_from(question, hits, load_settings().llm, show))
    except RoostError as error:
        if as_json:
            failed = {"answer": None, "why": str(error), "cited": [], "hits": [hit.as_dict() for hit in hits]}
            print_json({**asked, **failed})
        else:
            show_hits(question, hits)
        raise
    if as_json:
        print_json({**asked, **answer.as_dict()})
    else:
        show_sources(answer.hits[: answer.given], answer.cited)
        tell_next(next_steps.after_search(question, index, found=True, has_sections=False))
