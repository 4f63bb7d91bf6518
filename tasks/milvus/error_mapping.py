"""Map what pymilvus and gRPC raise to Roost's exceptions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
from pymilvus.exceptions import (
    ConnectError,
    ConnectionConfigException,
    MilvusException,
    MilvusUnavailableException,
)
from pymilvus.grpc_gen import common_pb2

from roost.tasks.errors import CollectionNotFoundError, RoostError, StoreError, TransientError, disk_full

# Milvus' merr: unavailable, out of memory, busy, limited; not loaded, no channel and node gone: while it restarts.
_TRANSIENT_CODES = {2, 3, 4, 5, 8, 9, 101, 503, 901, 902, 903}
# An unexpected error. Milvus 2.3.5 wraps in it the missing channel (503) of a collection that is dropped during a read.
_UNEXPECTED_CODE, _NO_CHANNEL = 65_535, "channel not available"
_CONNECT_CODE = 2
# No such collection, no such alias.
_NOT_FOUND_CODES = {100, 1600}
#: How Milvus refuses, in words only: "PrivilegeInsert: permission deny to reader in the `default` database".
_DENIED = re.compile(r"Privilege(\w+): permission deny")
_UNAUTHENTICATED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
_TRANSIENT_GRPC = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
}
_MAX_MESSAGE_LENGTH = 300
#: Milvus Lite cannot write with less free space than this, in bytes: its smallest file takes a block or two.
_FULL_DISK_BYTES = 64 * 1024


@contextmanager
def mapped_errors(uri: str) -> Iterator[None]:
    """Raise Roost's exceptions in place of those of pymilvus and gRPC, for a call over an open connection.

    Raises:
        TransientError: The call may succeed when it is repeated.
        CollectionNotFoundError: The collection or the alias does not exist.
        StoreError: The call would fail again.
        RunError: The disk of a Milvus Lite file is full.
    """
    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        raise _as_roost_error(uri, error) from error
    except ValueError as error:
        raise StoreError(f"Milvus at {uri}: the client rejected the call: {_first_line(error)}") from error


@contextmanager
def mapped_connect_errors(uri: str) -> Iterator[None]:
    """Raise Roost's exceptions in place of those of pymilvus and gRPC, while connecting: the URI may be malformed.

    Raises:
        TransientError: Nothing answers at the URI.
        StoreError: The URI is malformed, or the token is wrong.
    """
    try:
        yield
    except (ConnectionConfigException, ValueError) as error:
        raise StoreError(f"ROOST_MILVUS__URI={uri} is not valid: {_first_line(error)}") from error
    except (MilvusException, grpc.RpcError) as error:
        raise _as_roost_error(uri, error) from error


def _as_roost_error(uri: str, error: BaseException) -> RoostError:
    if isinstance(error, ConnectError | MilvusUnavailableException):
        return TransientError(f"Milvus at {uri} does not answer: {_first_line(error)}")
    if privilege := missing_privilege(error):
        return StoreError(
            f"Milvus at {uri} refuses: the user of ROOST_MILVUS__TOKEN lacks the privilege {privilege}; grant it to "
            "that user's role, or set the token of another user"
        )
    if is_refused_token(error):
        return StoreError(f"Milvus at {uri} refuses the token: set ROOST_MILVUS__TOKEN")
    if isinstance(error, MilvusException) and error.code == _CONNECT_CODE:
        return TransientError(f"Milvus at {uri} does not answer: start it (`roost up`), or set ROOST_MILVUS__URI")
    if _is_disk_full(uri):
        return disk_full(uri)
    if _is_transient(error):
        return TransientError(f"Milvus at {uri} cannot answer now: {_first_line(error)}")
    if isinstance(error, MilvusException) and error.code in _NOT_FOUND_CODES:
        return CollectionNotFoundError(f"Milvus at {uri} has no such collection or alias: {_first_line(error)}")
    return StoreError(f"Milvus at {uri} refuses: {_first_line(error)}")


def _is_disk_full(uri: str) -> bool:
    """Whether there is no space for the files of Milvus Lite; False for a server, whose disk is not known."""
    if "://" in uri:
        return False
    with suppress(OSError):
        return shutil.disk_usage(Path(uri).absolute().parent).free < _FULL_DISK_BYTES
    return False


def missing_privilege(error: BaseException) -> str:
    """Name the privilege that the user of a token lacks for a call; empty when the call failed for another reason."""
    found = (_DENIED.search(_text(cause)) for cause in (error, _origin(error)) if cause is not None)
    return next((match[1] for match in found if match), "")


def is_refused_token(error: BaseException) -> bool:
    """Whether the server refused the token. pymilvus reports that as a failed connection; the cause tells."""
    causes = [cause for cause in (error, _origin(error)) if isinstance(cause, grpc.RpcError)]
    return any(cause.code() in _UNAUTHENTICATED for cause in causes)


def _is_transient(error: BaseException) -> bool:
    """Judge by codes and causes; by the message's text only where it alone says that a channel is missing."""
    origin = _origin(error)
    for one in (error, origin):
        if isinstance(one, grpc.RpcError):
            return one.code() in _TRANSIENT_GRPC
    if not isinstance(error, MilvusException):
        return False
    # A MilvusException raised from another one: pymilvus ran out of its own retries.
    if isinstance(origin, MilvusException | TimeoutError) or error.code in _TRANSIENT_GRPC:
        return True
    if type(error) is not MilvusException:
        return False
    # Code 1 is Milvus' "not ready", and also pymilvus' own code for any error without one.
    not_ready = error.code == 1 and error.compatible_code != common_pb2.UnexpectedError
    no_channel = error.code == _UNEXPECTED_CODE and _NO_CHANNEL in error.message
    return not_ready or no_channel or error.code in _TRANSIENT_CODES


def _origin(error: BaseException) -> BaseException | None:
    """Give the error that this one was raised from; pymilvus also raises errors from themselves, which hides it."""
    return error.__context__ if error.__cause__ is error else error.__cause__


def _first_line(error: BaseException) -> str:
    return (_text(error).strip().splitlines() or [type(error).__name__])[0][:_MAX_MESSAGE_LENGTH]


def _text(error: BaseException) -> str:
    return str(getattr(error, "message", None) or getattr(error, "details", lambda: "")() or error)
