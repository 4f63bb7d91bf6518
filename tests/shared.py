"""One server for all test processes: who needs it first starts it, and ends it when no process uses it any more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from roost.deployments.local.servers import Service


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder that all test processes of this session have."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def shared(
    name: str, factory: pytest.TempPathFactory, start: Callable[[Path], AbstractContextManager[Service]]
) -> Iterator[str]:
    """Use the session's server of that name: its URI. Test processes are those of one `pytest --numprocesses`."""
    place = common_folder(factory) / f"shared-{name}"
    users, me = place / "users", str(os.getpid())
    lock = FileLock(f"{place}.lock")
    with lock:
        running = place / "uri"
        users.mkdir(parents=True, exist_ok=True)
        server = None if running.exists() else start(place / "data")
        if server is not None:
            running.write_text((service := server.__enter__()).uri)
        (users / me).touch()
        uri = running.read_text()
    try:
        yield uri
    finally:
        (users / me).unlink()
        if server is not None:
            _end(server, service.pid, lock, users, running)


def _end(server: AbstractContextManager[Service], pid: int, lock: FileLock, users: Path, running: Path) -> None:
    """End it once no running process uses it; the next test that needs one starts another."""
    while True:
        with lock:
            if not any(_lives(int(user.name)) for user in users.iterdir()):
                running.unlink()
                os.kill(pid, signal.SIGKILL)  # its data is not wanted: Milvus takes long to end after a drop
                server.__exit__(None, None, None)
                return
        time.sleep(0.5)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
