"""Real change sets: three dates of the Milvus documentation, one after the other, into one index."""

from __future__ import annotations

import csv
import itertools
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.parameters import IngestRequest
from flows.running import run_flow
from tasks.chunk import cut
from tasks.formats import parse_markdown
from tasks.models import find_model
from tasks.records import PASSAGE
from tasks.settings import Embedding
from tasks.sources import Source

DATES = ("2024-02-29_e36b359298", "2024-04-03_72c19babf5", "2024-10-25_54a32fdaeb")
PARTS = ("site/en/getstarted/", "site/en/about/", "site/en/home/")


@pytest.fixture(scope="module")
def snapshots(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The documentation at each date, unpacked."""
    folder = tmp_path_factory.mktemp("milvus-docs")
    for date in DATES:
        with tarfile.open(data / "docs_milvus" / f"{date}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return {date: folder / date for date in DATES}


def test_each_change_set_is_planned_as_git_saw_it_and_ends_as_a_clean_index(
    lite, index, prefect_api, data, snapshots, read
):
    _ingest(snapshots[DATES[0]], index)
    for old, new in itertools.pairwise(DATES):
        expected = _changes(data / "docs_milvus" / f"changes__{old}__{new}.tsv")
        report = _ingest(snapshots[new], index)
        counts = report["documents"]
        assert {k: counts[k] for k in ("added", "changed", "deleted", "renamed")} == expected
        before, after = _texts(snapshots[old]), _texts(snapshots[new])
        assert 0 < report["chunks"]["embedded"] == len(set(after) - set(before))
        assert report["store"]["chunks"] == len(after)
    _ingest(snapshots[DATES[2]], f"{index}c")
    (chunks, vectors, ledger), (clean, clean_vectors, clean_ledger) = read(index), read(f"{index}c")
    assert [name for name in clean.columns if not chunks[name].equals(clean[name])] == []
    assert np.abs(vectors - clean_vectors).max() < 1e-5
    same = ["doc_id", "uri", "content_hash", "size", "status", "chunk_count", "pending_chunk_count", "reason"]
    assert ledger.select(same).equals(clean_ledger.select(same))


def _ingest(folder: Path, index: str) -> dict:
    source = Source(uri=str(folder), name="docs", include=[f"{part}**" for part in PARTS])
    return run_flow("ingest", IngestRequest(sources=[source], index=index, max_delete_fraction=1.0))[1]


def _changes(file: Path) -> dict[str, int]:
    """Count a change list as a plan does; git's renames of edited files are a deletion and an addition."""
    counts = {"added": 0, "changed": 0, "deleted": 0, "renamed": 0}
    with file.open(encoding="utf-8") as stream:
        for status, path, to in csv.reader(stream, delimiter="\t"):
            inside, moved_inside = path.startswith(PARTS), to.startswith(PARTS)
            counts["renamed"] += status == "R100" and inside and moved_inside
            counts["added"] += (status == "A" and inside) or (
                status.startswith("R") and status != "R100" and moved_inside
            )
            counts["deleted"] += (status == "D" and inside) or (status.startswith("R") and status != "R100" and inside)
            counts["changed"] += status == "M" and inside
    return counts


def _texts(folder: Path) -> list[str]:
    """The texts of all chunks of a snapshot, made here without Roost's flow."""
    files = sorted(f for f in folder.rglob("*.md") if f.relative_to(folder).as_posix().startswith(PARTS))
    rows = [(str(f), p.text, 0, 0, True) for f in files for p in parse_markdown(f.read_bytes()).passages]
    passages = pl.DataFrame(rows, schema=PASSAGE, orient="row")
    return cut(passages, 240, 24, str(find_model(Embedding()).tokenizer_file))["text"].to_list()
