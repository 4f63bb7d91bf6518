"""An index that commit 1970d89 made: read, searched and written without embedding; formats that cannot be read."""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from roost.flows.operations.archive import export_index, import_folder
from roost.flows.operations.search import search_index
from roost.flows.operations.status import describe_indexes
from roost.flows.operations.versions import prune
from roost.flows.parameters import IngestRequest, VerifyRequest
from roost.flows.running.run import run_flow
from roost.tasks.errors import IndexFormatError, RoostError
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder
from roost.tasks.search.hits import SearchOptions
from roost.tasks.settings import load_settings
from roost.tasks.sources.source import Source
from roost.tasks.versions import archive, ledger, ledger_format, migrations
from roost.tasks.versions.live_version import require_live_version
from roost.tasks.versions.version import FORMAT, Version

FIXTURE = Path(__file__).parents[1] / "fixtures" / "index_1970d89"
INDEX = "harbour"
QUESTIONS = {
    "how long does the oil of the lamp last in winter?": "lamps.md",
    "which boat carries coal to the island?": "boats.csv#1",
}


@pytest.fixture
def no_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a chunk is embedded."""

    async def refuse(self: Embedder, *_: Any) -> Any:
        raise AssertionError("a chunk was embedded")

    monkeypatch.setattr(Embedder, "embed_chunks", refuse)


@pytest.fixture
def old_lite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the Milvus Lite file: its path."""
    with tarfile.open(FIXTURE / "roost.db.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.setenv("ROOST_MILVUS__URI", str(tmp_path / "roost.db"))
    return str(tmp_path / "roost.db")


def ingest_again() -> Any:
    from roost.flows.ingest import ingest

    # Named, because the documents are not where that commit read them.
    source = Source(uri=str(FIXTURE / "docs"), name="docs")
    return run_flow(ingest, IngestRequest(sources=[source], index=INDEX))[1]


def verify(*, repair: bool = False) -> Any:
    from roost.flows.verify import verify

    return run_flow(verify, VerifyRequest(index=INDEX, repair=repair))[1]


def read_version() -> Version:
    async def read() -> Version:
        async with open_store(load_settings().milvus) as store:
            return await require_live_version(store, INDEX)

    return asyncio.run(read())


def read_rows() -> pl.DataFrame:
    """Read the ledger."""

    async def read() -> pl.DataFrame:
        async with open_store(load_settings().milvus) as store:
            rows = await ledger.read_ledger(store, (await require_live_version(store, INDEX)).ledger)
            return rows.sort("doc_id")

    return asyncio.run(read())


def list_collections() -> list[str]:
    async def read() -> list[str]:
        async with open_store(load_settings().milvus) as store:
            return await store.list_collections()

    return asyncio.run(read())


def set_format(number: int) -> None:
    async def write() -> None:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, INDEX)
            await store.alter_properties(version.name, {FORMAT: str(number)})

    asyncio.run(write())


def check_answers() -> None:
    hits = asyncio.run(search_index(INDEX, list(QUESTIONS), 1))
    assert [found[0].uri for found in hits] == list(QUESTIONS.values())


def check_unchanged() -> None:
    report = ingest_again()
    assert (report.documents.unchanged, report.documents.added, report.documents.changed) == (5, 0, 0)
    assert (report.chunks.embedded, report.chunks.written, report.chunks.deleted) == (0, 0, 0)
    assert report.store.documents == 5
    assert report.store.chunks == 6


def test_the_old_lite_file_opens_answers_and_is_ingested_without_embedding(old_lite, prefect_api, no_embedding):
    check_answers()
    check_unchanged()
    assert verify().ok
    check_answers()


@pytest.mark.parametrize("server", ["lite", pytest.param("standalone", marks=pytest.mark.long)])
def test_the_old_export_is_imported_answers_and_is_ingested_without_embedding(
    server, request, prefect_api, no_embedding, monkeypatch
):
    if server == "standalone":
        monkeypatch.setenv("ROOST_MILVUS__URI", request.getfixturevalue("standalone"))
    loaded = asyncio.run(import_folder(FIXTURE / "export", "", promote=False))
    try:
        assert (loaded.index, loaded.documents, loaded.chunks) == (INDEX, 6, 6)
        check_answers()
        check_unchanged()
        assert verify().ok
    finally:
        if server == "standalone":
            asyncio.run(_drop())


async def _drop() -> None:
    from tests.drop import drop_version

    async with open_store(load_settings().milvus) as store:
        await drop_version(store, await require_live_version(store, INDEX))


def test_a_version_without_the_property_has_the_first_format(old_lite):
    version = read_version()
    assert (version.ledger_format, version.is_live) == (ledger_format.FIRST_FORMAT, True)


def test_an_index_of_a_newer_format_is_refused_in_one_line(old_lite, prefect_api, no_embedding):
    set_format(ledger_format.LEDGER_FORMAT + 1)
    message = r"^index 'harbour' has ledger format 3, this Roost reads formats up to 2: upgrade Roost$"
    for use in (read_version, ingest_again, check_answers):
        with pytest.raises(IndexFormatError, match=message):
            use()


def test_commands_that_only_read_leave_the_first_format_and_its_later_columns_are_empty(
    old_lite, prefect_api, no_embedding, tmp_path
):
    assert asyncio.run(describe_indexes(INDEX)).indexes[0].documents.indexed == 5
    assert verify().ok
    asyncio.run(export_index(INDEX, "", tmp_path / "export"))
    assert read_version().ledger_format == 1
    rows = read_rows()
    assert rows.columns == list(ledger.ROW)
    later = ["parser", "format", "fingerprint", "metadata_hash", "seen_at"]
    assert set(rows.select(later).unique().row(0)) == {""}


def test_the_next_run_moves_the_ledger_once_and_embeds_nothing(old_lite, prefect_api, no_embedding):
    before = read_rows()
    check_unchanged()
    check_moved(before)
    check_unchanged()
    check_moved(before)


def test_a_repair_moves_the_ledger_without_the_sources(old_lite, prefect_api, no_embedding):
    before = read_rows()
    assert verify(repair=True).ok
    check_moved(before)


def check_moved(before: pl.DataFrame) -> None:
    """Expect the same rows in a ledger of the current format, and no other ledger."""
    version = read_version()
    assert version.ledger_format == ledger_format.LEDGER_FORMAT
    assert same_documents(read_rows(), before)
    assert list_collections() == [version.name, version.ledger]


def same_documents(rows: pl.DataFrame, before: pl.DataFrame) -> bool:
    """Whether two ledgers have the same indexed documents, but for the times of files, which are of this checkout."""
    one, other = (
        ledger_rows.filter(pl.col("status") == "indexed").drop("modified", "updated_at", "seen_at")
        for ledger_rows in (rows, before)
    )
    return one.equals(other)


@pytest.mark.parametrize("place", ["a page", "ledger_copied", "format_noted"])
def test_a_move_of_the_ledger_that_is_killed_anywhere_is_repeated(
    old_lite, prefect_api, no_embedding, monkeypatch, place
):
    before = read_rows()
    with monkeypatch.context() as killed:
        if place == "a page":
            killed.setattr(ledger, "copy_rows", copy_a_part)
        else:
            killed.setattr(migrations, "crash_point", partial(stop_at, place))
        with pytest.raises(RoostError, match="killed"):
            ingest_again()
    assert read_rows().equals(before)
    assert len(list_collections()) == 3
    check_unchanged()
    assert same_documents(read_rows(), before)
    asyncio.run(prune(INDEX, 2, dry_run=False))
    check_moved(before)
    check_answers()


async def copy_a_part(store: Store, old: str, new: str) -> None:
    """Copy a row, and one more that no other run would make."""
    [row] = await store.query(old, "doc_id != ''", list(ledger.ROW)[:13], limit=1)
    await ledger.restore_rows(store, new, [row, row | {"doc_id": "0" * 32, "uri": "left by a killed run"}])
    raise RuntimeError("killed")


def stop_at(place: str, name: str) -> None:
    if name == place:
        raise RuntimeError("killed")


def test_a_format_that_needs_no_other_ledger_is_noted_after_its_migration(old_lite, prefect_api, monkeypatch):
    migrated = []

    async def to_third_format(store: Store, version: Version, target: Version) -> None:
        migrated.append((version.ledger_format, target.ledger_format, await store.count(target.ledger)))
        if len(migrated) == 1:
            raise IndexFormatError("cut off")

    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 3)
    monkeypatch.setitem(migrations.MIGRATIONS, 2, to_third_format)
    with pytest.raises(IndexFormatError, match="cut off"):
        ingest_again()
    assert read_version().ledger_format == 2
    check_unchanged()
    assert (migrated, read_version().ledger_format) == ([(2, 3, 6)] * 2, 3)
    check_unchanged()
    assert len(migrated) == 2


def test_a_format_that_is_too_old_is_refused_with_the_command(old_lite, monkeypatch):
    monkeypatch.setattr(ledger_format, "OLDEST_FORMAT", 2)
    message = (
        r"^index 'harbour' has ledger format 1, and this Roost has no migration from format 1: make a new index from "
        r"its sources with roost ingest SOURCE\.\.\. --index NAME$"
    )
    with pytest.raises(IndexFormatError, match=message):
        read_version()


def test_an_import_of_an_older_ledger_has_the_current_format(prefect_api, no_embedding, lite):
    asyncio.run(import_folder(FIXTURE / "export", "", promote=False))
    version = read_version()
    assert version.ledger_format == ledger_format.LEDGER_FORMAT
    assert list_collections() == [version.name, version.ledger]


# exports


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A copy of the export: its folder."""
    return Path(shutil.copytree(FIXTURE / "export", tmp_path / "export"))


def edit(export: Path, **facts: Any) -> None:
    file = export / "version.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | facts), "utf-8")


def test_an_export_of_a_newer_format_is_refused_in_one_line(export):
    edit(export, format=archive.ARCHIVE_FORMAT + 1)
    with pytest.raises(IndexFormatError, match=r"archive format 3, this Roost reads formats up to 2: upgrade Roost$"):
        archive.read_export(export)


def test_an_export_with_a_newer_ledger_or_recipe_is_refused_in_one_line(export):
    version = json.loads((export / "version.json").read_text("utf-8"))["version"]
    edit(export, version=version | {"ledger_format": 3})
    with pytest.raises(IndexFormatError, match=r"ledger format 3, this Roost reads formats up to 2: upgrade Roost$"):
        archive.read_export(export)
    edit(export, version=version | {"recipe": version["recipe"] | {"late_interaction": True}})
    with pytest.raises(IndexFormatError, match=r"unknown fields \(late_interaction\): upgrade Roost$"):
        archive.read_export(export)


def test_an_export_of_an_older_format_is_migrated_when_it_is_read(export, monkeypatch):
    assert (archive.read_export(export).rows, archive.read_export(export).covers_ledger) == (6, False)
    monkeypatch.setattr(archive, "ARCHIVE_FORMAT", 3)
    with pytest.raises(IndexFormatError, match="import it with the release that wrote it, and export it again"):
        archive.read_export(export)
    monkeypatch.setitem(archive.ARCHIVE_MIGRATIONS, 2, lambda facts: facts | {"rows": facts["rows"] + 1})
    assert archive.read_export(export).rows == 7


def test_an_old_index_gets_fields_without_embedding(old_lite: str, no_embedding: None) -> None:
    from roost.flows.ingest import ingest
    from roost.tasks.sources.metadata.choices import Metadata

    source = Source(uri=str(FIXTURE / "docs"), name="docs", metadata=Metadata(values=["team=harbour"]))
    _, report = run_flow(ingest, IngestRequest(sources=[source], index=INDEX))
    assert (report.documents.metadata, report.documents.unchanged, report.chunks.embedded) == (5, 0, 0)
    assert read_version().ledger_format == ledger_format.LEDGER_FORMAT
    hits = asyncio.run(search_index(INDEX, list(QUESTIONS), 1, SearchOptions(where='team == "harbour"')))
    assert [found[0].uri for found in hits] == list(QUESTIONS.values())
    check_unchanged()
    assert verify().ok
