"""Export a version to a folder of Parquet files, and import one into any Milvus, row for row.

The folder contains `chunks-00000.parquet` and so on, `ledger.parquet`, and `version.json`, which is written last. Fixed
columns have their types, the vector is an array of 32-bit floats, and all other fields of a row are one JSON object in
the column `extra`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import InconsistentIndexError, IndexFormatError, UsageError
from roost.tasks.ids import digest
from roost.tasks.milvus.store import Store
from roost.tasks.models.endpoint import Endpoint
from roost.tasks.models.recipe import SCHEMA_VERSION
from roost.tasks.sources.metadata.facts import FieldFacts
from roost.tasks.versions import ledger
from roost.tasks.versions.fusion import Fusion
from roost.tasks.versions.ledger import WRITING, read_ledger
from roost.tasks.versions.ledger_format import LEDGER_FORMAT, check_format
from roost.tasks.versions.live_version import create_version
from roost.tasks.versions.promotion import free_name, version_statuses
from roost.tasks.versions.schema import NUMBERS, SPARSE, TEXTS
from roost.tasks.versions.version import Version, check_bm25_support, decode_recipe, note_places, note_rate

#: Rows in one page: with their vectors and the longest texts they stay below the 100 MB that Milvus answers at most.
PAGE_ROWS = 1_000
#: Rows in one file: some 50 MB with vectors of 384 numbers.
FILE_ROWS = 20_000
#: The format of `version.json` and of the Parquet files that this Roost writes. The format of the rows in the ledger
#: is apart: see `roost.tasks.versions.ledger_format`.
ARCHIVE_FORMAT = 2
#: From-format -> function that changes the content of `version.json` to the next format.
ARCHIVE_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda facts: facts | {"covers_ledger": False},
}

_FACTS_FILE, _LEDGER_FILE = "version.json", "ledger.parquet"
#: Fields of `Version` that belong to one place where it is stored, not to an export.
_LOCAL_FIELDS = ("is_live", "backfills", "vector_index")


@dataclass(frozen=True)
class Export:
    """The content of `version.json`.

    version: The version that was exported.
    rows: Count of chunk rows.
    documents: Count of rows of the ledger.
    digest: Digest of all rows with their vectors and of the ledger, in any order; names the export.
    covers_ledger: Whether the digest covers the ledger; archive format 1 left it out.
    """

    version: Version
    rows: int
    documents: int
    digest: str
    covers_ledger: bool = True


class Fingerprint:
    """Digest of chunk rows and ledger rows in any order: two versions with equal rows have equal fingerprints."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows as Milvus returns them."""
        for row in rows:
            plain = {name: value for name, value in row.items() if name not in ("vector", SPARSE)}
            text = json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()
            self._sum += int(digest(text + np.asarray(row["vector"], dtype=np.float32).tobytes()), 16)
        self.rows += len(rows)

    def add_documents(self, ledger: pl.DataFrame) -> None:
        """Add the rows of a ledger; an empty column counts as one that is not there, as later formats add columns."""
        for row in ledger.iter_rows(named=True):
            filled = {name: value for name, value in row.items() if value != ""}
            self._sum += int(digest(b"document" + json.dumps(filled, sort_keys=True, ensure_ascii=False).encode()), 16)

    def __str__(self) -> str:
        return f"{self._sum % (1 << 128):032x}"


async def export_version(store: Store, version: Version, folder: Path) -> Export:
    """Write a version to a new folder. It has the name of a folder of its own, ending in `.partial`, until it is whole.

    Raises:
        UsageError: The folder exists, or cannot be created or written.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists: name a new folder")
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(parents=True)
        made = await _write_export(store, version, partial)
        await asyncio.to_thread(_publish, partial, folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    return made


async def _write_export(store: Store, version: Version, folder: Path) -> Export:
    """Write all files of an export; `version.json` comes last."""
    found = Fingerprint()
    number, waiting = 0, [_layout(version.recipe.dimension).to_frame()]
    async for page in _pages(store, version):
        await asyncio.to_thread(found.add, page)
        waiting.append(await asyncio.to_thread(_as_frame, page, version.recipe.dimension))
        if sum(frame.height for frame in waiting) >= FILE_ROWS:
            await asyncio.to_thread(_write_chunks, folder, number, waiting)
            number, waiting = number + 1, waiting[:1]
    if len(waiting) > 1 or not number:
        await asyncio.to_thread(_write_chunks, folder, number, waiting)
    documents = await read_ledger(store, version.ledger)
    await asyncio.to_thread(found.add_documents, documents)
    await asyncio.to_thread(documents.write_parquet, folder / _LEDGER_FILE)
    made = Export(version, found.rows, documents.height, str(found))
    exported = {name: value for name, value in asdict(version).items() if name not in _LOCAL_FIELDS}
    for name in ("fusion", "endpoint", "field_facts"):  # earlier releases do not know them
        if not getattr(version, name):
            del exported[name]
    if version.endpoint:  # an import must not send texts to an address that came with a file
        exported["endpoint"] = asdict(replace(version.endpoint, base_url="", api_version=""))
    facts = {
        "format": ARCHIVE_FORMAT,
        "rows": made.rows,
        "documents": made.documents,
        "digest": made.digest,
        "covers_ledger": True,
        "version": exported,
    }
    (folder / _FACTS_FILE).write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    return made


def _publish(partial: Path, folder: Path) -> None:
    """Give a finished export its name once all its files are on the disk."""
    for path in (*partial.iterdir(), partial):
        _sync(path)
    partial.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_export(folder: Path) -> Export:
    """Read the description of an export.

    Raises:
        UsageError: The folder is no export, or an incomplete one.
        IndexFormatError: Another release of Roost wrote it, in a format that this one cannot read.
    """
    try:
        facts = json.loads((folder / _FACTS_FILE).read_text("utf-8"))
        facts = _migrated(folder, facts)
        fields = facts["version"]
        recipe = decode_recipe(f"export {folder}", fields["recipe"])
        fusion = Fusion(**fields["fusion"]) if fields.get("fusion") else None
        endpoint = Endpoint(**fields["endpoint"]) if fields.get("endpoint") else None
        given = FieldFacts(**fields.get("field_facts", {}))
        decoded = {"recipe": recipe, "fusion": fusion, "endpoint": endpoint, "field_facts": given}
        version = Version(**fields | decoded)
        export = Export(version, facts["rows"], facts["documents"], facts["digest"], facts["covers_ledger"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{folder} is no complete export: it has no {_FACTS_FILE} that Roost wrote") from None
    check_format(f"export {folder}", version.ledger_format)
    if version.recipe.schema_version > SCHEMA_VERSION:
        raise IndexFormatError(
            f"export {folder} has schema version {version.recipe.schema_version}, this Roost reads up to "
            f"{SCHEMA_VERSION}: upgrade Roost"
        )
    return export


def _migrated(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Change the content of a `version.json` to the current archive format."""
    if facts["format"] > ARCHIVE_FORMAT:
        raise IndexFormatError(
            f"export {folder} has archive format {facts['format']}, this Roost reads formats up to {ARCHIVE_FORMAT}: "
            "upgrade Roost"
        )
    for number in range(facts["format"], ARCHIVE_FORMAT):
        if number not in ARCHIVE_MIGRATIONS:
            raise IndexFormatError(
                f"export {folder} has archive format {facts['format']}, and this Roost has no migration from format "
                f"{number}: import it with the release that wrote it, and export it again"
            )
        facts = ARCHIVE_MIGRATIONS[number](facts) | {"format": number + 1}
    return facts


async def open_import(store: Store, export: Export, index: str) -> Version:
    """Create the version to load an export into, or find the one that a killed import of the same export created."""
    for status in await version_statuses(store, index):
        if status.version.origin == export.digest and not status.is_complete:
            return await create_version(store, status.version)
    exported = export.version
    check_bm25_support(store, exported.recipe)
    name = await free_name(store, f"{index}__{exported.recipe.fingerprint}")
    version = Version(
        index=index,
        name=name,
        recipe=exported.recipe,
        created=exported.created,
        metric=exported.metric,
        origin=export.digest,
        fusion=exported.fusion,
        endpoint=exported.endpoint and replace(exported.endpoint, base_url="", api_version=""),
        field_facts=exported.field_facts,
        ledger_format=LEDGER_FORMAT,
    )
    await create_version(store, version)
    await note_places(store, version, exported.places, exported.given)
    if exported.rate:
        await note_rate(store, version, exported.rate)
    return replace(version, places=exported.places, given=exported.given)


async def import_rows(store: Store, version: Version, folder: Path) -> None:
    """Load an export's rows: intents, chunks, commits. After a crash, an import or an ingest goes on with the rest."""
    documents = await asyncio.to_thread(_read_parquet, folder / _LEDGER_FILE)
    intents = documents.with_columns(
        status=pl.lit(WRITING),
        content_hash=pl.lit(""),
        pending_chunk_count=pl.max_horizontal("chunk_count", "pending_chunk_count"),
    )
    await _write_ledger(store, version, intents)
    for file in sorted(folder.glob("chunks-*.parquet")):
        frame = await asyncio.to_thread(_read_parquet, file)
        for part in frame.iter_slices(PAGE_ROWS):
            await store.upsert(version.name, await asyncio.to_thread(list, _as_rows(part)))
            crash_point("part_imported")
    await _write_ledger(store, version, documents)
    if store.is_lite:
        await store.flush(version.name)


async def check_import(store: Store, version: Version, export: Export) -> None:
    """Read all rows back and compare them with the exported ones, the vectors and the ledger included.

    Raises:
        InconsistentIndexError: A row differs or is missing, or there are too many rows.
    """
    found = Fingerprint()
    async for page in _pages(store, version):
        await asyncio.to_thread(found.add, page)
    if export.covers_ledger:
        await asyncio.to_thread(found.add_documents, await read_ledger(store, version.ledger))
    if (found.rows, str(found)) != (export.rows, export.digest):
        raise InconsistentIndexError(
            f"version {version.name} has {found.rows} rows after the import, the export {export.rows}, and they or "
            "the ledger are not the same: import again; if that does not help, drop it with roost prune and check the "
            "folder"
        )


async def _pages(store: Store, version: Version) -> AsyncIterator[list[dict[str, Any]]]:
    """Read all rows without the sparse vectors: Milvus computes them of the texts and accepts none."""
    async for page in store.read_pages(version.name, ["*"], rows=PAGE_ROWS):
        if version.recipe.sparse:
            for row in page:
                row.pop("sparse", None)
        yield page


def _as_frame(page: list[dict[str, Any]], dimension: int) -> pl.DataFrame:
    fixed = {*TEXTS, *NUMBERS, "vector", SPARSE}
    extra = [
        json.dumps({name: value for name, value in row.items() if name not in fixed}, ensure_ascii=False)
        for row in page
    ]
    vectors = np.array([row["vector"] for row in page], dtype=np.float32).reshape(-1, dimension)
    return pl.DataFrame(
        {name: [row[name] for row in page] for name in (*TEXTS, *NUMBERS)} | {"extra": extra, "vector": vectors},
        schema=_layout(dimension),
    )


def _layout(dimension: int) -> pl.Schema:
    texts, numbers = ((name, pl.String()) for name in TEXTS), ((name, pl.Int64()) for name in NUMBERS)
    vector = pl.Array(pl.Float32, dimension)
    return pl.Schema([*texts, *numbers, ("extra", pl.String()), ("vector", vector)])


def _write_chunks(folder: Path, number: int, frames: list[pl.DataFrame]) -> None:
    pl.concat(frames).write_parquet(folder / f"chunks-{number:05d}.parquet")


def _read_parquet(file: Path) -> pl.DataFrame:
    """Read one file.

    Raises:
        UsageError: It is missing or damaged.
    """
    try:
        return pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{file} cannot be read: {str(error).splitlines()[0][:200]}") from None


def _as_rows(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    vectors = frame["vector"].to_numpy()
    for row, vector in zip(frame.drop("vector").iter_rows(named=True), vectors, strict=True):
        yield {**json.loads(row.pop("extra")), **row, "vector": vector}


async def _write_ledger(store: Store, version: Version, documents: pl.DataFrame) -> None:
    for part in documents.iter_slices(PAGE_ROWS):
        await ledger.restore_rows(store, version.ledger, part.iter_rows(named=True))
