"""Map what pymilvus and gRPC raise to Roost's exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from pymilvus.exceptions import (
    ConnectError,
    ConnectionConfigException,
    MilvusException,
    MilvusUnavailableException,
)
from pymilvus.grpc_gen import common_pb2

from roost.tasks.errors import CollectionNotFoundError, StoreError, TransientError

# Milvus' merr: unavailable, out of memory, busy, limited; not loaded, no channel and node gone: while it restarts.
_TRANSIENT_CODES = {2, 3, 4, 5, 8, 9, 101, 503, 901, 902, 903}
_NO_COLLECTION = 100
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


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what pymilvus and gRPC raise into Roost's two kinds: worth another try, or not."""
    try:
        yield
    except (ConnectError, MilvusUnavailableException) as error:
        raise TransientError(f"Milvus at {uri} does not answer: {_words(error)}") from error
    except (ConnectionConfigException, ValueError) as error:
        raise StoreError(f"ROOST_MILVUS__URI={uri}: {_words(error)}") from error
    except (MilvusException, grpc.RpcError) as error:
        if _is_refused_token(error):
            raise StoreError(f"Milvus at {uri} refuses the token: set ROOST_MILVUS__TOKEN") from error
        if _is_connect(error):
            raise TransientError(
                f"Milvus at {uri} does not answer: start it (`roost up`), or set ROOST_MILVUS__URI"
            ) from error
        if _is_transient(error):
            raise TransientError(f"Milvus at {uri}: {_words(error)}") from error
        if isinstance(error, MilvusException) and error.code == _NO_COLLECTION:
            raise CollectionNotFoundError(f"Milvus at {uri} refuses: {_words(error)}") from error
        raise StoreError(f"Milvus at {uri} refuses: {_words(error)}") from error


def _is_refused_token(error: BaseException) -> bool:
    """Also behind a connection that failed for it: pymilvus words that as a server that is away."""
    causes = [cause for cause in (error, _origin(error)) if isinstance(cause, grpc.RpcError)]
    return any(cause.code() in _UNAUTHENTICATED for cause in causes)


def _is_connect(error: BaseException) -> bool:
    return isinstance(error, MilvusException) and error.code == 2


def _is_transient(error: BaseException) -> bool:
    """Judge by codes and causes, never by words."""
    origin = _origin(error)
    for one in (error, origin):
        if isinstance(one, grpc.RpcError):
            return one.code() in _TRANSIENT_GRPC
    if not isinstance(error, MilvusException):
        return False
    # A MilvusException below another: pymilvus ran out of its own tries.
    if isinstance(origin, MilvusException | TimeoutError) or error.code in _TRANSIENT_GRPC:
        return True
    if type(error) is not MilvusException:
        return False
    # Code 1 is Milvus' "not ready", and also pymilvus' own for whatever it has no code for.
    not_ready = error.code == 1 and error.compatible_code != common_pb2.UnexpectedError
    return not_ready or error.code in _TRANSIENT_CODES


def _origin(error: BaseException) -> BaseException | None:
    """What an error was raised for; pymilvus raises errors from themselves on the way, which hides it."""
    return error.__context__ if error.__cause__ is error else error.__cause__


def _words(error: BaseException) -> str:
    text = getattr(error, "message", None) or getattr(error, "details", lambda: "")() or str(error)
    return (str(text).strip().splitlines() or [type(error).__name__])[0][:300]
