"""A request's choices in the form that the steps take them."""

from __future__ import annotations

from roost.flows.parameters import BackfillRequest, IngestRequest, RebuildRequest
from roost.tasks.settings import Settings
from roost.tasks.steps.plan import PlanOptions
from roost.tasks.versions.unfinished_backfills import request_key


def plan_options(request: IngestRequest | BackfillRequest | RebuildRequest, settings: Settings) -> PlanOptions:
    """Give a request's choices for planning. A backfill deletes nothing, and retries what it chooses as failed."""
    if isinstance(request, BackfillRequest):
        return PlanOptions(keep_missing=True, retry_quarantined=request.only_failed)
    limit = request.max_delete_fraction
    max_delete_fraction = settings.ingest.max_delete_fraction if limit is None else limit
    if isinstance(request, RebuildRequest):
        return PlanOptions(max_delete_fraction=max_delete_fraction)
    return PlanOptions(
        checksum=request.checksum,
        keep_missing=request.keep_missing,
        retry_quarantined=request.retry_quarantined,
        max_delete_fraction=max_delete_fraction,
    )


def backfill_key(request: BackfillRequest) -> str:
    """Name a backfill by what it chooses, not by how it is run: 32 hex digits, equal for its continuation."""
    how = {"dry_run", "restart", "on_conflict", "shards"}
    return request_key(request.model_dump(mode="json", exclude=how))


def with_recipe_choices(settings: Settings, request: RebuildRequest) -> Settings:
    """Replace the model and the chunking of the settings by the choices of a rebuild."""
    chosen = {"size": request.chunk_size, "overlap": request.chunk_overlap}
    chunking = settings.chunking.model_dump() | {name: value for name, value in chosen.items() if value is not None}
    embedding = settings.embedding.model_copy(update={"model": request.model} if request.model else {})
    return settings.model_copy(
        update={"chunking": type(settings.chunking).model_validate(chunking), "embedding": embedding}
    )


def needed_settings(settings: Settings, request: RebuildRequest) -> dict[str, str | int]:
    """Give the environment variables that later runs of the index need because a rebuild chose another recipe.

    Args:
        settings: The settings without the request's choices.
        request: The rebuild.

    Returns:
        Variables whose setting differs from the choice, with the chosen value.
    """
    chosen: dict[str, tuple[str | int | None, str | int]] = {
        "ROOST_EMBEDDING__MODEL": (request.model or None, settings.embedding.model),
        "ROOST_CHUNKING__SIZE": (request.chunk_size, settings.chunking.size),
        "ROOST_CHUNKING__OVERLAP": (request.chunk_overlap, settings.chunking.overlap),
    }
    return {name: wanted for name, (wanted, known) in chosen.items() if wanted is not None and wanted != known}
