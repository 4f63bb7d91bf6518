"""The spool: the temporary folder of a run that keeps rows of tables, and parsed text, until their batch reads them.

A run locks a file in its spool while it lives. A spool whose file can be locked belongs to a run that was killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _LOCK = "roost-spool-", "lock"


@contextmanager
def spool_folder(parent: str = "") -> Iterator[Path]:
    """Make a spool, and delete it afterwards.

    Args:
        parent: Folder to make it in; empty for the system's temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent or None) as name:
        folder = Path(name)
        file = os.open(folder / f"{_LOCK}.new", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with suppress(OSError):  # a filesystem without locks: then no run deletes this spool
                fcntl.flock(file, fcntl.LOCK_EX)
                (folder / f"{_LOCK}.new").rename(folder / _LOCK)  # only now others see it, locked
            yield folder
        finally:
            os.close(file)


def sweep_spools(parent: str = "") -> None:
    """Delete the spools that killed runs left in a folder; those of living runs are locked.

    Args:
        parent: As in `spool_folder`.
    """
    for lock in Path(parent or tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # it is locked, another user's, or being deleted by another run
            file = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
            finally:
                os.close(file)
