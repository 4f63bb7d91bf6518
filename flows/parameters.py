"""What a run may be asked: the forms of the Prefect UI and the options of the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from roost.tasks.evaluation.thresholds import ThresholdRows
from roost.tasks.sources.listing import Source

#: For the form, which so refuses a wrong name before a run starts; the flows word it better.
_NAME: JsonDict = {"pattern": "^[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*$", "maxLength": 200}


class VerifyRequest(BaseModel):
    """Compare an index with its ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str = Field(
        "docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 0, **_NAME}
    )  # fmt: skip
    repair: bool = Field(
        False, title="Repair", description="Delete left-over rows; have the next ingest write damaged documents again.",
        json_schema_extra={"position": 1},
    )  # fmt: skip


class IngestRequest(BaseModel):
    """Bring an index in step with its sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: list[Source] = Field(
        min_length=1,
        title="Sources",
        description="Where the documents are: all of them, because what is missing from a source leaves the index.",
        json_schema_extra={"position": 0},
    )
    index: str = Field(
        "docs",
        title="Index",
        description="Name that readers use: letters, digits, single underscores.",
        examples=["docs", "handbook"],
        json_schema_extra={"position": 1, **_NAME},
    )
    dry_run: bool = Field(
        False, title="Only plan", description="Show what would be done; write nothing.",
        json_schema_extra={"position": 2},
    )  # fmt: skip
    keep_missing: bool = Field(
        False, title="Keep missing", description="Do not delete documents that are gone from their source.",
        json_schema_extra={"position": 3},
    )  # fmt: skip
    retry_quarantined: bool = Field(
        False, title="Retry quarantined", description="Try failed documents again though they have not changed.",
        json_schema_extra={"position": 4},
    )  # fmt: skip
    checksum: bool = Field(
        False, title="Read everything", description="Compare contents, not sizes and times.",
        json_schema_extra={"position": 5},
    )  # fmt: skip
    on_conflict: Literal["wait", "refuse"] = Field(
        "wait", title="When another run writes", description="Wait for it to end, or refuse at once.",
        json_schema_extra={"position": 7},
    )  # fmt: skip
    max_delete_fraction: float | None = Field(
        None, ge=0, le=1, title="Most to delete",
        description="Share of the index that this run may delete; None: the setting.",
        json_schema_extra={"position": 6},
    )  # fmt: skip
    shards: int = Field(
        1, ge=1, le=200, title="Shards", description="Share the work among so many runs of the deployment shard; not "
        "on Milvus Lite.", json_schema_extra={"position": 11},
    )  # fmt: skip


class BackfillRequest(BaseModel):
    """Index chosen documents of some sources again; delete nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: list[Source] = Field(
        min_length=1, title="Sources", description="Where the documents are.", json_schema_extra={"position": 0}
    )
    index: str = Field(
        "docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 1, **_NAME}
    )  # fmt: skip
    dry_run: bool = Field(
        False, title="Only plan", description="Show what would be done; write nothing.",
        json_schema_extra={"position": 2},
    )  # fmt: skip
    since: datetime | None = Field(
        None, title="Changed since", description="Only documents modified at this time or later; UTC unless it says.",
        json_schema_extra={"position": 3},
    )  # fmt: skip
    until: datetime | None = Field(
        None, title="Changed before", description="Only documents modified before this time; UTC unless it says.",
        json_schema_extra={"position": 4},
    )  # fmt: skip
    only: list[str] = Field(
        [], title="Only paths", description="Globs, of which a document's path in its source, or its table's, must "
        "match one.", examples=[["reports/2026/**"]], json_schema_extra={"position": 5},
    )  # fmt: skip
    uris: list[str] = Field(
        [], title="Only these", description="Documents by name: path in the source, source/path, or where they lie.",
        json_schema_extra={"position": 6},
    )  # fmt: skip
    only_failed: bool = Field(
        False, title="Only failed", description="Only documents that are quarantined; they are tried again.",
        json_schema_extra={"position": 7},
    )  # fmt: skip
    force: bool = Field(
        False, title="Force", description="Read and embed unchanged documents too, without using stored vectors.",
        json_schema_extra={"position": 8},
    )  # fmt: skip
    restart: bool = Field(
        False, title="From the beginning", description="Force all again, even if the same backfill was cut off before.",
        json_schema_extra={"position": 9},
    )  # fmt: skip
    on_conflict: Literal["wait", "refuse"] = Field(
        "wait", title="When another run writes", description="Wait for it to end, or refuse at once.",
        json_schema_extra={"position": 10},
    )  # fmt: skip
    shards: int = Field(
        1, ge=1, le=200, title="Shards", description="Share the work among so many runs of the deployment shard; not "
        "on Milvus Lite.", json_schema_extra={"position": 11},
    )  # fmt: skip

    @field_validator("since", "until")
    @classmethod
    def _with_zone(cls, time: datetime | None) -> datetime | None:
        return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time

    @model_validator(mode="after")
    def _in_order(self) -> BackfillRequest:
        if self.since and self.until and self.since >= self.until:
            raise ValueError(f"since {self.since.isoformat()} is not before until {self.until.isoformat()}")
        return self


class ShardRequest(BaseModel):
    """Work on one part of what another run planned: made by that run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1, title="Number", description="Which shard this is, from 1.")
    count: int = Field(ge=1, title="Of", description="How many there are.")
    version: str = Field(title="Version", description="What the parent run writes; readers see it.")
    parent_lease: str = Field(title="Hold", description="The claim that the parent run has on the index.")
    run_id: str = Field(title="Parent", description="What the ledger names as the run.")
    ingest: IngestRequest | None = Field(None, title="Ingest", description="What the parent was asked.")
    backfill: BackfillRequest | None = Field(None, title="Backfill", description="What the parent was asked.")

    @model_validator(mode="after")
    def _one_of_two(self) -> ShardRequest:
        if (self.ingest is None) == (self.backfill is None):
            raise ValueError("a shard is of an ingest or of a backfill")
        if self.number > self.count:
            raise ValueError(f"shard {self.number} of {self.count}")
        return self

    @property
    def _asked(self) -> IngestRequest | BackfillRequest:
        asked = self.ingest or self.backfill
        assert asked is not None  # noqa: S101  by the validator
        return asked

    @property
    def title(self) -> str:
        """Name of the run."""
        return f"shard {self.number} of {self.count}: {self.index}"

    @property
    def index(self) -> str:
        """Name that readers use."""
        return self._asked.index

    @property
    def sources(self) -> list[Source]:
        """Where the documents are."""
        return self._asked.sources


class EvaluationRequest(BaseModel):
    """Measure how well and how fast an index answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str = Field(
        "docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 0, **_NAME}
    )  # fmt: skip
    questions: str = Field(
        "", title="Questions",
        description="Folder with queries.jsonl and qrels/*.tsv, or a .jsonl file; empty: drawn from the index itself.",
        json_schema_extra={"position": 1},
    )  # fmt: skip
    split: str = Field(
        "", title="Split", description="Which file of qrels; empty: test, or the only one.",
        json_schema_extra={"position": 2},
    )  # fmt: skip
    sample: int = Field(
        50, ge=1, le=5000, title="Known items", description="Without questions: how many sentences to draw.",
        json_schema_extra={"position": 3},
    )  # fmt: skip
    thresholds: ThresholdRows = Field(
        [],
        title="Thresholds",
        description="Minimum values of measures; a value below its threshold ends the run as QualityMissed.",
        json_schema_extra={"position": 4},
    )
    max_drop: float | None = Field(
        None, ge=0, le=1, title="Most to fall",
        description="How far nDCG@10 may fall since the last evaluation of these questions that passed, or the first.",
        json_schema_extra={"position": 5},
    )  # fmt: skip
    timings: Literal["tutorials", "all", "none"] = Field(
        "tutorials", title="Timings",
        description="Sync beside async: as the Milvus tutorials have it (minutes on a server), everything, or nothing.",
        json_schema_extra={"position": 6},
    )  # fmt: skip
    counts: list[int] = Field(
        [], title="Counts", description="Calls to time, in place of the usual 10, 100 and 1,000.",
        json_schema_extra={"position": 7},
    )  # fmt: skip
    latency_ms: float = Field(
        0.0, ge=0, le=10_000, title="Round trip, ms",
        description="Put so long a round trip before the server while timing, as if it were far away.",
        json_schema_extra={"position": 8},
    )  # fmt: skip

    answers: int = Field(
        0, ge=0, le=500, title="Answers",
        description="Questions for the language model to answer through the index (ROOST_LLM__MODEL), to be read.",
        json_schema_extra={"position": 9},
    )  # fmt: skip

    @field_validator("counts")
    @classmethod
    def _counts_are_calls(cls, counts: list[int]) -> list[int]:
        if any(not 1 <= count <= 100_000 for count in counts):
            raise ValueError("counts are from 1 to 100,000")
        return sorted(set(counts))


class RebuildRequest(BaseModel):
    """Build a version beside the live one, and promote it if it answers as well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str = Field(
        "docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 0, **_NAME}
    )  # fmt: skip
    sources: list[Source] = Field(
        [], title="Sources", description="Where the documents are; none: where the index's own runs last found them.",
        json_schema_extra={"position": 1},
    )  # fmt: skip
    fresh: bool = Field(
        False, title="Start anew", description="Build even with the live version's recipe, and nothing half-built on.",
        json_schema_extra={"position": 2},
    )  # fmt: skip
    reuse: bool = Field(
        True, title="Reuse vectors", description="Of texts that the same model has embedded for the live version.",
        json_schema_extra={"position": 3},
    )  # fmt: skip
    model: str = Field("", title="Model", description="Empty: the setting.", json_schema_extra={"position": 4})
    chunk_size: int | None = Field(
        None, ge=16, title="Chunk size", description="Tokens; None: the setting.", json_schema_extra={"position": 5}
    )
    chunk_overlap: int | None = Field(
        None, ge=0, title="Chunk overlap", description="Tokens; None: the setting.", json_schema_extra={"position": 6}
    )
    questions: str = Field(
        "", title="Questions", description="File or folder that both versions are asked from; empty: drawn from the "
        "live version.", json_schema_extra={"position": 7},
    )  # fmt: skip
    split: str = Field("", title="Split", description="Which judgments of it.", json_schema_extra={"position": 8})
    sample: int = Field(
        200, ge=1, title="Sample", description="Questions to draw where none are given.",
        json_schema_extra={"position": 9},
    )  # fmt: skip
    thresholds: ThresholdRows = Field(
        [],
        title="Thresholds",
        description="Minimum values of measures that the new version must reach to be promoted.",
        json_schema_extra={"position": 10},
    )
    max_drop: float = Field(
        0.02, ge=0, le=1, title="Most to lose", description="How far nDCG@10 may be below the live version's; 1: any.",
        json_schema_extra={"position": 11},
    )  # fmt: skip
    promote: bool = Field(
        True, title="Promote", description="Have readers see it when all thresholds hold.",
        json_schema_extra={"position": 12},
    )  # fmt: skip
    leave_out: bool = Field(
        False, title="Leave out", description="Do without documents of the live version that no source here covers.",
        json_schema_extra={"position": 13},
    )  # fmt: skip
    max_delete_fraction: float | None = Field(
        None, ge=0, le=1, title="Most to lack", description="Share of the live version's documents that may be gone; "
        "None: the setting.", json_schema_extra={"position": 14},
    )  # fmt: skip
