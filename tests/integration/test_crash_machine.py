"""A state machine over add, change, rename, delete, crash and run: what Milvus holds is what a model says."""

from __future__ import annotations

import random
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.integration.crash import SETTINGS, Nursery, Site, State, vector_of
from tests.integration.crash_corpus import Corpus
from tests.state_machines import run_machine

from roost.tasks.crash_points import POINTS
from roost.tasks.ids import chunk_hash, content_hash, doc_id
from roost.tasks.models.model import find_model
from roost.tasks.records import TEXT_BLOCK
from roost.tasks.settings import Embedding
from roost.tasks.sources.parsers.parse import parse
from roost.tasks.steps.cut import cut_blocks
from roost.tasks.steps.cut_sizes import CutSizes

SENTENCES = [f"The {who} sleeps in the {where}." for who in ("otter", "heron", "crab") for where in ("bay", "dune")]
NAMES = st.sampled_from([f"{stem}{suffix}" for stem in ("a", "b", "in/c", "in/d") for suffix in (".txt", ".md")])
TEXTS = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=12).map(" ".join)
CRASHES = st.one_of(
    st.builds(lambda name, n: {"fault": f"{name}:{n}"}, st.sampled_from(POINTS), st.integers(1, 3)),
    st.builds(lambda n: {"kill_before": n}, st.integers(1, 10)),
    st.builds(lambda n: {"kill_after": n}, st.integers(1, 10)),
)


@lru_cache(maxsize=1)
def tokenizer_file() -> str:
    return str(find_model(Embedding()).tokenizer_file)


def modelled(files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an index of these files is: chunks by id, documents by id, made without a store, a plan or a run."""
    chunks, documents = {}, {}
    size, overlap = (int(SETTINGS[f"ROOST_CHUNKING__{name}"]) for name in ("SIZE", "OVERLAP"))
    for uri, content in files.items():
        name = doc_id("docs", uri)
        [block] = parse(content, uri).blocks
        row = {"doc_id": name, "text": block.text, "page": 0, "start": 0, "kind": block.kind, "heading": ""}
        pieces = cut_blocks(pl.DataFrame([row], schema=TEXT_BLOCK), CutSizes(size, overlap, tokenizer_file()))
        for piece in pieces.to_dicts():
            chunks[f"{name}-{piece['ordinal']:06d}"] = (uri, piece["text"], chunk_hash(piece["text"]))
        documents[name] = (uri, content_hash(content), len(content), "indexed", pieces.height, 0)
    return chunks, documents


def stored(state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of what Milvus holds."""
    chunks = {key: (row["uri"], row["text"], row["chunk_hash"]) for key, row in state.chunks.items()}
    names = ("uri", "content_hash", "size", "status", "chunk_count", "pending_chunk_count")
    return chunks, {key: tuple(row[name] for name in names) for key, row in state.ledger.items()}


class Keeping(RuleBasedStateMachine):
    """A folder under change, an index that crashes on the way; each run that ends must have put all right."""

    nursery: Nursery
    killed = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.corpus = Corpus(self.folder / "docs", random.Random(0))
        self.corpus.write("always.txt", b"This one stays, so that the folder is never empty.")
        self.site = Site(self.nursery, str(self.folder / "roost.db"), "docs", self.corpus.root)

    @rule(name=NAMES, text=TEXTS)
    def add_or_change(self, name: str, text: str) -> None:
        self.corpus.write(name, f"# Note\n\n{text}\n".encode())

    @rule(name=NAMES, text=TEXTS)
    def grow(self, name: str, text: str) -> None:
        if name in self.corpus.files:
            self.corpus.write(name, self.corpus.files[name] + f"\n## More\n\n{text}\n".encode())

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        if old in self.corpus.files and new not in self.corpus.files:
            files = dict(self.corpus.files)
            self.corpus.reset({new: files.pop(old), **files})

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.corpus.reset({path: text for path, text in self.corpus.files.items() if path != name})

    @rule(attack=CRASHES)
    def crash(self, attack: dict[str, Any]) -> None:
        type(self).killed += self.site.run(**attack).killed

    @rule()
    def run(self) -> None:
        state = self.site.settle()  # also runs again, which must write nothing
        assert stored(state) == modelled(self.corpus.files)
        far = [np.abs(np.subtract(row["vector"], vector_of(row["text"]))).max() for row in state.chunks.values()]
        assert max(far) < 1e-6

    def teardown(self) -> None:
        self.run()
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("max_examples", [4, pytest.param(40, marks=pytest.mark.long)])
def test_whatever_happens_a_run_that_ends_leaves_what_the_model_says(max_examples, nursery):
    machine = type("Machine", (Keeping,), {"nursery": nursery})
    # A failure is shown as found: making it shorter takes hundreds of runs.
    run_machine(machine, runs=max_examples, steps=14, phases=[Phase.generate])
    assert machine.killed >= 2  # or nothing was tried
