"""TLS to Milvus, with an authority made by the test: its server is used, any other is refused with one line."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.authority import Authority

from roost.deployments.local import servers
from roost.tasks.errors import ConfigurationError, RoostError, StoreError, TransientError
from roost.tasks.milvus.store import open_store
from roost.tasks.settings import Milvus


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@contextmanager
def tls_in_front_of(uri: str, certificate: Path, key: Path) -> Iterator[str]:
    """Answer by TLS for a server that does not: the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    place, stop = urlsplit(uri), asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError), closing(writer):
            while data := await reader.read(1 << 16):
                writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(place.hostname, place.port)
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

    async def run(listener: socket.socket) -> None:
        server = await asyncio.start_server(serve, sock=listener, ssl=context)
        await stop.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.1)  # until both ends of each have seen it

    listener, loop = socket.create_server(("127.0.0.1", 0)), asyncio.new_event_loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(run(listener),))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


def collections_at(uri: str, ca_file: Path | None, timeout: float = 10.0) -> list[str]:
    async def read() -> list[str]:
        async with open_store(Milvus(uri=uri, ca_file=ca_file, timeout=timeout)) as store:
            return await store.list_collections()

    return asyncio.run(read())


def refusal(work: Callable[[], object], kind: type[RoostError]) -> str:
    with pytest.raises(kind) as caught:
        work()
    assert type(caught.value) is kind
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_server_of_another_authority_is_refused_by_name_and_ours_is_used(standalone, authority, tmp_path):
    other = Authority(tmp_path / "other", "other")
    with tls_in_front_of(standalone, *authority.sign()) as uri:
        # First: the clients of a process share a connection to one address, whatever authority they name.
        wrong = refusal(lambda: collections_at(uri, other.file, 2.0), StoreError)
        assert wrong.startswith(f"the TLS certificate of Milvus at {uri} is refused by {other.file}: ")
        assert wrong.endswith("set ROOST_MILVUS__CA_FILE to the certificate of the authority that signed it")
        unknown = refusal(lambda: collections_at(uri, None, 2.0), StoreError)
        assert "is refused by the authorities of this machine: " in unknown
        assert isinstance(collections_at(uri, authority.file), list)
    plain = standalone.replace("127.0.0.1", "localhost")  # an address to which this process has no connection yet
    words = f"Milvus at {plain} does not answer by TLS: use http://, and no ROOST_MILVUS__CA_FILE"
    assert refusal(lambda: collections_at(plain, authority.file, 2.0), StoreError) == words
    with tls_in_front_of(standalone, *authority.sign("milvus.example")) as uri:
        assert "mismatch" in refusal(lambda: collections_at(uri, authority.file, 2.0), StoreError)
    refusal(lambda: collections_at(uri, authority.file, 2.0), TransientError)  # that server has ended


def test_a_file_of_an_authority_that_is_none_is_named(tmp_path):
    (text := tmp_path / "text.pem").write_text("no certificate")
    for file, reason in ((tmp_path / "none.pem", "No such file"), (tmp_path, ""), (text, "no PEM certificate")):
        said = refusal(lambda file=file: collections_at("https://127.0.0.1:9", file), ConfigurationError)
        assert said.startswith(f"ROOST_MILVUS__CA_FILE={file} cannot be read: ")
        assert reason in said


@pytest.mark.long
def test_milvus_with_tls_of_its_own_is_used_by_the_right_authority_only(authority, tmp_path, monkeypatch):
    pytest.importorskip("milvus", reason="the extra `local` contains the Milvus server, for Linux on x86-64 only")

    def answers(uri: str) -> bool:
        context, place = ssl.create_default_context(cafile=authority.file), urlsplit(uri)
        with suppress(OSError), socket.create_connection((place.hostname, place.port), 1) as plain:
            context.wrap_socket(plain, server_hostname=place.hostname).close()
            return True
        return False

    monkeypatch.setattr(servers, "milvus_answers", answers)
    certificate, key = authority.sign()
    tls = {"COMMON_SECURITY_TLSMODE": "1", "TLS_SERVERPEMPATH": str(certificate), "TLS_SERVERKEYPATH": str(key)}
    with servers.milvus_standalone(
        tmp_path / "milvus", settings=tls | {"TLS_CAPEMPATH": str(authority.file)}
    ) as server:
        uri, other = server.uri.replace("http://", "https://"), Authority(tmp_path / "other", "other")
        assert "is refused by" in refusal(lambda: collections_at(uri, other.file, 2.0), StoreError)
        assert collections_at(uri, authority.file) == []
