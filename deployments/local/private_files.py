"""Files and locks in the user's state folder that only their owner may read or write."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from roost.tasks.errors import ConfigurationError

LOCK_POLL_INTERVAL_S = 0.02
_OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class ForeignFileError(ConfigurationError):
    """A file or folder that must be private belongs to another user, or is open to others."""


def state_folder() -> Path:
    """Return the folder for what Roost knows of running servers: `$XDG_STATE_HOME/roost` on Linux. It may not exist."""
    return platformdirs.user_state_path("roost")


def private_folder(folder: Path) -> Path:
    """Create a folder that only its owner may use, or check that an existing one is not writable for others.

    Raises:
        ForeignFileError: It belongs to another user, or others may write to it.
        OSError: It cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(folder, folder.stat(), stat.S_IWGRP | stat.S_IWOTH)
    return folder


def read_private(file: Path) -> str | None:
    """Read a file that only its owner may read; None if there is none.

    Raises:
        ForeignFileError: It belongs to another user, or others may read or write it.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | _OPEN_FLAGS)
    except FileNotFoundError:
        return None
    with open(descriptor, encoding="utf-8") as stream:  # noqa: PTH123  a descriptor, not a path
        _refuse_foreign(file, os.fstat(descriptor), stat.S_IRWXG | stat.S_IRWXO)
        return stream.read()


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step, readable for its owner only."""
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(text)
    new.replace(file)


def open_lock_file(file: Path) -> int:
    """Open a file to lock it, and create it if it is missing; return the descriptor."""
    return os.open(file, os.O_RDWR | os.O_CREAT | _OPEN_FLAGS, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    """Lock an open file without waiting; return whether it is locked now. After a failure an earlier lock is lost.

    Args:
        descriptor: From `open_lock_file`. Closing it, also by the end of all processes that inherited it, unlocks.
        kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.
    """
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    return False


def wait_for_lock(descriptor: int, kind: int, timeout_s: float) -> bool:
    """Lock an open file, and wait a limited time for it; return whether it is locked now."""
    deadline = time.monotonic() + timeout_s
    while not try_lock(descriptor, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOCK_POLL_INTERVAL_S)
    return True


@contextmanager
def locked(file: Path, timeout_s: float) -> Iterator[None]:
    """Have an exclusive lock on a file inside the context.

    Raises:
        TimeoutError: Another process has it for longer.
    """
    descriptor = open_lock_file(file)
    try:
        if not wait_for_lock(descriptor, fcntl.LOCK_EX, timeout_s):
            raise TimeoutError(f"another process has locked {file} for {timeout_s:.0f} s")
        yield
    finally:
        os.close(descriptor)


def _refuse_foreign(path: Path, found: os.stat_result, forbidden: int) -> None:
    if found.st_uid != os.geteuid():
        raise ForeignFileError(f"{path} belongs to another user (uid {found.st_uid}): remove it")
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        raise ForeignFileError(f"{path} is open to other users (mode {mode:o}): remove it, or `chmod go= {path}`")
