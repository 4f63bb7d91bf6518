"""What a run may be asked: the forms of the Prefect UI and the options of the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tasks.sources import Source


class VerifyRequest(BaseModel):
    """Compare an index with its ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str = Field("docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 0})
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
        description="Where the documents are.",
        json_schema_extra={"position": 0},
    )
    index: str = Field(
        "docs",
        title="Index",
        description="Name that readers use: letters, digits, single underscores.",
        examples=["docs", "handbook"],
        json_schema_extra={"position": 1},
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
        description="Share of the index that this run may delete; empty: the setting.",
        json_schema_extra={"position": 6},
    )  # fmt: skip
    shards: int = Field(
        1, ge=1, le=256, title="Shards", description="Share the work among so many runs of the deployment `shard`; not "
        "on Milvus Lite.", json_schema_extra={"position": 11},
    )  # fmt: skip


class BackfillRequest(BaseModel):
    """Index chosen documents of some sources again; delete nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: list[Source] = Field(
        min_length=1, title="Sources", description="Where the documents are.", json_schema_extra={"position": 0}
    )
    index: str = Field("docs", title="Index", description="Name that readers use.", json_schema_extra={"position": 1})
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
        1, ge=1, le=256, title="Shards", description="Share the work among so many runs of the deployment `shard`; not "
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
    hold: str = Field(title="Hold", description="The claim that the parent run has on the index.")
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
    def index(self) -> str:
        """Name that readers use."""
        return self._asked.index

    @property
    def sources(self) -> list[Source]:
        """Where the documents are."""
        return self._asked.sources
