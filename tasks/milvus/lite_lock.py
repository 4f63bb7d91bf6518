"""The lock of a Milvus Lite file: one owner at a time, of this process or any other; the owner serves the file.

The owner locks the file `OWNER` in the database's folder, beside Lite's own `LOCK`, and writes its name there for the
processes that wait. The lock ends with its process; the name that a killed process left is overwritten.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from roost.tasks.errors import StoreError
from roost.tasks.milvus.lite_patches import apply_patches
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait, time_of_day
from roost.tasks.settings import Milvus

#: Seconds between two tries to take the lock.
POLL_INTERVAL_S = 0.5

_OWNER_FILE = "OWNER"
_SHARED = (
    "one process at a time may use a file; to share it, run `roost up`, or `milvus-lite server --data-dir DIR "
    "--host 127.0.0.1 --port 19530 --max-workers 1`"
)


@asynccontextmanager
async def serve_file(uri: str, owner: LeaseOwner) -> AsyncIterator[None]:
    """Lock a Lite file and serve it in this process, as pymilvus would; unlike pymilvus, wait for another owner.

    Raises:
        ConflictError: Another owner has the lock for longer than this one waits.
        StoreError: It is no Milvus Lite database, or none can be created there.
    """
    path, wait = _checked_path(uri), LockWait(owner)
    with _opened(path / _OWNER_FILE) as file:
        while other := await _try_lock(path, file, owner):
            wait.check(f"waiting for {other}, which uses {uri}", _in_use(uri, other))
            await asyncio.sleep(POLL_INTERVAL_S)
        try:
            yield
        finally:
            await asyncio.to_thread(_stop_server, path)
            os.truncate(file, 0)


def refuse_locked(settings: Milvus) -> None:
    """Refuse a Lite file that another process has locked now, without opening it as a database.

    Raises:
        ConflictError: Another process has locked it.
        StoreError: It is no Milvus Lite database, or none can be created there.
    """
    if not settings.is_lite:
        return
    path = _checked_path(settings.uri)
    for name in (_OWNER_FILE, "LOCK"):
        if (path / name).exists():
            with _opened(path / name) as file:
                if not _lock(file):
                    other = (path / _OWNER_FILE).read_text("utf-8") if name == _OWNER_FILE else ""
                    LockWait(LeaseOwner("this run")).check("", _in_use(settings.uri, other or "another process"))


def _in_use(uri: str, other: str) -> str:
    return f"{uri} is in use by {other} ({_SHARED})"


def _checked_path(uri: str) -> Path:
    path = Path(uri).absolute()
    if not uri.endswith(".db"):
        raise StoreError(f"ROOST_MILVUS__URI={uri}: a local file must end in .db, a server begins with http://")
    if not path.parent.is_dir():
        raise StoreError(f"ROOST_MILVUS__URI={uri}: no folder {path.parent}")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file to lock, created when it does not exist; closing it releases the lock."""
    try:
        path.parent.mkdir(exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be opened as a Milvus Lite database: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


async def _try_lock(path: Path, file: int, owner: LeaseOwner) -> str:
    """Lock the file and start its server. Returns an empty string, or the name of the owner that has the lock.

    Raises:
        StoreError: The file is not locked, but Lite cannot open it.
    """
    if not _lock(file):
        return (path / _OWNER_FILE).read_text("utf-8") or "another process"
    os.truncate(file, 0)
    with suppress(OSError):  # a full disk: the name is for the messages of others only
        os.pwrite(file, f"{owner} since {time_of_day()}".encode(), 0)
    if await asyncio.to_thread(_start_server, path):
        return ""
    fcntl.flock(file, fcntl.LOCK_UN)
    with _opened(path / "LOCK") as lock:  # locked by another program than Roost, or by a Lite server
        if not _lock(lock):
            return "another process"
    raise StoreError(f"{path} cannot be opened: it is no Milvus Lite database, or a damaged one")


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_server(path: Path) -> bool:
    from milvus_lite.server_manager import server_manager_instance

    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    apply_patches()
    return server_manager_instance.start_and_get_uri(str(path)) is not None


def _stop_server(path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(path))
