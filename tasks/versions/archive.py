"""Transfer: a version as a folder of Parquet, and back into any Milvus, row for row: to move it, or to keep it.

The folder holds `chunks-00000.parquet` and so on, `ledger.parquet` and `version.json`, which is written last. Fixed
columns have their types, the vector is an array of 32-bit floats, what else a row holds is one JSON object in `extra`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from roost.tasks.crash_points import crash_point
from roost.tasks.errors import InconsistentIndexError, UsageError
from roost.tasks.ids import digest
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import SCHEMA_VERSION, Recipe
from roost.tasks.versions import ledger
from roost.tasks.versions.ledger import WRITING, read_ledger
from roost.tasks.versions.promotion import free_name, version_statuses
from roost.tasks.versions.schema import NUMBERS, SPARSE, TEXTS
from roost.tasks.versions.version import Version, make_version, note_places, note_rate, refuse_without_words

#: Rows read at once: with their vectors and the longest texts they stay below the 100 MB that Milvus answers at most.
PAGE_ROWS = 1_000
#: Rows in one file: some 50 MB with vectors of 384 numbers.
FILE_ROWS = 20_000
#: Of the layout of a folder.
FORMAT = 1

_FACTS = "version.json"


@dataclass(frozen=True)
class Export:
    """What `version.json` says.

    version: what was exported.
    rows: chunk rows.
    documents: rows of the ledger.
    digest: of all rows with their vectors, whatever their order; names the export.
    """

    version: Version
    rows: int
    documents: int
    digest: str


class Fingerprint:
    """Adds up rows to one number, whatever their order: two collections that hold equal rows have equal ones."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Count rows as Milvus gives them."""
        for row in rows:
            plain = {name: value for name, value in row.items() if name not in ("vector", SPARSE)}
            text = json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()
            self._sum += int(digest(text + np.asarray(row["vector"], dtype=np.float32).tobytes()), 16)
        self.rows += len(rows)

    def __str__(self) -> str:
        return f"{self._sum % (1 << 128):032x}"


async def export_version(store: Store, version: Version, folder: Path) -> Export:
    """Write a version to a new folder; a killed export leaves one beside it that the next one replaces.

    Raises:
        UsageError: The folder is there already, or cannot be made.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{partial} cannot be made: {error.strerror}") from None
    found = Fingerprint()
    number, waiting = 0, [_layout(version.recipe.dimension).to_frame()]
    async for page in _pages(store, version):
        await asyncio.to_thread(found.add, page)
        waiting.append(await asyncio.to_thread(_as_frame, page, version.recipe.dimension))
        if sum(frame.height for frame in waiting) >= FILE_ROWS:
            await asyncio.to_thread(_write_chunks, partial, number, waiting)
            number, waiting = number + 1, waiting[:1]
    if len(waiting) > 1 or not number:
        await asyncio.to_thread(_write_chunks, partial, number, waiting)
    documents = await read_ledger(store, version.ledger)
    await asyncio.to_thread(documents.write_parquet, partial / "ledger.parquet")
    made = Export(version, found.rows, documents.height, str(found))
    facts = {"format": FORMAT, "rows": made.rows, "documents": made.documents, "digest": made.digest}
    text = json.dumps({**facts, "version": asdict(version)}, ensure_ascii=False, indent=1)
    (partial / _FACTS).write_text(text, encoding="utf-8")
    partial.rename(folder)
    return made


def read_export(folder: Path) -> Export:
    """Read what a folder holds.

    Raises:
        UsageError: It is no export, an unfinished one, or one of a later Roost.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        said = facts["version"]
        version = Version(**said | {"recipe": Recipe(**said["recipe"])})
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{folder} is no whole export: it has no {_FACTS} that Roost wrote") from None
    if facts["format"] != FORMAT or version.recipe.schema_version > SCHEMA_VERSION:
        raise UsageError(f"{folder} was written by a later Roost: install that one")
    return Export(version, facts["rows"], facts["documents"], facts["digest"])


async def open_import(store: Store, export: Export, index: str) -> Version:
    """Make the version that an export is loaded into, or find the one that a killed import of it began."""
    for one in await version_statuses(store, index):
        if one.version.origin == export.digest and not one.is_complete:
            return await make_version(store, one.version)
    said = export.version
    refuse_without_words(store, said.recipe)
    name = await free_name(store, f"{index}__{said.recipe.fingerprint}")
    blank = Version(index, name, said.recipe, said.created, said.metric, origin=export.digest)
    made = await make_version(store, blank)
    await note_places(store, made, said.places, said.given)
    if said.rate:
        await note_rate(store, made, said.rate)
    return replace(made, places=said.places, given=said.given)


async def import_rows(store: Store, version: Version, folder: Path) -> None:
    """Load an export's rows: intents, chunks, commits; an ingest that finds the half of it goes on as after a crash."""
    documents = await asyncio.to_thread(_read_parquet, folder / "ledger.parquet")
    intents = documents.with_columns(
        status=pl.lit(WRITING), content_hash=pl.lit(""),
        pending_chunk_count=pl.max_horizontal("chunk_count", "pending_chunk_count"),
    )  # fmt: skip
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
    """Read everything back and compare it with what was exported, vectors too.

    Raises:
        InconsistentIndexError: A row differs, is missing or too many.
    """
    found = Fingerprint()
    async for page in _pages(store, version):
        await asyncio.to_thread(found.add, page)
    if (found.rows, str(found)) != (export.rows, export.digest):
        raise InconsistentIndexError(
            f"version {version.name} holds {found.rows} rows after the import, the export {export.rows}, and they are "
            "not the same: import again; if that does not help, drop it with roost prune and look at the folder"
        )


async def _pages(store: Store, version: Version) -> AsyncIterator[list[dict[str, Any]]]:
    """Read all rows, without what Milvus makes of their texts itself, and takes from nobody."""
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
        return pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{file} cannot be read: {str(error).splitlines()[0][:200]}") from None


def _as_rows(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    vectors = frame["vector"].to_numpy()
    for row, vector in zip(frame.drop("vector").iter_rows(named=True), vectors, strict=True):
        yield {**json.loads(row.pop("extra")), **row, "vector": vector}


async def _write_ledger(store: Store, version: Version, documents: pl.DataFrame) -> None:
    for part in documents.iter_slices(PAGE_ROWS):
        await store.upsert(version.ledger, _ledger_rows(part))


def _ledger_rows(documents: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as they were: which run wrote them, and when, stays known."""
    for row in documents.select(list(ledger.ROW)).iter_rows(named=True):
        yield {**row, "nothing": [0.0, 0.0]}
