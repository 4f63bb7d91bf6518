"""After a crash at any point the next run ends in exactly the state of a clean run."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.crash import Corpus, Nursery, Site, State, clean_state, differences

#: Passes of the fault points at which a run over the corpora below is killed. Each is reached, or the test fails.
PASSES = [
    *(f"{name}:{n}" for name in ("before_intent", "after_intent", "after_chunks") for n in (1, 2, 3)),
    *(f"{name}:{n}" for name in ("after_cleanup", "after_commit") for n in (1, 2, 3)),
    *(f"between_writes:{n}" for n in (1, 4, 8, 12)),
    "after_chunks_deleted:1",
    "after_rows_deleted:1",
]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where runs are forked."""
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


@dataclass(frozen=True)
class Prepared:
    """A corpus before and after its changes, the Lite index of the first, and the clean states of both."""

    older: Path
    newer: Path
    database: Path
    clean: dict[Path, State]


@pytest.fixture(scope="module")
def prepared(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Nine documents; then some grow, shrink, move, go, come, and two change their names."""
    folder = tmp_path_factory.mktemp("prepared")
    older = Corpus(folder / "older" / "docs", random.Random(7)).fill(9)
    newer = Corpus(folder / "newer" / "docs", random.Random(7)).fill(9)
    for edit in ["grow", "grow", "shrink", "shrink", "rename", "rename", "delete", "delete", "add", "rewrite", "swap"]:
        newer.change(1, [edit])
    Site(nursery, str(folder / "roost.db"), "docs", older.root).run()
    clean = {root: clean_state(nursery, root, folder) for root in (older.root, newer.root)}
    assert clean[older.root].chunks.keys() - clean[newer.root].chunks.keys()
    return Prepared(older.root, newer.root, folder / "roost.db", clean)


@pytest.mark.parametrize("fault", ["version_made:1", *PASSES])
def test_a_first_run_killed_at_a_write_step_is_made_good_by_the_next(fault, nursery, prepared, tmp_path):
    site = Site(nursery, str(tmp_path / "roost.db"), "docs", prepared.older)
    assert site.run(fault=fault).killed
    assert differences(site.settle(), prepared.clean[prepared.older]) == []


@pytest.mark.parametrize("fault", PASSES)
def test_a_changing_run_killed_at_a_write_step_is_made_good_by_the_next(fault, nursery, prepared, tmp_path):
    shutil.copytree(prepared.database, tmp_path / "roost.db")
    site = Site(nursery, str(tmp_path / "roost.db"), "docs", prepared.newer)
    assert site.run(fault=fault).killed
    assert differences(site.settle(), prepared.clean[prepared.newer]) == []


@pytest.mark.parametrize("call", range(1, 15))
def test_a_run_killed_while_it_makes_the_index_is_made_good_by_the_next(call, nursery, prepared, tmp_path):
    site = Site(nursery, str(tmp_path / "roost.db"), "docs", prepared.older)
    assert site.run(kill_before=call).killed
    assert differences(site.settle(), prepared.clean[prepared.older]) == []
