"""A file of Milvus Lite: one owner at a time, of this process or any other, and the server that reads it.

The owner locks the file `HOLDER`, beside Lite's own `LOCK`, and writes its name there for those who meet it. The
lock ends with its process: a name that a killed one left behind is read by nobody, and written over.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from roost.tasks.errors import StoreError
from roost.tasks.milvus.lite_patches import mend
from roost.tasks.milvus.lock_wait import LeaseOwner, LockWait, clock

#: Seconds between two looks of a owner that waits.
POLL_INTERVAL_S = 0.5

_SHARED = (
    "one process at a time may use a file; to share it, run `roost up`, or `milvus-lite server --data-dir DIR "
    "--host 127.0.0.1 --port 19530 --max-workers 1`"
)


@asynccontextmanager
async def served(uri: str, owner: LeaseOwner) -> AsyncIterator[None]:
    """Hold a file and serve it in this process, as pymilvus would; unlike it, wait for whoever has it, or name them.

    Raises:
        ConflictError: Another has it, for longer than the owner waits.
        StoreError: It is no Milvus Lite database, or cannot be made here.
    """
    path, wait = _checked(uri), LockWait(owner)
    with _opened(path / "HOLDER") as file:
        while other := await _take(path, file, owner):
            wait.check(f"waiting for {other}, which holds {uri}", f"{uri} is held by {other} ({_SHARED})")
            await asyncio.sleep(POLL_INTERVAL_S)
        try:
            yield
        finally:
            await asyncio.to_thread(_stop, path)
            os.truncate(file, 0)


def _checked(uri: str) -> Path:
    path = Path(uri).absolute()
    if not uri.endswith(".db"):
        raise StoreError(f"ROOST_MILVUS__URI={uri}: a local file must end in .db, a server begins with http://")
    if not path.parent.is_dir():
        raise StoreError(f"ROOST_MILVUS__URI={uri}: no folder {path.parent}")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open the file to lock, made when it is not there; closing it ends the lock."""
    try:
        path.parent.mkdir(exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be opened as a Milvus Lite database: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


async def _take(path: Path, file: int, owner: LeaseOwner) -> str:
    """Take the file and start its server; or say who has it.

    Raises:
        StoreError: NullProgress has it, and Lite cannot open it.
    """
    if not _locked(file):
        return (path / "HOLDER").read_text("utf-8") or "another process"
    os.truncate(file, 0)
    os.pwrite(file, f"{owner} since {clock()}".encode(), 0)
    if await asyncio.to_thread(_start, path):
        return ""
    fcntl.flock(file, fcntl.LOCK_UN)
    with _opened(path / "LOCK") as lock:  # another program's, or a server's
        if not _locked(lock):
            return "another process"
    raise StoreError(f"{path} cannot be opened: it is no Milvus Lite database, or a damaged one")


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(path: Path) -> bool:
    from milvus_lite.server_manager import server_manager_instance

    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    mend()
    return server_manager_instance.start_and_get_uri(str(path)) is not None


def _stop(path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(path))
