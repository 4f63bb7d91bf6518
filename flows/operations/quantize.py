"""Make an int8 model from the configured one, calibrated on the user's own texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roost.tasks.errors import ModelError, UsageError
from roost.tasks.models.model import find_model
from roost.tasks.models.openvino_engine import quantized
from roost.tasks.records import WORK, Batch
from roost.tasks.settings import load_settings
from roost.tasks.sources.listing import Source, list_sources, spool_folder
from roost.tasks.steps.chunk import check_window, chunk_batch
from roost.tasks.steps.load import load_batch
from roost.tasks.steps.plan import Options, plan_run
from roost.tasks.versions.ledger import ROW
from roost.tasks.workers import Workers

#: Documents that texts are taken from, spread over all that are listed.
DOCUMENTS = 200


async def quantize(sources: Sequence[Source], folder: Path, *, texts: int) -> dict[str, Any]:
    """Make the model in `folder`; `ROOST_EMBEDDING__MODEL` then names that folder.

    Args:
        sources: Where the texts are.
        folder: New or empty.
        texts: How many chunks to calibrate on, at most.

    Returns:
        See `roost.tasks.models.openvino_engine.quantized`.

    Raises:
        UsageError: The folder is not empty, or the sources hold no text.
        ModelError: The model is int8 already, or cannot be exported.
    """
    settings = load_settings()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder")
    model = await asyncio.to_thread(find_model, settings.embedding)
    if model.is_openvino:
        raise ModelError(f"model {model.name!r} is one that Roost made: start from the original")
    check_window(settings.chunking, model)
    limits = settings.ingest
    with spool_folder() as spool, Workers(workers=limits.parse_workers, memory_mb=limits.parse_memory_mb) as workers:
        listed = await list_sources(sources, Path(spool))
        work = (await plan_run(listed, ROW.to_frame(), Options())).of(*WORK)
        batch = Batch("quantize", work.gather_every(max(1, work.height // DOCUMENTS)).head(DOCUMENTS))
        loaded = await load_batch(batch, workers, seconds=limits.parse_seconds)
        chunked = await chunk_batch(loaded, settings.chunking, model, workers, seconds=limits.parse_seconds)
    chunks = chunked.chunks.unique("chunk_hash", maintain_order=True)["text"]
    if chunks.is_empty():
        raise UsageError("the sources hold no text to calibrate on")
    chosen = chunks.gather_every(max(1, chunks.len() // texts)).head(texts).to_list()
    return await asyncio.to_thread(quantized, model, settings.embedding, chosen, folder)
