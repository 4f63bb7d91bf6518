"""Real change sets: dates of two documentations, one after the other, into one index."""

from __future__ import annotations

import csv
import itertools
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.integration.crash import DIMENSION
from tests.integration.crash_child import Embedder

import roost.flows.running.batches
import roost.flows.running.prepare
from roost.flows.ingest import ingest as ingest_flow
from roost.flows.parameters import IngestRequest
from roost.flows.running.run import run_flow
from roost.tasks.models.model import find_model
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Embedding
from roost.tasks.sources.parsers.parse import parse
from roost.tasks.sources.source import Source
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes
from roost.tasks.steps.report import IngestReport


@dataclass(frozen=True)
class History:
    """A documentation at several dates, of which the files whose paths begin with some parts are indexed."""

    name: str
    dates: tuple[str, ...]
    parts: tuple[str, ...]

    def changes(self, data: Path, old: str, new: str) -> dict[str, int]:
        """Count a change list as a plan does; git's renames of edited files are a deletion and an addition."""
        counts = {"added": 0, "changed": 0, "deleted": 0, "renamed": 0}
        with (data / self.name / f"changes__{old}__{new}.tsv").open(encoding="utf-8") as stream:
            for status, path, to in csv.reader(stream, delimiter="\t"):
                inside, moved_inside = path.startswith(self.parts), to.startswith(self.parts)
                edited = status.startswith("R") and status != "R100"
                counts["renamed"] += status == "R100" and inside and moved_inside
                counts["added"] += (status == "A" and inside) or (edited and moved_inside)
                counts["deleted"] += (status == "D" or edited) and inside
                counts["changed"] += status == "M" and inside
        return counts

    def texts(self, folder: Path) -> list[str]:
        """The texts of all chunks of a snapshot, made here without Roost's flow."""
        files = sorted(f for f in folder.rglob("*.md*") if f.relative_to(folder).as_posix().startswith(self.parts))
        rows = [(str(f), p.text, 0, 0, p.kind, "") for f in files for p in parse(f.read_bytes(), f.name).blocks]
        blocks = pl.DataFrame(rows, schema=TEXT_BLOCK, orient="row")
        sizes = CutSizes(240, 24, str(find_model(Embedding()).tokenizer_file))
        return cut_blocks(blocks, sizes)["text"].to_list()

    def ingest(self, folder: Path, index: str) -> IngestReport:
        source = Source(
            uri=str(folder), name="docs", include=[f"{part}{glob}" for part in self.parts for glob in ("*", "*/**")]
        )
        return run_flow(ingest_flow, IngestRequest(sources=[source], index=index, max_delete_fraction=1.0))[1]


MILVUS = History(
    "docs_milvus",
    ("2024-02-29_e36b359298", "2024-04-03_72c19babf5", "2024-10-25_54a32fdaeb"),
    ("site/en/getstarted/", "site/en/about/", "site/en/home/"),
)
#: All its files have one time, as `git archive` gives, and some that changed kept their size.
PREFECT = History(
    "docs_prefect",
    ("2026-02-11_7c6f8c2918", "2026-03-04_f8874f41fd"),
    (
        "docs/v3/api-ref/python/prefect-cli",
        "docs/integrations/prefect-aws/",
    ),
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make vectors from a hash of the text: a model's would take minutes."""
    model = replace(find_model(Embedding()), dimension=DIMENSION)
    monkeypatch.setattr(roost.flows.running.prepare, "find_model", lambda _: model)
    monkeypatch.setattr(roost.flows.running.batches, "Embedder", Embedder)


@pytest.mark.long
def test_milvus_documentation_follows_git_and_ends_as_a_clean_index(
    lite, index, prefect_api, data, tmp_path_factory, read
):
    _follow(MILVUS, data, tmp_path_factory.mktemp("milvus"), index, read)


def test_prefect_documentation_follows_git_and_ends_as_a_clean_index(
    lite, index, prefect_api, data, tmp_path_factory, read, stand_in
):
    _follow(PREFECT, data, tmp_path_factory.mktemp("prefect"), index, read)


def _follow(history: History, data: Path, folder: Path, index: str, read) -> None:
    """Bring an index from date to date: it does what git says, embeds new texts only, and ends as one made at once."""
    for date in history.dates:
        with tarfile.open(data / history.name / f"{date}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    texts = {date: history.texts(folder / date) for date in history.dates}
    known = {date: set(found) for date, found in texts.items()}
    history.ingest(folder / history.dates[0], index)
    for old, new in itertools.pairwise(history.dates):
        report = history.ingest(folder / new, index)
        expected = history.changes(data, old, new)
        assert {name: getattr(report.documents, name) for name in expected} == expected
        fresh = [text for text in texts[new] if text not in known[old]]
        # A new text that two batches hold at the same time is embedded in both.
        assert 0 < len(set(fresh)) <= report.chunks.embedded <= len(fresh)
        assert report.store.chunks == len(texts[new])
    history.ingest(folder / history.dates[-1], f"{index}c")
    (chunks, vectors, ledger), (clean, clean_vectors, clean_ledger) = read(index), read(f"{index}c")
    assert [name for name in clean.columns if not chunks[name].equals(clean[name])] == []
    assert chunks.columns == clean.columns
    assert np.abs(vectors - clean_vectors).max() < 1e-6
    times = ["modified", "updated_at", "seen_at", "run_id"]
    assert ledger.drop(times).equals(clean_ledger.drop(times))
