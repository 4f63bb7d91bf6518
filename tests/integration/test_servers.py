"""The local stack against the real servers: they answer, keep their data, and are gone afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from pymilvus import MilvusClient

from roost.deployments.local.servers import Service, StackError, milvus_lite, milvus_standalone, prefect_server

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs a Linux program: milvus, setpriv")


class Server(Protocol):
    def __call__(self, data: Path, *, port: int | None = None) -> AbstractContextManager[Service]: ...


SERVERS = [pytest.param(milvus_standalone, marks=linux_only), milvus_lite, prefect_server]


def is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def write_rows(uri: str, collection: str, count: int) -> None:
    with closing(MilvusClient(uri)) as client:
        client.create_collection(collection, dimension=4, consistency_level="Strong")
        client.upsert(collection, [{"id": number, "vector": [0.5] * 4} for number in range(count)])


def count_rows(uri: str, collection: str) -> int:
    with closing(MilvusClient(uri)) as client:
        client.load_collection(collection)
        rows = client.query(collection, filter="", output_fields=["count(*)"], consistency_level="Strong")
        return int(rows[0]["count(*)"])


def drop(uri: str, collection: str) -> list[str]:
    with closing(MilvusClient(uri)) as client:
        client.drop_collection(collection)
        return list(client.list_collections())


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        yield owner.getsockname()[1]


@pytest.mark.long  # test_crash_servers.py kills one below a run
@linux_only
def test_standalone_serves_a_client_and_comes_back_from_a_crash_at_its_address_with_its_rows(
    tmp_path: Path,
) -> None:
    with milvus_standalone(tmp_path) as first:
        write_rows(first.uri, "papers", 100)
        assert count_rows(first.uri, "papers") == 100
        os.kill(first.pid, signal.SIGKILL)
    assert is_gone(first.pid)

    with milvus_standalone(tmp_path) as second:
        assert (second.uri, second.data) == (first.uri, tmp_path)
        assert count_rows(second.uri, "papers") == 100
        assert drop(second.uri, "papers") == []
    assert is_gone(second.pid)


def test_lite_serves_a_client_and_keeps_unflushed_rows_over_a_restart(tmp_path: Path) -> None:
    with milvus_lite(tmp_path) as first:
        write_rows(first.uri, "papers", 100)
    assert is_gone(first.pid)

    with milvus_lite(tmp_path) as second:
        assert count_rows(second.uri, "papers") == 100
        assert drop(second.uri, "papers") == []
    assert is_gone(second.pid)


@pytest.mark.long  # roost up and the kept server start one in the usual form
def test_prefect_server_answers_health_from_a_database_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{tmp_path}/other.db")
    with prefect_server(tmp_path / "prefect") as server:
        with urllib.request.urlopen(f"{server.uri}/health", timeout=5) as answer:
            assert answer.read() == b"true"
        assert (tmp_path / "prefect" / "prefect.db").exists()
    assert not (tmp_path / "other.db").exists()
    assert is_gone(server.pid)


@pytest.mark.parametrize("server", SERVERS)
def test_a_taken_port_is_refused_by_its_number(server: Server, taken_port: int, tmp_path: Path) -> None:
    refusal = pytest.raises(
        StackError, match=rf"port {taken_port} is taken: stop the process that uses it .* or choose another one"
    )
    with refusal, server(tmp_path, port=taken_port):
        pytest.fail("started on a taken port")


@linux_only  # elsewhere 127.0.0.2 is no address of this host
def test_a_named_port_is_the_one_it_serves_and_only_on_this_host(tmp_path: Path) -> None:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port = finder.getsockname()[1]
    with milvus_lite(tmp_path, port=port) as server:
        assert urlsplit(server.uri).netloc == f"127.0.0.1:{port}"
        # Another address of this same host: it would answer if the server listened on all of them.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=1)


def test_a_folder_in_use_is_refused_and_its_server_goes_on(tmp_path: Path) -> None:
    with milvus_lite(tmp_path) as server:
        with pytest.raises(StackError, match="milvus-lite already runs on"), milvus_lite(tmp_path):
            pytest.fail("started twice on one folder")
        write_rows(server.uri, "papers", 1)


def test_a_body_that_raises_still_ends_the_server(tmp_path: Path) -> None:
    groups: list[int] = []

    def body() -> None:
        with milvus_lite(tmp_path) as server:
            groups.append(server.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert [is_gone(group) for group in groups] == [True]


def test_a_server_that_dies_at_the_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "lite.db").write_text("not a folder")
    report = pytest.raises(StackError, match=r"(?s)milvus-lite ended early with code 1\. .*lite\.db")
    with report, milvus_lite(tmp_path):
        pytest.fail("started on a file")


@linux_only
def test_a_killed_parent_takes_its_server_along(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from roost.deployments.local.servers import milvus_lite\n"
        "with milvus_lite(Path(sys.argv[1])) as server: print(server.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert within(10, lambda: is_gone(pid))
