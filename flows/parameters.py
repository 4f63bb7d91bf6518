"""Request models: the parameters of each flow.

The forms in the Prefect UI and the options of the command line are made from these models: a parameter's name, help
text, bounds, default and position (the order in the class) are written here and nowhere else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from roost.tasks.errors import unknown_value
from roost.tasks.evaluation.thresholds import ThresholdRows
from roost.tasks.form_model import FormModel
from roost.tasks.sources.source import Source
from roost.tasks.steps.selection import Selection

IndexName = Annotated[
    str,
    Field(
        title="Index",
        description="Name of the index: letters, digits, single underscores.",
        examples=["docs", "handbook"],
        # Only in the form, which then refuses a wrong name before a run starts; the flows have a clearer message.
        json_schema_extra={"pattern": "^[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*$", "maxLength": 200},
    ),
]
DryRun = Annotated[bool, Field(title="Dry run", description="Show the plan; write nothing.")]
OnConflict = Annotated[
    Literal["wait", "refuse"],
    Field(title="If another run writes the index", description="If another run writes the index: wait, or refuse."),
]
Shards = Annotated[
    int,
    Field(
        ge=1,
        le=200,
        title="Shards",
        description="Number of runs in the work pool that share the work; 1 with Milvus Lite.",
    ),
]
Split = Annotated[
    str, Field(title="Split", description="Name of the qrels file in the questions (default: test, or the only one).")
]
SampleSize = Annotated[
    int,
    Field(
        ge=1,
        le=5000,
        title="Sample size",
        description="Without questions: number of sentences to sample from the index as synthetic questions.",
    ),
]
Questions = Annotated[
    str,
    Field(
        title="Questions",
        description="Folder with queries.jsonl and qrels/*.tsv, or a .jsonl file; empty: sampled from the index.",
    ),
]
MinimumValues = Annotated[
    ThresholdRows,
    Field(title="Thresholds", description="Minimum values of measures; a value below its threshold fails the run."),
]
MaxDrop = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        title="Max nDCG@10 drop",
        description="Largest allowed drop of nDCG@10 since the last passed (or else the first) evaluation of these "
        "questions.",
    ),
]
AllowDeletions = Annotated[
    list[str],
    Field(
        title="Allow deletions",
        description="Name of a source of which any number of missing documents may be deleted, even all of them.",
    ),
]


class VerifyRequest(FormModel):
    """Compare an index with its ledger."""

    index: IndexName = "docs"
    repair: bool = Field(
        False,
        title="Repair",
        description="Delete left-over rows; mark damaged documents, which the next ingest writes again.",
    )
    max_delete_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Max share of deletions",
        description="With repair: largest share of the index's documents of which rows may be deleted "
        "(default: ROOST_INGEST__MAX_DELETE_FRACTION).",
    )


class EvaluationRequest(FormModel):
    """Measure retrieval quality and latency of an index."""

    index: IndexName = "docs"
    questions: Questions = ""
    split: Split = ""
    sample: SampleSize = 50
    thresholds: MinimumValues = Field([])
    max_drop: MaxDrop = None
    timings: Literal["tutorials", "all", "none"] = Field(
        "tutorials",
        title="Timings",
        description="Compare sync with async calls: as the Milvus tutorials do (minutes on a server), all, or none.",
    )
    counts: list[int] = Field([], title="Counts", description="Numbers of calls to time (default: 10, 100 and 1,000).")
    latency_ms: float = Field(
        0.0,
        ge=0,
        le=10_000,
        title="Added latency, ms",
        description="Round-trip time in ms to add before the server while timing, to simulate a remote server.",
    )
    compare: list[Literal["dense", "sparse", "rrf", "minmax", "chosen", "rerank"]] = Field(
        [],
        title="Compare",
        description="Ways to search to measure side by side, by vectors and words; differences are from the first one. "
        "chosen: as the index is searched; rerank: the same with the reranker.",
    )
    answers: int = Field(
        0,
        ge=0,
        le=500,
        title="Answers",
        description="Number of questions that the language model (ROOST_LLM__MODEL) answers, for a person to read.",
    )

    @field_validator("counts")
    @classmethod
    def _counts_are_calls(cls, counts: list[int]) -> list[int]:
        if any(not 1 <= count <= 100_000 for count in counts):
            raise ValueError("counts are from 1 to 100,000")
        return sorted(set(counts))

    @field_validator("compare")
    @classmethod
    def _ways_are_different(cls, ways: list[str]) -> list[str]:
        return list(dict.fromkeys(ways))


class IngestEvaluation(FormModel):
    """The evaluation that the deployment `evaluation` runs after an ingest."""

    questions: Questions = ""
    split: Split = ""
    sample: SampleSize = 50
    thresholds: MinimumValues = Field([])
    max_drop: MaxDrop = 0.05

    def request(self, index: str) -> EvaluationRequest:
        """Make the request of the evaluation: quality only, no timings."""
        return EvaluationRequest(index=index, timings="none", **dict(self))


class IngestRequest(FormModel):
    """Bring an index in step with its sources."""

    sources: list[Source] = Field(
        min_length=1,
        title="Sources",
        description="List every source of this index. Documents no longer found in a source are deleted from the "
        "index.",
    )
    index: IndexName = "docs"
    dry_run: DryRun = False
    uris: list[str] = Field(
        [],
        title="Only these documents",
        description="Names of documents: path in the source, source/path, or location. Only these are looked at in "
        "folders, object stores and databases, and deleted if they are gone; other sources are listed whole.",
    )
    keep_missing: bool = Field(
        False, title="Keep missing", description="Do not delete documents that are gone from their source."
    )
    retry_quarantined: bool = Field(
        False,
        title="Retry quarantined",
        description="Process quarantined documents again although they have not changed.",
    )
    checksum: bool = Field(
        False,
        title="Compare checksums",
        description="Compare contents instead of sizes and modification times.",
    )
    max_delete_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Max share of deletions",
        description="Largest share of each source, and of the index, that this run may delete "
        "(default: ROOST_INGEST__MAX_DELETE_FRACTION).",
    )
    allow_deletions: AllowDeletions = Field([])
    delete_excluded: bool = Field(
        False,
        title="Delete excluded",
        description="Delete documents that globs, include and exclude no longer choose; else they stay searchable.",
    )
    on_conflict: OnConflict = "wait"
    shards: Shards = 1
    evaluation: IngestEvaluation = Field(
        IngestEvaluation(),
        title="Evaluation after the run",
        description="What the deployment `evaluation` measures when this run has ended.",
    )

    @model_validator(mode="after")
    def _allows_own_sources(self) -> IngestRequest:
        keys = [source.key for source in self.sources]
        if unknown := [name for name in self.allow_deletions if name not in keys]:
            raise ValueError(f"allow_deletions: {unknown_value('source', unknown[0], keys)}")
        return self


class BackfillRequest(FormModel):
    """Index chosen documents of some sources again; delete nothing."""

    sources: list[Source] = Field(
        min_length=1, title="Sources", description="The sources from which documents are chosen."
    )
    index: IndexName = "docs"
    dry_run: DryRun = False
    since: datetime | None = Field(
        None,
        title="Modified since",
        description="Only documents modified at this time or later; UTC unless the time has a zone.",
    )
    until: datetime | None = Field(
        None,
        title="Modified before",
        description="Only documents modified before this time; UTC unless the time has a zone.",
    )
    only: list[str] = Field(
        [],
        title="Only these paths",
        description="Glob that the document's path in its source, or the path of its table, must match.",
        examples=[["reports/2026/**"]],
    )
    uris: list[str] = Field(
        [],
        title="Only these documents",
        description="Names of documents: path in the source, source/path, or location. Folders, object stores and "
        "databases are not listed for them.",
    )
    only_failed: bool = Field(
        False, title="Only quarantined", description="Only quarantined documents; they are processed again."
    )
    force: bool = Field(
        False,
        title="Force",
        description="Parse and embed unchanged documents too, without reusing stored vectors.",
    )
    restart: bool = Field(
        False,
        title="Start over",
        description="With force: start over, even if the same backfill was interrupted before.",
    )
    on_conflict: OnConflict = "wait"
    shards: Shards = 1

    @field_validator("since", "until")
    @classmethod
    def _with_zone(cls, time: datetime | None) -> datetime | None:
        return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time

    @model_validator(mode="after")
    def _in_order(self) -> BackfillRequest:
        if self.since and self.until and self.since >= self.until:
            raise ValueError(f"since {self.since.isoformat()} is not before until {self.until.isoformat()}")
        return self

    @property
    def selection(self) -> Selection:
        """The criteria for documents."""
        return Selection(self.since, self.until, tuple(self.only), tuple(self.uris), only_failed=self.only_failed)


class ShardRequest(FormModel):
    """Process one part of the plan of another run. That run creates the request; people do not."""

    number: int = Field(ge=1, title="Number", description="Number of this shard, from 1.")
    count: int = Field(ge=1, title="Count", description="Number of shards of the parent run.")
    version: str = Field(title="Version", description="Version that the parent run writes; the live one.")
    parent_lease: str = Field(title="Parent lease", description="Key of the parent run's writer lease on the index.")
    run_id: str = Field(title="Parent run", description="Run id that the ledger rows get.")
    ingest: IngestRequest | None = Field(None, title="Ingest", description="Request of the parent run, if an ingest.")
    backfill: BackfillRequest | None = Field(
        None, title="Backfill", description="Request of the parent run, if a backfill."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> ShardRequest:
        if (self.ingest is None) == (self.backfill is None):
            raise ValueError("a shard needs the request of either an ingest or a backfill")
        if self.number > self.count:
            raise ValueError(f"shard {self.number} is more than the {self.count} shards of its run")
        return self

    @property
    def _parent_request(self) -> IngestRequest | BackfillRequest:
        request = self.ingest or self.backfill
        assert request is not None  # noqa: S101  by the validator
        return request

    @property
    def title(self) -> str:
        """Name of the flow run."""
        return f"shard {self.number} of {self.count}: {self.index}"

    @property
    def index(self) -> str:
        """Name of the index that the parent run writes."""
        return self._parent_request.index

    @property
    def sources(self) -> list[Source]:
        """Sources of the parent run."""
        return self._parent_request.sources


class RebuildRequest(FormModel):
    """Build a new version beside the live one, and promote it if its retrieval quality is not worse."""

    index: IndexName = "docs"
    sources: list[Source] = Field(
        [], title="Sources", description="The sources of the new version; empty: those that the index was built from."
    )
    fresh: bool = Field(
        False,
        title="Rebuild unchanged",
        description="Rebuild even if model and chunking are unchanged; start over if a rebuild was interrupted.",
    )
    reuse: bool = Field(
        True,
        title="Reuse vectors",
        description="Reuse the live version's vectors of unchanged chunks, if the model is the same.",
    )
    model: str = Field("", title="Model", description="Override ROOST_EMBEDDING__MODEL.")
    chunk_size: int | None = Field(
        None, ge=16, title="Chunk size", description="Override ROOST_CHUNKING__SIZE, in tokens."
    )
    chunk_overlap: int | None = Field(
        None, ge=0, title="Chunk overlap", description="Override ROOST_CHUNKING__OVERLAP, in tokens."
    )
    questions: str = Field(
        "",
        title="Questions",
        description="Folder or .jsonl file of questions to compare both versions with; empty: sampled from the live "
        "version.",
    )
    split: Split = ""
    sample: SampleSize = 200
    thresholds: ThresholdRows = Field(
        [],
        title="Thresholds",
        description="Minimum values of measures that the new version must reach to be promoted.",
    )
    max_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Max nDCG@10 drop",
        description="Largest allowed drop of nDCG@10 below the live version's; 1 allows any.",
    )
    promote: bool = Field(
        True, title="Promote", description="Switch the index to the new version if all thresholds are met."
    )
    leave_out: bool = Field(
        False,
        title="Leave out uncovered documents",
        description="Continue although some indexed documents are in none of the sources; the new version will not "
        "contain them.",
    )
    max_delete_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Max share of missing documents",
        description="Largest share of the live version's documents that the new version may lack "
        "(default: ROOST_INGEST__MAX_DELETE_FRACTION).",
    )
    allow_deletions: AllowDeletions = Field([])
