"""An index that commit 1970d89 made: read, searched and written without embedding; formats that cannot be read."""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from roost.flows.operations.archive import import_folder
from roost.flows.operations.search import search_index
from roost.flows.parameters import IngestRequest, VerifyRequest
from roost.flows.running.run import run_flow
from roost.tasks.errors import IndexFormatError
from roost.tasks.milvus.expressions import quoted
from roost.tasks.milvus.store import Store, open_store
from roost.tasks.models.embedder import Embedder
from roost.tasks.settings import load_settings
from roost.tasks.sources.source import Source
from roost.tasks.versions import archive, ledger_format
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


@pytest.mark.parametrize("server", ["lite", "standalone"])
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
    message = r"^index 'harbour' has ledger format 2, this Roost reads formats up to 1: upgrade Roost$"
    for use in (read_version, ingest_again, check_answers):
        with pytest.raises(IndexFormatError, match=message):
            use()


def test_an_older_format_is_migrated_once_by_the_next_run_and_nothing_is_embedded(
    old_lite, prefect_api, no_embedding, monkeypatch
):
    migrated = []

    async def to_second_format(store: Store, name: str, ledger: str) -> None:
        rows = await store.query(ledger, f"status == {quoted('indexed')}", ["doc_id"], limit=100)
        migrated.append((name, len(rows)))

    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 2)
    monkeypatch.setitem(ledger_format.MIGRATIONS, 1, to_second_format)
    check_answers()  # commands that only read do not migrate
    assert migrated == []
    check_unchanged()
    assert (migrated, read_version().ledger_format) == ([(read_version().name, 5)], 2)
    check_unchanged()
    assert len(migrated) == 1


def test_a_repair_migrates_an_older_format_without_the_sources(old_lite, prefect_api, no_embedding, monkeypatch):
    async def to_second_format(store: Store, name: str, ledger: str) -> None:
        await store.count(ledger)

    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 2)
    monkeypatch.setitem(ledger_format.MIGRATIONS, 1, to_second_format)
    assert verify(repair=True).ok
    assert read_version().ledger_format == 2


def test_a_migration_that_was_cut_off_runs_again(old_lite, prefect_api, no_embedding, monkeypatch):
    tries = []

    async def to_second_format(store: Store, name: str, ledger: str) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise IndexFormatError("cut off")

    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 2)
    monkeypatch.setitem(ledger_format.MIGRATIONS, 1, to_second_format)
    with pytest.raises(IndexFormatError, match="cut off"):
        ingest_again()
    assert read_version().ledger_format == 1
    check_unchanged()
    assert (len(tries), read_version().ledger_format) == (2, 2)


def test_a_format_without_a_migration_is_refused_with_the_command(old_lite, monkeypatch):
    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 2)
    message = (
        r"^index 'harbour' has ledger format 1, and this Roost has no migration from format 1: make a new index from "
        r"its sources with roost ingest SOURCE\.\.\. --index NAME$"
    )
    with pytest.raises(IndexFormatError, match=message):
        read_version()


def test_an_import_of_an_older_ledger_format_is_migrated_after_its_rows_are_there(
    prefect_api, no_embedding, monkeypatch
):
    counts = []

    async def to_second_format(store: Store, name: str, ledger: str) -> None:
        counts.append((await store.count(name), await store.count(ledger)))

    monkeypatch.setattr(ledger_format, "LEDGER_FORMAT", 2)
    monkeypatch.setitem(ledger_format.MIGRATIONS, 1, to_second_format)
    asyncio.run(import_folder(FIXTURE / "export", "", promote=False))
    assert (counts, read_version().ledger_format) == ([(6, 6)], 2)


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
    with pytest.raises(IndexFormatError, match=r"archive format 2, this Roost reads formats up to 1: upgrade Roost$"):
        archive.read_export(export)


def test_an_export_with_a_newer_ledger_or_recipe_is_refused_in_one_line(export):
    version = json.loads((export / "version.json").read_text("utf-8"))["version"]
    edit(export, version=version | {"ledger_format": 2})
    with pytest.raises(IndexFormatError, match=r"ledger format 2, this Roost reads formats up to 1: upgrade Roost$"):
        archive.read_export(export)
    edit(export, version=version | {"recipe": version["recipe"] | {"late_interaction": True}})
    with pytest.raises(IndexFormatError, match=r"unknown fields \(late_interaction\): upgrade Roost$"):
        archive.read_export(export)


def test_an_export_of_an_older_format_is_migrated_when_it_is_read(export, monkeypatch):
    monkeypatch.setattr(archive, "ARCHIVE_FORMAT", 2)
    with pytest.raises(IndexFormatError, match="import it with the release that wrote it, and export it again"):
        archive.read_export(export)
    monkeypatch.setitem(archive.ARCHIVE_MIGRATIONS, 1, lambda facts: facts | {"rows": facts["rows"] + 1})
    assert archive.read_export(export).rows == 7
