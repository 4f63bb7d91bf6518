"""Documents under rules for metadata, one field of which is embedded; the rules change once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.conftest import SHIPS, same

from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.source import Source

#: The setting with which the documents are indexed.
SETTING = ("ROOST_CHUNKING__FIELDS", "team")
_RULES = (
    "match,team,level,year:number\n**,crew,1,\n01.md,,,2026\n",
    "match,team,level,year:number\n**,crew,1,\n01.md,,,2026\n03.md,desk,1,\n05.md,crew,2,\n",
)


def ruled_source(folder: Path, number: int) -> Source:
    """Write the documents and the first or second rules: the source. One document's own year is no number."""
    docs, rules = folder / "ruled", folder / "rules.csv"
    if not docs.is_dir():  # the ledger has the times of the files
        docs.mkdir()
        for name, text in SHIPS.items():
            year = "soon" if name == "00.md" else "'2026'"
            (docs / name).write_text(f"---\nyear: {year}\n---\n{text}")
    rules.write_text(_RULES[number])
    return Source(uri=str(docs), name="ruled", metadata=Metadata(file=str(rules)))


def check_as_alone(alone: list[Any], folder: Path, run: Callable[[Source], Any], stored: Callable[[], Any]) -> None:
    """Run with the first and the second rules: rows and reports are as those of runs in one process."""
    state, first = run(ruled_source(folder, 0))
    assert (state, first.documents.added) == ("Completed", len(SHIPS))
    [unfit] = first.metadata.unfit
    assert (unfit.field, unfit.documents, unfit.value) == ("year", 1, "soon")
    assert same(stored(), alone[0])
    state, second = run(ruled_source(folder, 1))
    counts = second.documents
    assert (state, counts.changed, counts.metadata, counts.unchanged) == ("Completed", 1, 1, len(SHIPS) - 2)
    chunks = stored()[0]
    assert second.chunks.embedded == chunks.filter(uri="03.md").height > 0
    assert same(stored(), alone[1])
