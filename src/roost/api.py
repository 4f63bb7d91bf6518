"""The public functions `search` and `ingest`, and their async forms; import them from `roost`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from roost.flows.operations.search import search_index
from roost.tasks.errors import UsageError
from roost.tasks.search.hits import Hit, SearchKeywords, SearchOptions, check_query
from roost.tasks.search.open_index import refuse_running_loop
from roost.tasks.settings import set_library_defaults
from roost.tasks.sources.source import Source

if TYPE_CHECKING:
    from roost.flows.parameters import IngestEvaluation
    from roost.tasks.steps.report import IngestReport

#: A place of documents (file, folder, glob, URL, table), or a `Source` with its own options.
SourceLike = str | Path | Source


class IngestKeywords(TypedDict, total=False):
    """Options of `ingest`: the fields of `roost.flows.parameters.IngestRequest`, which describes them.

    Without `dry_run`, so that the result is always an `IngestReport`; `roost ingest --dry-run` plans only.
    """

    uris: list[str]
    keep_missing: bool
    retry_quarantined: bool
    checksum: bool
    on_conflict: Literal["wait", "refuse"]
    max_delete_fraction: float | None
    allow_deletions: list[str]
    delete_excluded: bool
    shards: int
    evaluation: IngestEvaluation


def search(query: str, index: str = "docs", *, k: int = 5, **options: Unpack[SearchKeywords]) -> list[Hit]:
    """Find the k best chunks for a query, best first.

    It opens the index, loads the model, searches and closes; for several queries use `roost.open_index`.

    Example:
        for hit in search("how long may I stay outside?", index="handbook", k=3, where="page > 0"):
            print(f"{hit.score:.3f}", hit.uri, hit.page, hit.text[:60])

    Args:
        query: Question or keywords.
        index: Name of the index.
        k: Hits wanted, >= 1.
        options: `where`, `fusion`, `weight`, `rerank`, `diverse`, `by_document`, `neighbours`, `parent_tokens`: see
            `roost.SearchOptions`.

    Returns:
        At most k hits; `text`, `score`, `uri`, `page` and more, see `roost.Hit`.

    Raises:
        UsageError: There is no such index, the filter or fusion is invalid, the query is empty, or an event loop is
            running in this thread: use `asearch` there.
        ConflictError: Another process has locked the file of Milvus Lite.
    """
    refuse_running_loop("search", "await asearch(...)")
    return asyncio.run(asearch(query, index, k=k, **options))


async def asearch(query: str, index: str = "docs", *, k: int = 5, **options: Unpack[SearchKeywords]) -> list[Hit]:
    """Do the same as `search` without blocking the running event loop.

    Example:
        hits = await asearch("how long may I stay outside?", index="handbook", k=3)
    """
    set_library_defaults(quiet=True)
    check_query(query)
    if k < 1:
        raise UsageError(f"k={k}: at least one hit must be wanted")
    [hits] = await search_index(index, [query], k, SearchOptions(**options))
    return hits


def ingest(
    sources: SourceLike | Sequence[SourceLike], index: str = "docs", **options: Unpack[IngestKeywords]
) -> IngestReport:
    """Bring an index in step with its sources: the same flow as `roost ingest`, in this process.

    Example:
        report = ingest(["./handbook", "https://example.org/faq.csv"], index="handbook")
        print(report.documents.added, report.documents.quarantined)

    Args:
        sources: Where the documents are, all of them: documents that are missing from a source are deleted from the
            index. A file, folder, glob, URL or table, or a `Source` with its own options; one or several.
        index: Name of the index: letters, digits, single underscores.
        options: `uris`, `keep_missing`, `retry_quarantined`, `checksum`, `on_conflict`, `max_delete_fraction`,
            `allow_deletions`, `delete_excluded`, `shards`, `evaluation`: see `roost.flows.parameters.IngestRequest`.

    Raises:
        UsageError: A source, an option or a setting is invalid, or an event loop is running in this thread: use
            `aingest` there.
        ConflictError: Another run writes the index.
        TransientError: Milvus was unavailable for longer than the retries last.
    """
    refuse_running_loop("ingest", "await aingest(...)")
    return asyncio.run(aingest(sources, index, **options))


async def aingest(
    sources: SourceLike | Sequence[SourceLike], index: str = "docs", **options: Unpack[IngestKeywords]
) -> IngestReport:
    """Do the same as `ingest` inside the running event loop.

    Example:
        report = await aingest("./handbook", index="handbook")
    """
    set_library_defaults(quiet=True)
    return await (await asyncio.to_thread(_prepare_ingest, sources, index, options))()


def _prepare_ingest(
    sources: SourceLike | Sequence[SourceLike], index: str, options: IngestKeywords
) -> Callable[[], Coroutine[Any, Any, IngestReport]]:
    """Check the arguments and import Prefect, which takes seconds, outside the event loop's thread.

    Returns:
        The run, to be awaited in the event loop.

    Raises:
        UsageError: An argument is invalid.
    """
    from pydantic import ValidationError

    from roost.flows.ingest import ingest as ingest_flow
    from roost.flows.parameters import IngestRequest
    from roost.flows.running.run import run_flow_async
    from roost.tasks.steps.report import IngestReport

    places = [sources] if isinstance(sources, str | Path | Source) else sources
    try:
        listed = [place if isinstance(place, Source) else Source(uri=str(place)) for place in places]
        request = IngestRequest(sources=listed, index=index, **options)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    async def run() -> IngestReport:
        _, report = await run_flow_async(ingest_flow, request)
        assert isinstance(report, IngestReport)  # noqa: S101  a plan is the report of a dry run only
        return report

    return run
