"""The command on sources in a store, in databases and of a plug-in: its whole life, and that no secret is kept."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.acceptance.postgres import execute, postgres, programs
from tests.conftest import ROOT
from tests.integration.conftest import same

from roost.tasks.milvus.store import open_store
from roost.tasks.settings import load_settings
from roost.tasks.versions.live_version import require_live_version

pytestmark = pytest.mark.long

SECRET = "hunter2-of-the-store"
DOCUMENTS = 24
KILLED = -9


@dataclass
class Remote:
    """A source that tests change.

    words: Arguments of the command.
    write: Writes documents by key; None deletes.
    downloads: Tells what was read of documents since the last call; None where nothing counts it.
    """

    words: list[str]
    write: Callable[[dict[str, str | None]], None]
    environment: dict[str, str] = field(default_factory=dict)
    downloads: Callable[[], dict[str, int]] | None = None


@contextmanager
def _s3(folder: Path) -> Iterator[Remote]:
    pytest.importorskip("s3fs", reason="the extra `sources` contains s3fs")
    pytest.importorskip("moto", reason="the extra `dev` contains moto")
    from tests.s3_server import BUCKET, s3_server

    with s3_server() as store:

        def write(documents: dict[str, str | None]) -> None:
            for key, text in documents.items():
                place = {"Bucket": BUCKET, "Key": f"docs/{key}.md"}
                store.client().delete_object(**place) if text is None else store.client().put_object(**place, Body=text)

        def downloads() -> dict[str, int]:
            found = store.downloads()
            store.seen.clear()
            return found

        environment = store.environment | {"AWS_SECRET_ACCESS_KEY": SECRET}
        yield Remote([f"s3://{BUCKET}/docs"], write, environment, downloads)


def _statements(documents: dict[str, str | None]) -> Iterator[str]:
    for key, text in documents.items():
        yield f"DELETE FROM docs WHERE id = '{key}'"
        if text is not None:
            yield f"INSERT INTO docs VALUES ('{key}', '{text}', '2026-01-{1 + len(text) % 20:02} 00:00:00')"


_TABLE = "CREATE TABLE docs (id VARCHAR(20) PRIMARY KEY, body TEXT, updated TIMESTAMP)"


@contextmanager
def _sqlite(folder: Path) -> Iterator[Remote]:
    def write(statements: list[str]) -> None:
        connection = sqlite3.connect(folder / "shop.sqlite")
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    write([_TABLE])
    uri = f"sqlite:///{folder}/shop.sqlite?table=docs"
    yield Remote([uri, "--cursor-column", "updated"], lambda documents: write([*_statements(documents)]))


@contextmanager
def _postgresql(folder: Path) -> Iterator[Remote]:
    if programs() is None:
        pytest.skip("no PostgreSQL is installed here (Debian's package postgresql)")
    with postgres(folder / "postgres") as url:
        url = url.replace("+asyncpg", "")

        execute(url, _TABLE)
        words = [f"{url}?table=docs", "--cursor-column", "updated"]
        yield Remote(words, lambda documents: execute(url, *_statements(documents)), {"PGPASSWORD": SECRET})


@contextmanager
def _web(folder: Path) -> Iterator[Remote]:
    pytest.importorskip("trafilatura", reason="the extra `sources` contains trafilatura")
    from tests.web_site import web_site

    with web_site() as site:

        def write(documents: dict[str, str | None]) -> None:
            for key, text in documents.items():
                path = f"/{quote(key)}"
                site.pages.pop(path, None) if text is None else site.put(path, text)

        def downloads() -> dict[str, int]:
            found = {path: status for path, status in site.asked if status == 200 and "note" in path}
            site.asked.clear()
            return found

        environment = {"ROOST_WEB__RATE": "1000", "HTTPS_PROXY": f"http://user:{SECRET}@127.0.0.1:1"}
        yield Remote([site.sitemap], write, environment, downloads)


PLACES = {"s3": _s3, "sqlite": _sqlite, "postgresql": _postgresql, "web": _web}


@pytest.mark.parametrize("kind", PLACES)
def test_a_remote_source_is_followed_through_changes_deletions_and_a_crash_and_equals_a_clean_run(
    kind: str, prefect: str, tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    outputs: list[str] = []
    with PLACES[kind](tmp_path) as remote:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROOST_"))}
        environment = (
            kept
            | remote.environment
            | {
                "HOME": str(tmp_path),
                "HF_HUB_OFFLINE": "1",
                "PREFECT_API_URL": prefect,
                "XDG_CACHE_HOME": str(cache),
                "ROOST_INGEST__BATCH_BYTES": "1024",
                "PYTHONPATH": str(ROOT / "src"),
            }
        )

        def ingest(milvus: str, **settings: str) -> Any:
            command = [sys.executable, "-m", "roost", "ingest", *remote.words, "--json"]
            env = environment | {"ROOST_MILVUS__URI": str(tmp_path / milvus)} | settings
            ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=250)
            outputs.append(f"{command} {ended.stdout} {ended.stderr}")
            if ended.returncode == KILLED:
                return None
            assert ended.returncode == 0, ended.stderr
            return json.loads(ended.stdout)

        remote.write({f"note {n:02}": f"The ferry number {n} leaves at noon." for n in range(DOCUMENTS)})
        assert ingest("one.db")["documents"]["added"] == DOCUMENTS
        if remote.downloads:
            assert len(remote.downloads()) == DOCUMENTS
        again = ingest("one.db")
        assert (again["documents"]["unchanged"], again["chunks"]["written"]) == (DOCUMENTS, 0)
        if remote.downloads:
            assert remote.downloads() == {}
        changed = {f"note {n:02}": f"The ferry number {n} stays for the night." for n in range(10)}
        remote.write(changed | {"note 20": None, "note 21": None, "note 99": "A new ferry."})
        assert ingest("one.db", PYTEST_ROOST_CRASH_POINT="after_intent:1") is None
        report = ingest("one.db")
        assert report["documents"]["deleted"] == 2
        assert report["store"]["documents"] == DOCUMENTS - 1
        ingest("clean.db")
    rows, properties = [], ""
    for name in ("one.db", "clean.db"):
        monkeypatch.setenv("ROOST_MILVUS__URI", str(tmp_path / name))
        rows.append(read("docs"))
        properties += asyncio.run(_properties())
    assert same(*rows)
    assert "roost.sources" in properties
    assert SECRET not in properties
    assert SECRET not in "".join(outputs)
    assert [file for file in _files(tmp_path) if SECRET.encode() in file.read_bytes()] == []
    assert SECRET not in _recorded(prefect)


async def _properties() -> str:
    """The properties of the collections of the index."""
    async with open_store(load_settings().milvus) as store:
        version = await require_live_version(store, "docs")
        return str([await store.describe_collection(name) for name in (version.name, version.ledger)])


def _files(folder: Path) -> Iterator[Path]:
    """All files of the runs: databases of Milvus Lite, homes, logs; not those of the PostgreSQL server itself."""
    return (file for file in folder.rglob("*") if file.is_file() and "postgres" not in file.parts)


def _recorded(prefect: str) -> str:
    """What Prefect's server has of all runs: parameters, logs, artifacts."""
    import httpx

    found = [httpx.post(f"{prefect}/{kind}/filter", json={}).text for kind in ("flow_runs", "logs", "artifacts")]
    return "".join(found)
