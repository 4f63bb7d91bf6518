"""Quantize the configured model to int8, calibrated on the user's own texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roost.tasks.errors import ModelError, UsageError
from roost.tasks.models.model import find_model
from roost.tasks.models.openvino_export import quantize_model
from roost.tasks.records import WORK_ACTIONS, Batch
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import list_sources
from roost.tasks.sources.opened_source import ListingChoices, open_sources
from roost.tasks.sources.source import Source
from roost.tasks.sources.spool import spool_folder
from roost.tasks.steps.chunk import check_window, chunk_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.plan import PlanOptions, plan_run
from roost.tasks.versions.ledger import ROW
from roost.tasks.workers import Workers

#: Documents that texts are taken from, spread evenly over all listed ones.
MAX_DOCUMENTS = 200


@dataclass(frozen=True)
class QuantizeReport:
    """How close the int8 model is to the full one.

    folder: Where the model is.
    texts: Texts that it was calibrated and compared on.
    cosine_mean, cosine_least: Cosine between both models' vectors of a text: the mean and the minimum.
    speedup: How many times as fast it embeds the texts on this machine as the full model does.
    """

    folder: str
    texts: int
    cosine_mean: float
    cosine_least: float
    speedup: float

    def as_dict(self) -> dict[str, Any]:
        """Give the report under the documented JSON keys."""
        return asdict(self)


async def quantize(sources: Sequence[Source], folder: Path, *, texts: int) -> QuantizeReport:
    """Quantize the configured model into `folder`; ROOST_EMBEDDING__MODEL=folder then selects the result.

    Args:
        sources: Sources of the texts to calibrate on.
        folder: New or empty.
        texts: Chunks to calibrate on, at most.

    Raises:
        UsageError: The folder is not empty, or the sources contain no text.
        ModelError: The model is int8 already, or cannot be exported.
    """
    settings = load_settings()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"folder {folder} is not empty: give a new or an empty one")
    if settings.embedding.base_url:
        raise UsageError(f"{settings.embedding.model!r} runs at {settings.embedding.base_url}: quantize it there")
    model = await asyncio.to_thread(find_model, settings.embedding)
    if model.is_openvino:
        raise ModelError(f"model {model.name!r} was made by roost quantize already: set the original model")
    check_window(settings.chunking, model)
    limits = settings.ingest
    with spool_folder() as spool, Workers(workers=limits.parse_workers, memory_mb=limits.parse_memory_mb) as workers:
        opened = await asyncio.to_thread(open_sources, sources, ListingChoices.of(limits, workers))
        listed = await list_sources(opened, spool)
        work = (await plan_run(listed, ROW.to_frame(), PlanOptions())).with_actions(*WORK_ACTIONS)
        batch = Batch("quantize", work.gather_every(max(1, work.height // MAX_DOCUMENTS)).head(MAX_DOCUMENTS))
        loaded = await load_batch(batch, workers, spool / "text", seconds=limits.parse_seconds)
        chunked = await chunk_batch(loaded, settings.chunking, model, workers, seconds=limits.parse_seconds)
    chunks = chunked.chunks.unique("chunk_hash", maintain_order=True)["text"]
    if chunks.is_empty():
        raise UsageError("the sources contain no text to calibrate on: name sources with documents")
    chosen = chunks.gather_every(max(1, chunks.len() // texts)).head(texts).to_list()
    made = await asyncio.to_thread(quantize_model, model, settings.embedding, chosen, folder)
    return QuantizeReport(str(folder), made.texts, made.mean, made.least, made.speedup)
