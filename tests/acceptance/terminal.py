"""Commands in the foreground of a real terminal, where Ctrl-C signals the whole process group."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Terminal:
    """A command in the foreground of a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int, mark: str) -> None:
        self.process, self._screen, self._mark, self.said = process, screen, mark, ""

    def read(self, seconds: float) -> bool:
        """Read what is on the screen by now; return whether there may be more."""
        if select.select([self._screen], [], [], seconds)[0]:
            with suppress(OSError):  # EIO: no process has the terminal open any more
                piece = os.read(self._screen, 65536)
                self.said += piece.decode(errors="replace")
                return bool(piece)
            return False
        return self.process.poll() is None

    def wait_for(self, pattern: str, seconds: float = 120) -> None:
        ends = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert time.monotonic() < ends, self.said
            assert self.read(0.05), self.said

    def press_ctrl_c(self) -> None:
        os.write(self._screen, b"\x03")

    def end(self, seconds: float) -> int:
        """Read to the end and return the exit code."""
        ends = time.monotonic() + seconds
        while self.read(0.1) and time.monotonic() < ends:
            pass
        code = self.process.wait(max(0.1, ends - time.monotonic()))
        while self.read(0):
            pass
        return code

    def left(self) -> list[str]:
        """Command lines of the processes that it started and that still live."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


@contextmanager
def terminal(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[Terminal]:
    """Run a command in a session of its own whose terminal is a new pseudo-terminal."""
    mark, (screen, tty) = uuid.uuid4().hex, pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env | {"TEST_MARK": mark, "TERM": "xterm", "COLUMNS": "150"},
        stdin=tty,
        stdout=tty,
        stderr=tty,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(tty)
    try:
        yield Terminal(process, screen, mark)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(screen)
