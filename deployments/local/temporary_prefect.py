"""The temporary Prefect server of one command: start, url, stop.

It runs in a session of its own: Ctrl-C in a terminal signals the whole process group of the command, and must not end
the server before the run has told it how it ended. The kernel ends it with the command, also when that is killed.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from subprocess import Popen, TimeoutExpired
from typing import IO

from roost.deployments.local.prefect_child import ChildOptions
from roost.deployments.local.prefect_choice import PrefectChoice
from roost.deployments.local.prefect_start import (
    URL_VARIABLE,
    environment,
    last_log_line,
    listen,
    start_child,
    wait_until_healthy,
)
from roost.deployments.local.server_process import HOST
from roost.flows.running.command_server import command_server

STOP_TIMEOUT_S = 3.0


class TemporaryPrefect:
    """A server that runs or starts; `stop` ends it.

    url: URL of its API.
    """

    def __init__(self, process: Popen[bytes], url: str, log: IO[bytes]) -> None:
        self._process, self.url, self._log = process, url, log

    @classmethod
    def begin(cls, choice: PrefectChoice) -> TemporaryPrefect:
        """Begin to start a server on a free port. Call it in the main thread: see `end_with_parent`.

        Raises:
            ConfigurationError: PREFECT_HOME cannot be written.
        """
        with listen() as listener, ExitStack() as stack:
            log = stack.enter_context(tempfile.TemporaryFile())
            process = start_child(ChildOptions(listener.fileno(), parent=os.getpid()), choice, log)
            stack.pop_all()  # the log stays open as long as the server runs
            return cls(process, f"http://{HOST}:{listener.getsockname()[1]}/api", log)

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            RunError: The server ended early, or did not answer in time.
        """
        wait_until_healthy(self.url, self._process.poll, self._last_log_line)

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Have all runs of this process and of its children use the server inside the context."""
        with environment({URL_VARIABLE: self.url}), command_server(self.url, ends_with_command=True):
            yield

    def stop(self) -> None:
        """End the server, within `STOP_TIMEOUT_S`."""
        self._process.terminate()
        with suppress(TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _last_log_line(self) -> str:
        self._log.seek(0)
        return last_log_line(self._log.read())
