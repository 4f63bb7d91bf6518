"""An S3 store of its own: moto's server as a process, behind a proxy that counts what is read and makes faults."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_server import QuietHandler, http_server

#: How boto finds and enters the store.
REGION = "us-east-1"
BUCKET = "roost-docs"
_ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
SECRET = "hunter2-in-a-message"


@dataclass(frozen=True)
class Fault:
    """What the proxy answers instead: a status with an S3 error code, or half of the store's answer."""

    status: int = 0
    code: str = "InternalError"


CUT = Fault()


@dataclass(frozen=True)
class Request:
    """A request that the proxy has seen: `path` is the object's, without the bucket; `query` a listing's parameters."""

    method: str
    path: str
    query: dict[str, str]

    @property
    def is_listing(self) -> bool:
        """Whether it lists objects."""
        return "list-type" in self.query or "prefix" in self.query


@dataclass
class S3Store:
    """The store, as tests see it.

    fault: Says what is wrong with the answer to a request; None for nothing.
    seen: (request, bytes of the answer's body) of all requests.
    page: Objects on a page of a listing; 0 for S3's 1,000.
    """

    uri: str
    moto: str
    page: int = 0
    fault: Callable[[Request], Fault | None] = lambda request: None
    seen: list[tuple[Request, int]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a process finds it."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}
        return keys | {"AWS_ENDPOINT_URL": self.uri, "AWS_MAX_ATTEMPTS": "2", "AWS_EC2_METADATA_DISABLED": "true"}

    def downloads(self) -> dict[str, int]:
        """Bytes of objects that were read, by path."""
        found: dict[str, int] = {}
        for request, size in self.seen:
            if request.method == "GET" and request.path and not request.is_listing:
                found[request.path] = found.get(request.path, 0) + size
        return found

    def client(self) -> Any:
        """A client that writes into the store, past the proxy."""
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
        return boto3.client("s3", endpoint_url=self.moto, **keys)


@contextmanager
def s3_server() -> Iterator[S3Store]:
    """Run the store with an empty bucket."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    moto = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, moto)
        with _proxy(port) as store:
            store.client().create_bucket(Bucket=BUCKET)
            yield store
    finally:
        moto.terminate()
        moto.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert process.poll() is None, "moto's server ended"
        time.sleep(0.05)


@contextmanager
def _proxy(port: int) -> Iterator[S3Store]:
    class Handler(QuietHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.lstrip("/").partition("/")[2]
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            request = Request(self.command, path, query)
            body = self.body()
            fault = store.fault(request)
            if fault and fault.status:
                status, headers = fault.status, {"Content-Type": "application/xml"}
                data = _ERROR.format(code=fault.code, text=SECRET).encode()
            else:
                status, headers, data = self.forward(body)
            store.seen.append((request, len(data)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if fault == CUT else data)
            if fault == CUT:
                self.close_connection = True

        def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = HTTPConnection("127.0.0.1", port)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                is_paged = store.page and "list-type=2" in self.path and "max-keys" not in self.path
                path = f"{self.path}&max-keys={store.page}" if is_paged else self.path
                upstream.request(self.command, path, body or None, headers)
                found = upstream.getresponse()
                data = found.read()
                kept = {"etag", "last-modified", "content-type", "content-range", "accept-ranges"}
                shown = {name: value for name, value in found.getheaders() if name.lower() in kept}
                if self.command == "HEAD":
                    shown["Content-Length"] = found.getheader("Content-Length", "0")
                return found.status, shown, data
            finally:
                upstream.close()

    with http_server(Handler) as served:
        store = S3Store(f"http://127.0.0.1:{served}", f"http://127.0.0.1:{port}")
        yield store
