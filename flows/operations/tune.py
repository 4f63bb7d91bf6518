"""Choosing how an index is searched, without running a flow."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from roost.tasks.evaluation.questions import read_questions
from roost.tasks.evaluation.tuning import Tuning, tune
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import open_store
from roost.tasks.models.embedder import Embedder, model_of
from roost.tasks.search.fused_search import choose_fusion
from roost.tasks.settings import load_settings
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import note_fusion


async def tune_index(index: str, questions: str, split: str = "") -> Tuning:
    """Choose the fusion of an index by judged questions, and keep the choice with the index unless it is worse.

    Args:
        index: Name of the index.
        questions: Folder or file of judged questions.
        split: Name of the qrels file; empty for the default.

    Raises:
        UsageError: There is no such index, it has vectors only, the questions cannot be read, or too few are judged.
        ConflictError: Another process has locked the file of Milvus Lite.
    """
    settings = load_settings()
    asked = await asyncio.to_thread(read_questions, questions, split)
    async with open_store(settings.milvus, create=False, owner=LeaseOwner("roost tune")) as store:
        version = await require_live_version(store, index)
        choose_fusion(version, "rrf")  # refuses an index without words
        model = await asyncio.to_thread(model_of, version.recipe, settings.embedding, version.endpoint)
        with Embedder(model, settings.embedding) as embedder:
            tuning = await tune(store, version, embedder, asked)
        if tuning.is_kept:
            await note_fusion(store, version, tuning.fusion)
    return tuning


async def reset_fusion(index: str) -> Fusion:
    """Forget the fusion that was chosen for an index, and return the default, by which it is searched again.

    Raises:
        UsageError: There is no such index.
        ConflictError: Another process has locked the file of Milvus Lite.
    """
    settings = load_settings()
    async with open_store(settings.milvus, create=False, owner=LeaseOwner("roost tune")) as store:
        version = await require_live_version(store, index)
        await note_fusion(store, version, None)
    return replace(version, fusion=None).default_fusion
