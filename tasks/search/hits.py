"""What a search is asked (`SearchOptions`) and what it finds (`Hit`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from roost.tasks.errors import UsageError

#: Fields of a chunk that a hit contains.
FIELDS = ["doc_id", "uri", "source", "page", "heading", "ordinal", "text"]


class HitRow(TypedDict):
    """A hit as Milvus returns it: key and score of a chunk, and its `FIELDS`. `page` is 0 without pages."""

    id: str
    score: float
    doc_id: str
    uri: str
    source: str
    page: int
    heading: str
    ordinal: int
    text: str


class RetrieverKeywords(TypedDict, total=False):
    """Options of a retriever of LlamaIndex or LangChain; see `SearchOptions`."""

    where: str
    fusion: str
    weight: float | None
    rerank: int | None
    diverse: bool
    by_document: bool
    parent_tokens: int


class SearchKeywords(RetrieverKeywords, total=False):
    """Options of `roost.search`; see `SearchOptions`."""

    neighbours: int


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search besides the query and the number of hits.

    where: Filter, as in `source == "handbook" and page > 2`; empty for none.
    fusion: How to search an index with words: `dense`, `sparse`, `rrf`, `minmax` or `weighted`, see
        `roost.tasks.versions.fusion`; empty for the way that was chosen for the index.
    weight: Share of the vectors in the score, from 0 to 1; for `weighted`.
    rerank: Number of the best candidates that the reranker orders anew, at least as many as are wanted; 0: it is not
        used; None: ROOST_SEARCH__RERANK_COUNT, if ROOST_SEARCH__RERANKER is set.
    diverse: Choose hits that differ from each other, by maximal marginal relevance.
    by_document: Return only the best hit of each document.
    neighbours: Chunks before and after each hit to return with it, >= 0.
    parent_tokens: Most tokens of the section around each hit to return with it; 0: none. Retrievers return the sections
        in place of the chunks, each once.
    """

    where: str = ""
    fusion: str = ""
    weight: float | None = None
    rerank: int | None = None
    diverse: bool = False
    by_document: bool = False
    neighbours: int = 0
    parent_tokens: int = 0


@dataclass(frozen=True)
class Parent:
    """The section around a hit.

    text: Its text.
    first, last: Ordinals of its first and last chunk.
    """

    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found.

    rank: Position, from 1.
    score: The metric's own score; for COSINE and IP higher is nearer. Of `sparse` that of BM25, of a
        fusion the fused score; where hits were reranked, the score of the reranker.
    uri: Path of the document in its source, or the address of its row.
    source: Name of the source.
    page: Page number, from 1; None if the document's format has no pages.
    heading: Headings above the chunk, or empty.
    text: Text of the chunk.
    doc_id: Id of the document.
    id: Id of the chunk.
    ordinal: Number of the chunk in its document, from 0.
    before, after: Texts of the neighbouring chunks, in the document's order.
    parent: The section around it; None unless it was asked for.
    """

    rank: int
    score: float
    uri: str
    source: str
    page: int | None
    heading: str
    text: str
    doc_id: str
    id: str
    ordinal: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    parent: Parent | None = None

    @property
    def place(self) -> str:
        """Document and page as text: `10k/uber_2021.pdf, page 57`."""
        return f"{self.uri}, page {self.page}" if self.page else self.uri

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON keys."""
        return asdict(self)


def check_query(query: str) -> None:
    """Refuse an empty query.

    Raises:
        UsageError: It has no words.
    """
    if not query.strip():
        raise UsageError("the query is empty: write a question or a few words")


def hit_row(found: Mapping[str, Any]) -> HitRow:
    """Make a hit row of a row that Milvus found with `FIELDS`."""
    fields = found["entity"]
    return HitRow(
        id=str(found["id"]),
        score=float(found["distance"]),
        doc_id=fields["doc_id"],
        uri=fields["uri"],
        source=fields["source"],
        page=fields["page"],
        heading=fields["heading"],
        ordinal=fields["ordinal"],
        text=fields["text"],
    )


def make_hits(rows: Iterable[HitRow]) -> list[Hit]:
    """Make hits of rows, best first."""
    return [
        Hit(
            rank=rank,
            score=row["score"],
            uri=row["uri"],
            source=row["source"],
            page=row["page"] or None,
            heading=row["heading"],
            text=row["text"],
            doc_id=row["doc_id"],
            id=row["id"],
            ordinal=row["ordinal"],
        )
        for rank, row in enumerate(rows, start=1)
    ]
