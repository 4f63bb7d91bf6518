"""Reports of ingest and backfill runs, and of their plans, as frozen dataclasses with one JSON form each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Self

import polars as pl

from roost.tasks.models.recipe import Recipe
from roost.tasks.records import ACTIONS, WORK_ACTIONS, Chunked, Embedded, Loaded, Plan, Written, text_bytes
from roost.tasks.steps.deletions import SourceDeletions, deletions_by_source
from roost.tasks.steps.rule_report import RuleReport
from roost.tasks.steps.select import Selected
from roost.tasks.steps.unfit_values import UnfitValue, add_unfit_values, find_unfit_values
from roost.tasks.steps.unread_pages import UnreadPages, find_unread_pages
from roost.tasks.versions.ledger import INDEXED
from roost.tasks.versions.version import Version

#: Bytes of text in a chunk, for estimates: the average of the Prefect documentation's chunks at chunk size 240.
CHUNK_BYTES = 540
#: Bytes of text of one token, for estimates: of the same chunks, 94,302 tokens in 526 chunks.
TOKEN_BYTES = 3.0
#: Rows of a table of rejects; the JSON report and the ledger have all of them.
MAX_REJECT_ROWS = 200
#: URIs of no source that the lines about a backfill's choice name.
MAX_UNKNOWN_NAMED = 20
_SECONDS_DIGITS = 3
_COST_DIGITS = 6


class _Counts:
    """Counts that can be added up field by field."""

    def __add__(self, other: Self) -> Self:
        sums = (mine + others for mine, others in zip(astuple(self), astuple(other), strict=True))  # type: ignore[call-overload]
        return type(self)(*sums)


@dataclass(frozen=True)
class DocumentCounts:
    """Documents of a run by what was, or would be, done to them.

    listed: Documents that the sources contain; of a backfill, those that it chose.
    metadata: Unchanged documents that got other fields by rules; nothing of them was embedded.
    quarantined: Documents that are not indexed, with a reason each.
    retried: Documents whose last write was cut off, or whose failure is tried again.
    forced: Unchanged documents that a backfill embeds again.
    reread: Unchanged documents that another parser, or another version of theirs, reads again.
    skipped: Files without text.
    """

    listed: int = 0
    unchanged: int = 0
    added: int = 0
    changed: int = 0
    metadata: int = 0
    renamed: int = 0
    deleted: int = 0
    forced: int = 0
    reread: int = 0
    quarantined: int = 0
    retried: int = 0
    skipped: int = 0

    @property
    def has_work(self) -> bool:
        """Whether documents are to be loaded, chunked, embedded and written."""
        return bool(self.added or self.changed or self.retried or self.forced or self.reread)

    def named(self) -> Iterator[str]:
        """Name the counts that are not zero, without `listed`: `3 added`."""
        words = {"metadata": "with other metadata"}
        counts = ((words.get(name, name), count) for name, count in asdict(self).items() if name != "listed")
        return (f"{count} {name}" for name, count in counts if count)


@dataclass(frozen=True)
class ChunkCounts(_Counts):
    """Chunks of a run. `reused` chunks took a stored vector; `deleted` are rows of the version's collection."""

    embedded: int = 0
    reused: int = 0
    written: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class TokenCounts(_Counts):
    """Tokens of the embedding model. `truncated` tokens were beyond the model's window and were not embedded."""

    embedded: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class StageSeconds(_Counts):
    """Seconds of each stage, summed over batches: stages overlap, so the sum may exceed the run's seconds."""

    discover: float = 0.0
    load: float = 0.0
    chunk: float = 0.0
    embed: float = 0.0
    index: float = 0.0


@dataclass(frozen=True)
class RunSeconds:
    """Seconds of the whole run and of each stage (see `StageSeconds`), rounded to milliseconds."""

    total: float
    discover: float
    load: float
    chunk: float
    embed: float
    index: float

    @classmethod
    def of(cls, total: float, stages: StageSeconds) -> Self:
        """Round the seconds of a run and of its stages."""
        return cls(*(round(seconds, _SECONDS_DIGITS) for seconds in (total, *astuple(stages))))


@dataclass(frozen=True)
class StoreCounts:
    """What the index contains after the run, read back from Milvus: indexed documents and chunk rows."""

    documents: int
    chunks: int


@dataclass(frozen=True)
class Reject:
    """A document that is not indexed. `reason` is `kind: detail`."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Chosen:
    """What a backfill chose from.

    listed: Documents of the sources; of those that were not listed, the ones that were looked at.
    chosen: Documents that the backfill chose of them.
    undated: Documents without a modification time, which `since` and `until` leave out.
    unknown: Requested URIs that name no document of the sources.
    resumed: Whether it continues a forced backfill that was interrupted.
    """

    listed: int
    chosen: int
    undated: int
    unknown: tuple[str, ...]
    resumed: bool

    @classmethod
    def of(cls, selected: Selected, *, resumed: bool) -> Self:
        """Count what was selected."""
        return cls(selected.listed, selected.documents.height, selected.undated, selected.unknown, resumed)


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    chunks, tokens: To embed, roughly.
    seconds: At the last run's speed; None where that is unknown.
    cost: Of the tokens; None where no price is set.
    """

    chunks: int
    seconds: float | None
    tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True)
class IngestReport:
    """What an ingest or a backfill did.

    index: Name of the index.
    version: Collection that was written.
    fingerprint: Its recipe's.
    unlisted: `source/prefix` of what could not be listed; nothing there was added or deleted.
    deleted_by_source: Number of deleted documents by source.
    not_chosen: Number of indexed documents, by source, that globs, include and exclude no longer choose; they stay.
    empty_sources: Sources that contain no document.
    rejects: All quarantined documents of these sources, by URI.
    cost: Of the embedded tokens; None where no price is set.
    chosen: What a backfill chose from; None for an ingest.
    unread_pages: Pages of documents that this run read and indexed without them.
    metadata: The rules for metadata, and what did not fit the kinds of fields.
    """

    index: str
    version: str
    fingerprint: str
    documents: DocumentCounts
    unlisted: tuple[str, ...]
    chunks: ChunkCounts
    tokens: TokenCounts
    store: StoreCounts
    seconds: RunSeconds
    rejects: tuple[Reject, ...]
    deleted_by_source: Mapping[str, int] = field(default_factory=dict)
    not_chosen: Mapping[str, int] = field(default_factory=dict)
    empty_sources: tuple[str, ...] = ()
    cost: float | None = None
    chosen: Chosen | None = None
    unread_pages: tuple[UnreadPages, ...] = ()
    metadata: RuleReport = field(default_factory=RuleReport)

    @property
    def outcome(self) -> str:
        """State name: `Partial` when documents are quarantined, not found or not listed, else `Completed`."""
        is_partial = self.documents.quarantined or self.unlisted or (self.chosen and self.chosen.unknown)
        return "Partial" if is_partial else "Completed"

    def summary(self) -> str:
        """Say in one line what happened."""
        shared = f", {self.chunks.reused} identical chunks shared" if self.chunks.reused else ""
        return (
            f"{self.index}: {self.documents.listed} documents {'chosen' if self.chosen else 'listed'} "
            f"({', '.join(self.documents.named()) or 'nothing to do'}); "
            f"{self.chunks.embedded} chunks embedded{shared}; "
            f"{self.store.documents} documents, {self.store.chunks} chunks in the index"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the report as its documented JSON object; `chosen` is there for a backfill only."""
        return _as_json(self)


@dataclass(frozen=True)
class PlanReport:
    """What an ingest or a backfill would do; nothing was written.

    index: Name of the index.
    version: Live version's collection; None when there is no such index yet.
    fingerprint: Recipe's with which the run would embed.
    would_refuse: Why the run would be refused; None when it would not.
    deletions: The documents that would be deleted, by source.
    not_chosen, empty_sources: As in `IngestReport`.
    chosen: What a backfill chose from; None for an ingest.
    metadata: The rules for metadata.
    """

    index: str
    version: str | None
    fingerprint: str
    documents: DocumentCounts
    estimate: Estimate
    would_refuse: str | None
    deletions: tuple[SourceDeletions, ...] = ()
    not_chosen: Mapping[str, int] = field(default_factory=dict)
    empty_sources: tuple[str, ...] = ()
    chosen: Chosen | None = None
    dry_run: bool = True
    metadata: RuleReport = field(default_factory=RuleReport)

    @property
    def outcome(self) -> str:
        """State name: `Partial` when requested documents were not found, else `Completed`."""
        return "Partial" if self.chosen and self.chosen.unknown else "Completed"

    def as_dict(self) -> dict[str, Any]:
        """Give the report as its documented JSON object; `chosen` is there for a backfill only."""
        return _as_json(self)


@dataclass
class Tally:
    """Counts that a run adds up while it works; `rejected` is the `doc_id` of refused documents.

    unfit: Name of a field -> values of documents' own that were left out of it.
    """

    documents: int = 0
    chunks: ChunkCounts = ChunkCounts()
    tokens: TokenCounts = TokenCounts()
    seconds: StageSeconds = StageSeconds()
    rejected: list[str] = field(default_factory=list)
    unread_pages: list[UnreadPages] = field(default_factory=list)
    unfit: dict[str, UnfitValue] = field(default_factory=dict)

    @classmethod
    def of(cls, *records: Loaded | Chunked | Embedded | Written) -> Self:
        """Count one batch by the records of its stages."""
        tally = cls()
        for record in records:
            tally._add(record)
        return tally

    def _add(self, record: Loaded | Chunked | Embedded | Written) -> None:
        """Add one batch's record of one stage. The embedding seconds are the embedder's, added by the caller."""
        match record:
            case Loaded():
                self.seconds += StageSeconds(load=record.seconds)
                self.unread_pages += find_unread_pages(record.documents)
                add_unfit_values(self.unfit, find_unfit_values(record.documents))
            case Chunked():
                self.seconds += StageSeconds(chunk=record.seconds)
            case Embedded():
                self.chunks += ChunkCounts(embedded=record.embedded, reused=record.reused)
                self.tokens += TokenCounts(embedded=record.tokens, truncated=record.truncated)
            case Written():
                self.seconds += StageSeconds(index=record.seconds)
                self.chunks += ChunkCounts(written=record.written, deleted=record.deleted)
                self.documents += record.documents
                self.rejected += record.rejects["doc_id"].to_list()

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.documents += other.documents
        self.chunks += other.chunks
        self.tokens += other.tokens
        self.seconds += other.seconds
        self.rejected += other.rejected
        self.unread_pages += other.unread_pages
        add_unfit_values(self.unfit, other.unfit.values())


def cost_of(tokens: int, price: float) -> float | None:
    """Give the cost of tokens at a price of a million; None for no price."""
    return round(tokens * price / 1_000_000, _COST_DIGITS) if price else None


def make_report(
    version: Version, plan: Plan, tally: Tally, ledger: pl.DataFrame, chunks: int, seconds: float, *, price: float = 0.0
) -> IngestReport:
    """Put the report of a run together.

    Args:
        version: What was written.
        plan: What was planned.
        tally: What was done.
        ledger: The index's whole ledger, a frame of `ledger.COUNTED` at least, read after the run.
        chunks: Rows of the version's collection, counted after the run.
        seconds: Duration of the whole run.
        price: Price of a million tokens; 0 for none.
    """
    done = plan.documents.filter(~pl.col("doc_id").is_in(tally.rejected))
    refused = ledger.join(plan.documents, on="doc_id", how="semi").filter(pl.col("reason") != "")
    counts = _action_counts(done) | {"quarantined": refused.height}
    return IngestReport(
        index=version.index,
        version=version.name,
        fingerprint=version.recipe.fingerprint,
        documents=DocumentCounts(listed=plan.listed, skipped=plan.skipped.total(), **counts),
        unlisted=tuple(f"{source}/{prefix}" for source, prefix in plan.unlisted),
        chunks=tally.chunks,
        tokens=tally.tokens,
        store=StoreCounts(documents=ledger.filter(pl.col("status") == INDEXED).height, chunks=chunks),
        seconds=RunSeconds.of(seconds, tally.seconds),
        rejects=tuple(Reject(uri, reason) for uri, reason in refused.sort("uri").select("uri", "reason").iter_rows()),
        deleted_by_source={one.source: len(one.documents) for one in deletions_by_source(done)},
        not_chosen=plan.not_chosen,
        empty_sources=plan.empty_sources,
        unread_pages=tuple(sorted(tally.unread_pages, key=lambda one: one.uri)),
        metadata=RuleReport.of(plan, tally.unfit.values()),
        cost=cost_of(tally.tokens.embedded, price),
    )


def make_plan_report(
    index: str,
    recipe: Recipe,
    version: Version | None,
    plan: Plan,
    *,
    refusal: str | None = None,
    chosen: Chosen | None = None,
    price: float = 0.0,
) -> PlanReport:
    """Report what a run would do, with an estimate of what is to be embedded, and of its time and cost.

    Args:
        index: Name of the index.
        recipe: Recipe with which the run would embed.
        version: Live version; None when there is no such index yet.
        plan: What would be done.
        refusal: Why the run would be refused; None when it would not.
        chosen: What a backfill chose from.
        price: Price of a million tokens; 0 for none.
    """
    work = plan.with_actions(*WORK_ACTIONS).filter(pl.col("action") != "renamed")
    chunks = int(work.select((text_bytes() / CHUNK_BYTES).ceil().sum()).item() or 0)
    tokens = round(work.select(text_bytes().sum()).item() / TOKEN_BYTES)
    seconds = round(chunks / version.rate) if version and version.rate else None
    counts = _action_counts(plan.documents)
    return PlanReport(
        index=index,
        version=version.name if version else None,
        fingerprint=recipe.fingerprint,
        documents=DocumentCounts(listed=plan.listed, skipped=plan.skipped.total(), **counts),
        estimate=Estimate(chunks, seconds, tokens, cost_of(tokens, price)),
        would_refuse=refusal,
        deletions=deletions_by_source(plan.documents),
        not_chosen=plan.not_chosen,
        empty_sources=plan.empty_sources,
        chosen=chosen,
        metadata=RuleReport.of(plan),
    )


def _action_counts(documents: pl.DataFrame) -> dict[str, int]:
    """Count planned documents by the field of `DocumentCounts` that counts their action."""
    found = dict(documents["action"].value_counts().iter_rows())
    return {"retried" if action == "retry" else action: int(found.get(action, 0)) for action in ACTIONS}


def _as_json(report: IngestReport | PlanReport) -> dict[str, Any]:
    """Give a report's fields as dictionaries and lists; `chosen` only where there is one."""
    fields = asdict(report)
    if report.chosen is None:
        del fields["chosen"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
