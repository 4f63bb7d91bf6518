"""How the process of a command ends: at a signal, and at its end without the interpreter's clean-up."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from roost.cli.shell_environment import has_cursor


def tell_stopping() -> None:
    """Print, at the first signal, that the command stops. A progress bar's line is overwritten."""
    start = "\r\x1b[2K" if has_cursor(sys.stderr) else ""
    os.write(sys.stderr.fileno(), f"{start}roost: stopping: what is committed stays\n".encode())


def leave(code: int) -> NoReturn:
    """End the process at once; standard output is flushed before.

    A command has closed Milvus, ended its child processes and sent Prefect the last events and logs by then. The
    interpreter would free thousands of modules, which takes up to a second, and wait for Prefect's threads, which try
    for minutes to reach a server that is away.
    """
    if util := sys.modules.get("multiprocessing.util"):
        util._run_finalizers(0)  # frees the semaphores of a pool whose process was killed; else Python warns of them
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
