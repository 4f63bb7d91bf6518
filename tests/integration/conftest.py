"""Helpers that run the flow in this process and read back what it left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.engines import one_engine
from tests.integration.crash import Nursery
from tests.integration.handbook import drop_index, make_handbook

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.ledger import read_ledger
from roost.tasks.versions.live_version import require_live_version

__all__ = ["one_engine"]

Ingest = Callable[..., tuple[str, Any]]


@pytest.fixture
def ingest(prefect_api: str, index: str) -> Ingest:
    """Run the flow `ingest` on this test's index: (state name, report)."""
    from roost.flows.ingest import ingest as ingest_flow
    from roost.flows.parameters import IngestRequest
    from roost.flows.running.run import run_flow
    from roost.tasks.sources.source import Source

    def run(*places: str | Path | Source, **choices: Any) -> tuple[str, Any]:
        sources = [place if isinstance(place, Source) else Source(uri=str(place)) for place in places]
        return run_flow(ingest_flow, IngestRequest(sources=sources, index=index, **choices))

    return run


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where the crash tests fork their runs."""
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.close()


Read = Callable[[str], tuple[pl.DataFrame, np.ndarray, pl.DataFrame]]


@pytest.fixture
def read() -> Read:
    """Read back an index: (chunk rows by id, their vectors, ledger rows by document)."""

    async def pages(index: str) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
        async with open_store(load_settings().milvus) as store:
            version = await require_live_version(store, index)
            rows = [row async for page in store.read_pages(version.name, ["*"]) for row in page]
            ledger = await read_ledger(store, version.ledger)
        rows.sort(key=lambda row: row["id"])
        vectors = np.array([row.pop("vector") for row in rows], dtype=np.float32)
        chunks = pl.DataFrame(rows, infer_schema_length=None)
        return chunks.select(sorted(chunks.columns)), vectors, ledger.sort("uri")

    return lambda index: asyncio.run(pages(index))


@pytest.fixture
def stored(index: str, read: Read) -> Callable[[], tuple[pl.DataFrame, np.ndarray, pl.DataFrame]]:
    """Read back this test's index."""
    return lambda: read(index)


@pytest.fixture(scope="session")
def lite_handbook(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The example handbook on Milvus Lite, for tests that only read: (URI, index)."""
    folder = tmp_path_factory.mktemp("handbook")
    uri = str(folder / "roost.db")
    return uri, make_handbook(uri, folder)


@pytest.fixture(scope="session")
def standalone_handbook(
    prefect_api: str, standalone: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The example handbook on the real server, for tests that only read: (URI, index)."""
    name = make_handbook(standalone, tmp_path_factory.mktemp("handbook"))
    yield standalone, name
    drop_index(standalone, name)


@pytest.fixture(params=["lite", "standalone"])
def handbook(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The example handbook on Milvus Lite, then on the real server, to be read only: its index's name."""
    uri, name = request.getfixturevalue(f"{request.param}_handbook")
    monkeypatch.setenv("ROOST_MILVUS__URI", uri)
    return str(name)


@pytest.fixture
def server(standalone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real server, and batches of a document or two."""
    monkeypatch.setenv("ROOST_MILVUS__URI", standalone)
    monkeypatch.setenv("ROOST_INGEST__BATCH_BYTES", "4096")


@pytest.fixture
def by_itself(
    server: None, ingest: Ingest, stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Any]:
    """Ingest a folder in this process, into a file of Milvus Lite, which is soon made: the rows."""

    def rows(source: Path) -> Any:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("ROOST_MILVUS__URI", str(tmp_path / "alone.db"))
            ingest(source)
            return stored()

    return rows


#: Documents for two dozen batches.
SHIPS = {f"{n:02}.md": f"# Ship {n}\n\n{f'Ship {n} sails at noon with all her lamps lit. ' * 40}\n" for n in range(12)}


def same(some: Any, others: Any) -> bool:
    """Whether chunks, vectors and ledger are equal, but for who wrote them and when."""
    ledgers = [rows[2].drop("run_id", "updated_at", "seen_at") for rows in (some, others)]
    return some[0].equals(others[0]) and np.array_equal(some[1], others[1]) and ledgers[0].equals(ledgers[1])
