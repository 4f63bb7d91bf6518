"""The stack of `roost up` that runs now: its Prefect server for commands in other terminals, and how to end it.

`roost up` has an exclusive lock on a file in the user's state folder for as long as it runs. Beside it stand the
address and the password of its Prefect server. A second stack of the same user is not noted.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from roost.deployments.local.prefect_start import AUTH_VARIABLE, URL_VARIABLE, environment
from roost.deployments.local.private_files import (
    ForeignFileError,
    open_lock_file,
    private_folder,
    read_private,
    state_folder,
    try_lock,
    write_private,
)
from roost.deployments.local.server_process import http_answers
from roost.tasks.errors import RunError

_LOCK, _STATE = "up.lock", "up.json"
#: Time that a stack has to end: it cancels its runs and stops its servers.
END_TIMEOUT_S = 90.0
POLL_INTERVAL_S = 0.1


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs.

    url, auth: URL of its Prefect API, and `user:password`.
    pid: Process id of `roost up`.
    access_file: File with its addresses and passwords.
    prefect_version: Version of its Prefect.
    """

    url: str
    auth: str
    pid: int
    access_file: str
    prefect_version: str

    @property
    def ui(self) -> str:
        """Address of Prefect's UI."""
        return self.url.removesuffix("/api")

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Have all runs of this process and of its children use its Prefect server inside the context."""
        with environment({URL_VARIABLE: self.url, AUTH_VARIABLE: self.auth}):
            yield

    def answers(self) -> bool:
        """Whether its Prefect server answers and accepts the password."""
        return http_answers(f"{self.url}/admin/version", self.auth)


@contextmanager
def noted_stack(url: str, auth: str, access_file: Path) -> Iterator[None]:
    """Note the stack of this process inside the context, unless the user has another one or no state folder."""
    with ExitStack() as stack:
        with suppress(OSError, ForeignFileError):
            _note(stack, RunningStack(url, auth, os.getpid(), str(access_file), version("prefect")))
        yield


def _note(stack: ExitStack, running: RunningStack) -> None:
    folder = private_folder(state_folder())
    lock = open_lock_file(folder / _LOCK)
    stack.callback(os.close, lock)
    if try_lock(lock, fcntl.LOCK_EX):
        state = folder / _STATE
        state.unlink(missing_ok=True)  # a stack that was killed left it
        write_private(state, json.dumps(asdict(running)))
        stack.callback(state.unlink, missing_ok=True)


def find_stack() -> RunningStack | None:
    """Return the stack of this user that runs; None if none does.

    Raises:
        ForeignFileError: Its file belongs to another user, or others may read or write it.
    """
    return _read() if _is_running() else None


def end_stack(running: RunningStack) -> None:
    """End a stack as Ctrl-C in its terminal does: its runs are cancelled, its servers stopped.

    Raises:
        RunError: It does not end.
    """
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + END_TIMEOUT_S
    while _is_running():
        if time.monotonic() > deadline:
            raise RunError(f"`roost up`, process {running.pid}, has not ended within {END_TIMEOUT_S:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def _is_running() -> bool:
    lock_file = state_folder() / _LOCK
    if not lock_file.exists():
        return False
    lock = open_lock_file(lock_file)
    try:
        return not try_lock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _read() -> RunningStack | None:
    try:
        return RunningStack(**json.loads(read_private(state_folder() / _STATE) or ""))
    except (ValueError, TypeError):
        return None
