"""The temporary Prefect server of one command, for runs where PREFECT_API_URL names no server: start, url, stop.

It runs in a session of its own: Ctrl-C in a terminal signals the whole process group of the command, and must not end
the server before the run has told it how it ended. The kernel ends it with the command, also when that is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import IO

from roost.deployments.local.server_process import HOST, MAX_LOG_LINE_CHARACTERS, http_answers
from roost.flows.running.prefect_api import URL_VARIABLE, temporary_server
from roost.tasks.errors import ConfigurationError, RunError

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 3.0
HEALTH_CHECK_INTERVAL_S = 0.05

# `python -m uvicorn` that ends with this process, whose id is the first argument.
_PROGRAM = (
    "import sys; from roost.tasks.parent_death import end_with_parent; end_with_parent(int(sys.argv.pop(1))); "
    "import uvicorn; uvicorn.main()"
)
#: Without its UI; Prefect's own names for a server that serves one process and keeps its settings.
_ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class TemporaryPrefect:
    """A running server; `stop` ends it.

    url: URL of its API.
    """

    def __init__(self, process: Popen[bytes], url: str, log: IO[bytes]) -> None:
        self._process, self.url, self._log = process, url, log

    @classmethod
    def start(cls) -> TemporaryPrefect:
        """Start a server on a free port, and wait until it answers. Call it in the main thread: see `end_with_parent`.

        Raises:
            ConfigurationError: PREFECT_HOME cannot be written.
            RunError: The server ended early, or did not answer in time.
        """
        import prefect
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        _check_home(settings.home)
        log = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the server runs
        with socket.create_server((HOST, 0)) as listener:  # the child inherits it: no other process can take its port
            command = [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid())]
            command += ["--app-dir", str(Path(prefect.__file__).parents[1])]
            command += ["--factory", "prefect.server.api.server:create_app", "--fd", str(listener.fileno())]
            command += ["--log-level", "error", "--lifespan", "on"]
            process = Popen(  # noqa: S603  our own program
                command,
                env={**os.environ, **_ENVIRONMENT, **settings.to_environment_variables(exclude_unset=True)},
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[listener.fileno()],
            )
            server = cls(process, f"http://{HOST}:{listener.getsockname()[1]}/api", log)
        try:
            server._wait_until_healthy()
        except BaseException:
            server.stop()
            raise
        return server

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Have all runs of this process and of its children use the server inside the context."""
        from prefect.context import refresh_global_settings_context

        os.environ[URL_VARIABLE] = self.url
        refresh_global_settings_context()
        try:
            with temporary_server(self.url):
                yield
        finally:
            del os.environ[URL_VARIABLE]
            refresh_global_settings_context()

    def stop(self) -> None:
        """End the server, within `STOP_TIMEOUT_S`."""
        self._process.terminate()
        with suppress(TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if http_answers(f"{self.url}/health"):
                return
            time.sleep(HEALTH_CHECK_INTERVAL_S)
        code = self._process.poll()
        problem = f"did not answer within {START_TIMEOUT_S:.0f} s" if code is None else f"ended early with code {code}"
        raise RunError(f"the temporary Prefect server {problem}: {self._last_log_line()}")

    def _last_log_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:MAX_LOG_LINE_CHARACTERS] if said else "it wrote no log"


def _check_home(home: Path) -> None:
    """Refuse a PREFECT_HOME in which the server cannot keep its database.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"Prefect cannot write to {home} ({error.strerror}): set PREFECT_HOME to a folder that can be written"
        ) from None
