"""The example handbook in an index of its own, once a session for each kind of Milvus."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.conftest import ROOT, SCAN
from tests.drop import drop_version
from tests.outside_milvus import fresh_name

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus
from roost.tasks.versions.live_version import require_live_version

HANDBOOK = ROOT / "examples" / "handbook"
#: Words of a document that nobody wrote for Roost.
HOSTILE_NAME = "it's \"odd\" '] or id in ['.md"
QUESTIONS = ["who waxes the skis?", "how long may a lift ride take?", "what is done with a torn balloon?", "fog"]


def make_handbook(uri: str, folder: Path) -> str:
    """Ingest the handbook and one document with a hostile name; the index's name."""
    from roost.flows.ingest import ingest as ingest_flow
    from roost.flows.parameters import IngestRequest
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.source import Source

    source = folder / "handbook"
    shutil.copytree(HANDBOOK, source, ignore=shutil.ignore_patterns(SCAN))
    (source / HOSTILE_NAME).write_text('---\nowner: "O\'Neil \\"x\\""\n---\n# Odd\n\nA document with an odd name.\n')
    name = fresh_name()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOST_MILVUS__URI", uri)
        run_flow(ingest_flow, IngestRequest(sources=[Source(uri=str(source))], index=name))
    return name


def drop_index(uri: str, name: str) -> None:
    """Drop an index with its ledger."""

    async def drop() -> None:
        async with open_store(Milvus(uri=uri)) as store:
            await drop_version(store, await require_live_version(store, name))

    asyncio.run(drop())
