"""A run that only changes given fields, killed anywhere: the next run ends as a clean one, whatever it gives."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.crash import Nursery, Site, State, differences
from tests.integration.crash_corpus import Corpus


@dataclass(frozen=True)
class RuledSite(Site):
    """A site whose documents get fields. team: Value of their field `team`."""

    team: str = ""

    @property
    def step(self) -> dict[str, Any]:
        step = super().step
        [source] = step["request"]["sources"]
        return step | {
            "request": step["request"] | {"sources": [source | {"metadata": {"values": [f"team={self.team}"]}}]}
        }


def clean_state(nursery: Nursery, folder: Path, site: RuledSite) -> State:
    """What a first, undisturbed run makes."""
    return replace(site, uri=str(folder / f"{uuid.uuid4().hex}.db"), index="clean").settle()


@pytest.mark.parametrize(
    ("point", "team"),
    [
        ("between_writes:4", "new"),
        ("fields_written:1", "old"),
        *(
            pytest.param(point, team, marks=pytest.mark.long)
            for point in ("fields_unknown:1", "between_writes:2", "between_writes:4", "between_writes:5")
            for team in ("new", "old")
        ),
        *(pytest.param(point, "new", marks=pytest.mark.long) for point in ("fields_written:1", "fields_committed:1")),
    ],
)
def test_a_run_killed_while_it_rewrites_fields_is_made_good_by_the_next(
    point: str, team: str, nursery: Nursery, tmp_path: Path
) -> None:
    corpus = Corpus(tmp_path / "docs", random.Random(7)).fill(9)
    old = RuledSite(nursery, str(tmp_path / "roost.db"), "docs", corpus.root, team="old")
    old.run()
    before = old.read()
    assert replace(old, team="new").run(fault=point).killed
    next_one = replace(old, team=team)
    found = next_one.settle()
    assert differences(found, clean_state(nursery, tmp_path, next_one)) == []
    assert {row["team"] for row in found.chunks.values()} == {team}
    assert {key: row["vector"] for key, row in found.chunks.items()} == {
        key: row["vector"] for key, row in before.chunks.items()
    }


def test_documents_that_change_while_fields_change_are_made_good_after_a_crash(
    nursery: Nursery, tmp_path: Path
) -> None:
    corpus = Corpus(tmp_path / "docs", random.Random(7)).fill(9)
    site = RuledSite(nursery, str(tmp_path / "roost.db"), "docs", corpus.root, team="old")
    site.run()
    corpus.change(2, ["grow", "rename", "rewrite"])
    new = replace(site, team="new")
    assert new.run(fault="after_chunks:1").killed
    assert differences(new.settle(), clean_state(nursery, tmp_path, new)) == []
