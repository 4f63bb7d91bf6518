"""The Prefect server of this process's runs: whether it answers, and calls that may fail.

What Prefect records of a run follows the run's commits. It must not fail the run, nor delay it: `record` limits the
time of a call and notes a failure, `drain` limits the wait for events and logs, and the run reports once what is
missing in Prefect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import httpx
from prefect import get_client
from prefect.client.base import ServerType
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    get_current_settings,
    temporary_settings,
)

from roost.tasks.errors import ConfigurationError, TransientError

URL_VARIABLE = "PREFECT_API_URL"
#: Time limit of the first call to a server.
CHECK_TIMEOUT_S = 10.0
#: Time limit of the calls that record one thing, with all their retries.
RECORD_TIMEOUT_S = 8.0
#: Time limit for sending the last events and logs.
DRAIN_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)
#: What could not be recorded of the current run.
UNRECORDED: ContextVar[list[str] | None] = ContextVar("UNRECORDED", default=None)


def check_server(*, is_replaceable: bool = True) -> None:
    """Check that the server that PREFECT_API_URL names answers and accepts the password.

    Args:
        is_replaceable: Whether a temporary server would do as well, for the message.

    Raises:
        ConfigurationError: The URL is wrong, or the server refuses the password or key.
        TransientError: It does not answer.
    """
    url = get_current_settings().api.url
    once = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: CHECK_TIMEOUT_S}
    try:
        with temporary_settings(once), get_client(sync_client=True) as client:
            if client.server_type != ServerType.CLOUD:  # which has no such call, and is not a person's to start
                client.api_version()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ConfigurationError(
                f"the Prefect server {url} refuses the password: set PREFECT_API_AUTH_STRING (or PREFECT_API_KEY)"
            ) from None
        if status < 500:
            raise ConfigurationError(
                f"{URL_VARIABLE}={url}: no Prefect API answers there (HTTP {status}); its address ends in /api"
            ) from None
        raise TransientError(f"the Prefect server {url} answers with HTTP {status}: try again later") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError):
        raise ConfigurationError(
            f"{URL_VARIABLE}={url} is no address of a Prefect server, such as http://127.0.0.1:4200/api"
        ) from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise TransientError(_no_answer(error, is_replaceable=is_replaceable)) from None


def unreachable(error: Exception) -> TransientError:
    """Give the error for a server that did not answer when a run began."""
    return TransientError(_no_answer(error))


def _no_answer(error: Exception, *, is_replaceable: bool = True) -> str:
    what = (str(error) or type(error).__name__).splitlines()[0]
    remedy = f", or unset {URL_VARIABLE} to run with a temporary one" if is_replaceable else ""
    return f"the Prefect server {get_current_settings().api.url} does not answer ({what}): start it{remedy}"


async def record(what: str, call: Callable[[], Awaitable[object]], timeout_s: float = RECORD_TIMEOUT_S) -> None:
    """Record something of a run in Prefect; note the failure of a server that is away.

    Args:
        what: What is recorded, for the message: `its report`.
        call: Calls Prefect's API.
        timeout_s: Time limit, with Prefect's own retries.
    """
    if not await call_prefect(call, timeout_s):
        note_unrecorded(what)


async def call_prefect(call: Callable[[], Awaitable[object]], timeout_s: float) -> bool:
    """Call Prefect's API in limited time; return whether it answered."""
    try:
        async with asyncio.timeout(timeout_s):
            await call()
    except (httpx.HTTPError, OSError, RuntimeError):  # TimeoutError is an OSError; a closed client: RuntimeError
        return False
    return True


def note_unrecorded(what: str) -> None:
    """Note for the end of the run what is missing in Prefect; in a run of a worker, which has no terminal, log it."""
    unrecorded = UNRECORDED.get()
    if unrecorded is None:
        _log.warning(missing_message([what]))
    elif what not in unrecorded:
        unrecorded.append(what)


def drain(timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
    """Send the events and logs that Prefect still keeps in this process.

    Call it outside of any event loop.

    Returns:
        Whether all were sent in time. If not, the interpreter would wait for them at its end, for minutes.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    deadline = time.monotonic() + timeout_s
    unsent = []
    for worker in (EventsWorker, APILogWorker):
        drained: Any = worker.drain_all(timeout=max(0.0, deadline - time.monotonic()))  # two sets of futures
        unsent += drained[1]
    return not unsent


def missing_message(unrecorded: list[str]) -> str:
    """Say in one line what Prefect lacks of a run."""
    return (
        f"Prefect's server stopped answering: {', '.join(unrecorded)} could not be recorded there. The index is not "
        "affected"
    )
