"""Runs of named documents: nothing else is looked at, and what is gone is deleted only where its place is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Ingest

from roost.tasks.errors import UsageError
from roost.tasks.sources.connectors.contract import Entry
from roost.tasks.sources.connectors.files import FileConnection


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places that were listed."""
    found: list[str] = []
    list_all = FileConnection.list

    def spy(self: FileConnection) -> Iterator[Entry]:
        found.append(Path(self.base).name)
        return list_all(self)

    monkeypatch.setattr(FileConnection, "list", spy)
    return found


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}.md").write_text(f"# Note {name}\n\nThe ferry {name} leaves at noon.")
    return folder


def test_named_documents_are_added_changed_moved_and_deleted_and_no_source_is_listed(
    lite: str, ingest: Ingest, stored: Callable[[], Any], docs: Path, listed: list[str]
) -> None:
    ingest(docs)
    del listed[:]
    (docs / "a.md").write_text("# Note a\n\nThe ferry a leaves at two.")
    (docs / "b.md").write_text("# Note b\n\nNo event tells of this.")
    (docs / "c.md").unlink()
    (docs / "d.md").rename(docs / "moved.md")
    (docs / "new.md").write_text("# New\n\nA new ferry.")
    names = ["a.md", "docs/c.md", str(docs / "d.md"), str(docs / "moved.md"), "new.md", "../docs/b.md", "none.md"]
    state, report = ingest(docs, uris=names)
    counts = report.documents
    assert (state, listed, counts.listed) == ("Completed", [], 3)
    assert (counts.changed, counts.added, counts.renamed, counts.deleted) == (1, 1, 1, 1)
    assert (report.chunks.embedded, report.store.documents, report.empty_sources) == (2, 8, ())
    rows = stored()[0]
    assert set(rows["uri"]) == {"a.md", "b.md", "e.md", "f.md", "g.md", "h.md", "moved.md", "new.md"}

    late = ingest(docs, uris=names)[1].documents
    assert (late.listed, late.unchanged, late.deleted) == (3, 3, 0)
    nightly = ingest(docs)[1].documents
    assert (nightly.changed, nightly.unchanged, nightly.deleted) == (1, 7, 0)
    assert listed == ["docs"]


@pytest.mark.long
def test_a_place_that_is_not_mounted_deletes_nothing(lite: str, ingest: Ingest, docs: Path, listed: list[str]) -> None:
    ingest(docs)
    docs.rename(docs.parent / "elsewhere")
    docs.mkdir()  # as an empty mount point
    del listed[:]
    with pytest.raises(UsageError, match="source 'docs' lists no documents, the index has 8 of it"):
        ingest(docs, uris=["a.md"])
    assert listed == ["docs"]
    with pytest.raises(UsageError, match="lists no documents"):
        ingest(docs, uris=[f"{name}.md" for name in "abcdefgh"])
    docs.rmdir()
    (docs.parent / "elsewhere").rename(docs)
    for name in "bcdefgh":
        (docs / f"{name}.md").unlink()
    with pytest.raises(UsageError, match="would lose 7 of 8 documents"):
        ingest(docs, uris=[f"{name}.md" for name in "bcdefgh"])
    assert ingest(docs, uris=["a.md"])[1].store.documents == 8


@pytest.mark.long
def test_a_new_source_and_one_that_cannot_be_looked_at_are_listed(
    lite: str, ingest: Ingest, docs: Path, listed: list[str], tmp_path: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("x.md", "# X\n\nAn archived note.")
    packed = f"zip://::{tmp_path}/notes.zip"
    assert ingest(docs, packed, uris=["a.md"])[1].documents.added == 9
    del listed[:]
    assert ingest(docs, packed, uris=["x.md"])[1].documents.unchanged == 1
    assert listed == [""], "the archive"


@pytest.mark.long
def test_a_backfill_of_named_documents_lists_nothing_and_deletes_nothing(
    lite: str, ingest: Ingest, docs: Path, listed: list[str], index: str
) -> None:
    from roost.flows.backfill import backfill
    from roost.flows.parameters import BackfillRequest
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.source import Source

    ingest(docs)
    del listed[:]
    (docs / "a.md").unlink()
    (docs / "b.md").write_text("# Note b\n\nThe ferry b leaves at two.")
    request = BackfillRequest(sources=[Source(uri=str(docs))], index=index, uris=["a.md", "b.md"])
    state, report = run_flow(backfill, request)
    assert (state, report.documents.changed, report.store.documents) == ("Partial", 1, 8)
    assert report.chosen.unknown == ("a.md",)
    assert listed == []


@pytest.mark.long
def test_a_table_that_is_named_is_read_whole_and_others_are_not(
    lite: str, ingest: Ingest, stored: Callable[[], Any], docs: Path, listed: list[str]
) -> None:
    for name in ("one", "two"):
        rows = "".join(f"{n},The {name} lamp {n} burns.\n" for n in range(3))
        (docs / f"{name}.csv").write_text(f"id,text\n{rows}")
    ingest(docs)
    del listed[:]
    for name in ("one", "two"):
        (docs / f"{name}.csv").write_text(f"id,text\n0,The {name} lamp 0 burns.\n1,The {name} lamp is out.\n")
    counts = ingest(docs, uris=["one.csv#1"])[1].documents
    assert (counts.listed, counts.changed, counts.unchanged, counts.deleted, listed) == (2, 1, 1, 1, [])
    assert {uri for uri in stored()[0]["uri"] if "#" in uri} == {
        "one.csv#0",
        "one.csv#1",
        *(f"two.csv#{n}" for n in range(3)),
    }
