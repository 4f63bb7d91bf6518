"""Errors of other libraries, as they may stand in logs, the ledger, artifacts and messages: their type and status.

Their text may contain secrets: URLs with signatures, headers, connection strings, rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

#: Longest chain of causes that is searched for a status.
_MAX_CAUSES = 8
_STATUS_NAMES = ("status", "status_code", "http_status", "code")
_SQLSTATE_LENGTH = 5


def describe_error(error: BaseException) -> str:
    """Describe an error of another library, as in `ClientError, HTTP 403` or `No such file or directory`."""
    chain = list(_causes(error))
    status = next(filter(None, map(_status, chain)), "")
    if isinstance(error, OSError) and error.errno is not None and not status:
        return os.strerror(error.errno)
    if isinstance(error, ImportError) and error.name:
        return f"{type(error).__name__}, module {error.name}"
    name = next((type(one).__name__ for one in chain if type(one).__module__ != "builtins"), type(error).__name__)
    return ", ".join(filter(None, [name, status]))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that caused it, or that a library wrapped in it."""
    for _ in range(_MAX_CAUSES):
        if error is None:
            return
        yield error
        wrapped = getattr(error, "orig", None)  # SQLAlchemy's
        error = wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__


def _status(error: BaseException) -> str:
    status = _http_status(error)
    if status is not None:
        return f"HTTP {status}"
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return f"SQLSTATE {state}" if isinstance(state, str) and state.isalnum() and len(state) == _SQLSTATE_LENGTH else ""


def _http_status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
        return found if isinstance(found, int) else None
    for source in (error, response):
        for name in _STATUS_NAMES:
            value = getattr(source, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
                return int(value)
    return None
