"""Temporary collections that clients are timed on: their names, where they are, and their deletion."""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.tasks.evaluation.delay_proxy import added_latency
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.settings import Milvus

_PREFIX = "roost_scratch"
#: Age at which a temporary collection is one that a killed run left behind.
_MAX_AGE_S = 86_400


@dataclass(frozen=True)
class ScratchSpace:
    """Where temporary collections are created.

    settings: How clients reach Milvus, with the added latency.
    store: An open store without added latency.
    prefix: Prefix of the names of the collections.
    """

    settings: Milvus
    store: Store
    prefix: str


@asynccontextmanager
async def open_scratch_space(settings: Milvus, latency_ms: float) -> AsyncIterator[ScratchSpace]:
    """Open a place for temporary collections: the server, or a temporary file of Milvus Lite.

    On leaving, its collections are dropped, and those that a killed run left behind a day ago.

    Args:
        settings: The configured Milvus; a file of Milvus Lite is not touched.
        latency_ms: Round-trip latency to add before the server.
    """
    async with AsyncExitStack() as stack:
        if settings.is_lite:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="roost-timings-", ignore_cleanup_errors=True)
            )
            settings = settings.model_copy(update={"uri": str(Path(folder, "scratch.db"))})
        store = await stack.enter_async_context(open_store(settings))
        reached = await stack.enter_async_context(added_latency(settings, latency_ms))
        prefix = f"{_PREFIX}_{int(time.time()):x}_{uuid.uuid4().hex[:8]}"
        try:
            yield ScratchSpace(reached, store, prefix)
        finally:
            for name in [] if settings.is_lite else await store.list_collections():
                if name.startswith(prefix) or is_forgotten(name):
                    await store.drop_collection(name)


def is_forgotten(name: str) -> bool:
    """Whether a name is that of a temporary collection that is older than a day; other names never match."""
    match = re.fullmatch(rf"{_PREFIX}_([0-9a-f]{{8}})_[0-9a-f]{{8}}_[0-9]+", name)
    return match is not None and int(match[1], 16) < time.time() - _MAX_AGE_S
