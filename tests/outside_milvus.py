"""A Milvus server that was started elsewhere, for the tests that need a server: `make test-server URI=...`.

All collections that the tests make there have names with a prefix of their test process, and are dropped at the end:
what else is on the server is not read, changed or dropped. A database of their own would be simpler, but Milvus 2.3
does not find the aliases in one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from pymilvus import MilvusClient

#: Address of the server; empty: the tests start a server themselves.
URI = os.environ.get("MILVUS_TEST_URI", "")
#: How the names of collections begin on such a server.
_PREFIX = f"roost_test_{uuid.uuid4().hex[:6]}_"


def fresh_name() -> str:
    """A name for an index that no other test has."""
    return f"{_PREFIX if URI else ''}t{uuid.uuid4().hex[:12]}"


def version_of(server: str) -> tuple[int, ...]:
    """The first two parts of a server's version."""
    with closing(MilvusClient(server)) as client:
        return tuple(map(int, client.get_server_version().removeprefix("v").split(".")[:2]))


def needs_server(item: pytest.Item) -> bool:
    """Whether a test, or a case of it, uses a Milvus server."""
    cases = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "standalone" in getattr(item, "fixturenames", ()) or "standalone" in [str(one) for one in cases]


@contextmanager
def used_server(server: str) -> Iterator[str]:
    """Use a server, and drop in the end what this process has left there: its URI."""
    try:
        yield server
    finally:
        with closing(MilvusClient(server)) as client:
            for name in client.list_collections():
                if name.startswith(_PREFIX):
                    for alias in client.list_aliases(name)["aliases"]:
                        client.drop_alias(alias)
                    client.drop_collection(name)
