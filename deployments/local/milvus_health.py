"""Whether a local Milvus answers, and to the right password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from roost.deployments.local.server_process import HEALTH_CHECK_TIMEOUT_S, HOST, StackError
from roost.tasks.milvus.error_mapping import is_refused_token

CONNECT_TIMEOUT_S = 1.0
#: The password of the user root in a new server.
_FIRST_PASSWORD = "Milvus"  # noqa: S105  Milvus' documentation names it


def milvus_answers(uri: str) -> bool:
    """Whether a server answers there that needs no password."""
    with suppress(OSError, MilvusException, grpc.RpcError), _milvus_client(uri, "") as client:
        client.list_collections(timeout=HEALTH_CHECK_TIMEOUT_S)
        return True
    return False


@contextmanager
def _milvus_client(uri: str, token: str) -> Iterator[MilvusClient]:
    # A plain connection first, because pymilvus logs a traceback when a call fails.
    socket.create_connection((HOST, int(uri.rpartition(":")[2])), timeout=CONNECT_TIMEOUT_S).close()
    with closing(MilvusClient(uri, token=token, timeout=HEALTH_CHECK_TIMEOUT_S)) as client:
        yield client


def has_password(uri: str, password: str, data: Path) -> bool:
    """Whether the server answers to root with this password; that of a new server is changed to it.

    Raises:
        StackError: The server has another password.
    """
    try:
        with suppress(OSError), _milvus_client(uri, f"root:{password}") as client:
            client.list_collections(timeout=HEALTH_CHECK_TIMEOUT_S)
            return True
    except (MilvusException, grpc.RpcError) as error:
        if is_refused_token(error):
            _set_first_password(uri, password, data)
    return False


def _set_first_password(uri: str, password: str, data: Path) -> None:
    try:
        with suppress(OSError), _milvus_client(uri, f"root:{_FIRST_PASSWORD}") as client:
            client.update_password("root", _FIRST_PASSWORD, password, timeout=HEALTH_CHECK_TIMEOUT_S)
    except (MilvusException, grpc.RpcError) as error:
        if is_refused_token(error):
            remedy = "restore the file `env` that `roost up` wrote when it set the password, or choose another folder"
            raise StackError(f"The Milvus of {data} has another password for root: {remedy}.") from error
