"""A request's choices in the form that the steps take them."""

from __future__ import annotations

from dataclasses import replace

from roost.flows.parameters import BackfillRequest, IngestRequest, RebuildRequest, VerifyRequest
from roost.tasks.settings import Settings
from roost.tasks.steps.plan import PlanOptions
from roost.tasks.versions.unfinished_backfills import request_key


def plan_options(request: IngestRequest | BackfillRequest | RebuildRequest, settings: Settings) -> PlanOptions:
    """Give a request's choices for planning. A backfill deletes nothing, and retries what it chooses as failed.

    Args:
        request: The request.
        settings: As they follow the version that is written.
    """
    fields = settings.chunking.field_names
    if isinstance(request, BackfillRequest):
        return PlanOptions(keep_missing=True, retry_quarantined=request.only_failed, embedded_fields=fields)
    limits = PlanOptions(
        max_delete_fraction=max_delete_fraction(request, settings),
        allow_deletions=tuple(request.allow_deletions),
        embedded_fields=fields,
    )
    if isinstance(request, RebuildRequest):
        return limits
    return replace(
        limits,
        checksum=request.checksum,
        keep_missing=request.keep_missing,
        retry_quarantined=request.retry_quarantined,
        delete_excluded=request.delete_excluded,
    )


def reads_all(request: IngestRequest | BackfillRequest) -> bool:
    """Whether a run reads unchanged documents too."""
    return request.force if isinstance(request, BackfillRequest) else request.checksum


def max_delete_fraction(request: IngestRequest | RebuildRequest | VerifyRequest, settings: Settings) -> float:
    """Give the largest share of documents that a run may delete: the request's, or else the setting."""
    given = request.max_delete_fraction
    return settings.ingest.max_delete_fraction if given is None else given


def backfill_key(request: BackfillRequest) -> str:
    """Name a backfill by what it chooses, not by how it is run: 32 hex digits, equal for its continuation."""
    how = {"dry_run", "restart", "on_conflict", "shards"}
    chosen = request.model_dump(mode="json", exclude=how)
    for source, given in zip(request.sources, chosen["sources"], strict=True):
        if source.metadata.is_empty:  # so that a backfill of an earlier release is continued
            del given["metadata"]
    return request_key(chosen)


def with_recipe_choices(settings: Settings, request: RebuildRequest) -> Settings:
    """Replace the model and the chunking of the settings by the choices of a rebuild, which count as explicit."""
    chosen = {"size": request.chunk_size, "overlap": request.chunk_overlap}
    chunking = {name: value for name, value in chosen.items() if value is not None}
    embedding = {"model": request.model} if request.model else {}
    if request.model and request.model != settings.embedding.model:
        embedding["revision"] = ""  # a revision that is set is one of the other model
    return settings.model_copy(
        update={
            "chunking": settings.chunking.model_copy(update=chunking),
            "embedding": settings.embedding.model_copy(update=embedding),
        }
    )
