"""A version written to Parquet and loaded elsewhere: the same rows, nothing embedded, also after a crash."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import ROOT

from roost.flows.operations.archive import export_index, import_folder
from roost.flows.operations.search import search_index
from roost.tasks.errors import InconsistentIndexError, UsageError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.steps.report import ChunkCounts
from roost.tasks.versions import archive
from roost.tasks.versions.live_version import require_live_version

GOOD = "# Ferry\n\nThe ferry to the island leaves at noon, says “Ørjan”.\n\n## Fares\n\nA child pays four crowns.\n"


@pytest.fixture
def source(folder) -> Path:
    """A few documents, one with metadata of its own, one that is quarantined."""
    front = '---\ntags: [a, "b"]\nrating: 4.5\nyear: 2026\ndraft: false\n---\n'
    notes = {f"n{n}.md": f"# Note {n}\n\nKeeper {n} naps at three.\n" for n in range(5)}
    return folder(**{"ferry.md": front + GOOD, "broken.pdf": b"%PDF-1.7 but no more", **notes})


def test_from_lite_to_a_server_rows_stay_identical_and_nothing_is_embedded(
    lite, standalone, index, ingest, source, stored, monkeypatch, tmp_path
):
    monkeypatch.setattr(archive, "PAGE_ROWS", 3)
    monkeypatch.setattr(archive, "FILE_ROWS", 5)
    ingest(source)
    before = stored()
    queries = ["when does the boat go?", "who naps?"]
    found = asyncio.run(search_index(index, queries, 3))
    made = asyncio.run(export_index(index, "", tmp_path / "kept"))
    assert made.chunks == before[0].height
    assert len(list((tmp_path / "kept").glob("chunks-*.parquet"))) > 1
    with pytest.raises(UsageError, match="exists: name a new folder"):
        asyncio.run(export_index(index, "", tmp_path / "kept"))

    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    loaded = asyncio.run(import_folder(tmp_path / "kept", "", promote=False))
    after = stored()
    assert (loaded.index, loaded.chunks, loaded.as_dict()["embedded"]) == (index, before[0].height, 0)
    assert after[0].equals(before[0])
    assert np.array_equal(after[1], before[1])
    assert after[2].equals(before[2])
    there = asyncio.run(search_index(index, queries, 3))
    assert [[hit.id for hit in hits] for hits in there] == [[hit.id for hit in hits] for hits in found]
    with pytest.raises(UsageError, match="already exists in"):
        asyncio.run(import_folder(tmp_path / "kept", "", promote=False))
    _, report = ingest(source)
    assert report.chunks == ChunkCounts()


def test_an_import_that_was_killed_goes_on_whether_by_another_import_or_by_an_ingest(
    lite, index, ingest, source, stored, monkeypatch, tmp_path
):
    ingest(source)
    before = stored()
    asyncio.run(export_index(index, "", tmp_path / "kept"))
    half, other = tmp_path / "half.db", tmp_path / "other.db"
    env = {**os.environ, "ROOST_MILVUS__URI": str(half), "PYTEST_ROOST_CRASH_POINT": "part_imported:1"}
    env["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    program = "import roost.cli.main as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "import", "kept"], env=env, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    shutil.copytree(half, other)

    monkeypatch.setenv("ROOST_MILVUS__URI", str(half))
    with pytest.raises(UsageError, match="no index"):
        stored()
    asyncio.run(import_folder(tmp_path / "kept", "", promote=False))
    again = stored()
    assert again[0].equals(before[0])
    assert np.array_equal(again[1], before[1])
    assert again[2].equals(before[2])

    monkeypatch.setenv("ROOST_MILVUS__URI", str(other))
    _, report = ingest(source)
    assert report.chunks.embedded == 0
    assert stored()[0].equals(before[0])


def test_an_export_that_was_damaged_is_not_published(lite, index, ingest, source, monkeypatch, tmp_path):
    ingest(source)
    kept = tmp_path / "kept"
    asyncio.run(export_index(index, "", kept))
    facts = json.loads((kept / "version.json").read_text())
    (kept / "version.json").write_text(json.dumps(facts | {"documents": facts["documents"] + 1}))
    with pytest.raises(InconsistentIndexError, match=r"is damaged: 7 of 8 documents"):
        asyncio.run(import_folder(kept, "other", promote=False))
    (kept / "version.json").write_text(json.dumps(facts | {"digest": "0" * 32}))
    with pytest.raises(InconsistentIndexError, match="are not the same"):
        asyncio.run(import_folder(kept, "other", promote=False))
    with pytest.raises(UsageError, match="no index 'other'"):
        asyncio.run(search_index("other", ["ferry"], 1))
    (kept / "version.json").write_text(json.dumps(facts))
    ledger = pl.read_parquet(kept / "ledger.parquet")
    altered = {"content_hash": "0" * 32, "uri": "other.md", "status": "quarantined", "parser": "pypdf 1"}
    for name, value in altered.items():
        first = pl.int_range(pl.len()) == 0
        ledger.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name)).write_parquet(
            kept / "ledger.parquet"
        )
        with pytest.raises(InconsistentIndexError, match="the ledger are not the same"):
            asyncio.run(import_folder(kept, "other", promote=False))
    ledger.with_columns(pl.col("chunk_count") + 1).write_parquet(kept / "ledger.parquet")
    (kept / "version.json").write_text(json.dumps(facts | {"covers_ledger": False, "digest": chunk_digest(index)}))
    with pytest.raises(
        InconsistentIndexError,
        match=r"is damaged: 7 of 7 documents in its ledger, 7 with other content than the ledger says",
    ):
        asyncio.run(import_folder(kept, "other", promote=False))
    with pytest.raises(UsageError, match="no index 'other'"):
        asyncio.run(search_index("other", ["ferry"], 1))
    (kept / "version.json").unlink()
    with pytest.raises(UsageError, match="is no complete export"):
        asyncio.run(import_folder(kept, "other", promote=False))


def chunk_digest(index: str) -> str:
    """Give the digest that archive format 1 had: of the chunks alone."""

    async def work() -> str:
        found = archive.Fingerprint()
        async with open_store(load_settings().milvus) as store:
            async for page in store.read_pages((await require_live_version(store, index)).name, ["*"]):
                found.add(page)
        return str(found)

    return asyncio.run(work())


def test_an_export_replaces_no_folder_of_others_and_leaves_none_of_its_own_when_it_fails(
    lite, index, ingest, folder, monkeypatch, tmp_path
):
    ingest(folder(**{"ferry.md": GOOD}))
    target = tmp_path / "out" / "bak"
    others = tmp_path / "out" / "bak.partial"
    others.mkdir(parents=True)
    (others / "notes.txt").write_text("mine")

    def fill_the_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(archive, "_write_chunks", fill_the_disk)
        with pytest.raises(UsageError, match=r"bak cannot be written: No space left on device"):
            asyncio.run(export_index(index, "", target))
    assert [path.name for path in target.parent.iterdir()] == ["bak.partial"]
    synced = []
    monkeypatch.setattr(archive, "_sync", lambda path: synced.append(path.name))
    asyncio.run(export_index(index, "", target))
    assert (others / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in target.parent.iterdir()) == ["bak", "bak.partial"]
    assert {"chunks-00000.parquet", "ledger.parquet", "version.json", "out"} <= set(synced)
