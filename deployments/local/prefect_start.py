"""Starting a Prefect server as a child process of a command, before Prefect is imported in the command itself."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import IO

from roost.deployments.local.prefect_child import ChildOptions
from roost.deployments.local.prefect_choice import PrefectChoice
from roost.deployments.local.server_process import HOST, MAX_LOG_LINE_CHARACTERS, http_answers
from roost.tasks.errors import ConfigurationError, RunError

START_TIMEOUT_S = 120.0
HEALTH_CHECK_INTERVAL_S = 0.05
URL_VARIABLE, AUTH_VARIABLE = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
#: The program of the server, as arguments of Python.
PROGRAM = ("-m", "roost.deployments.local.prefect_child")
#: Variables of the command that mean another server, or that no server needs to know.
_CLIENT_VARIABLES = (URL_VARIABLE, AUTH_VARIABLE, "PREFECT_API_KEY")


def start_child(
    options: ChildOptions, choice: PrefectChoice, log: IO[bytes], descriptors: tuple[int, ...] = ()
) -> Popen[bytes]:
    """Start the server in a session of its own, which Ctrl-C in a terminal does not reach.

    Args:
        options: How it runs.
        choice: Prefect's settings of the command.
        log: File for its standard output and error.
        descriptors: Open files that it inherits, besides its listening socket.

    Raises:
        ConfigurationError: PREFECT_HOME cannot be written.
    """
    check_home(choice.home)
    env = {name: value for name, value in (os.environ | choice.variables).items() if not name.startswith("ROOST_")}
    return Popen(  # noqa: S603  our own program
        [sys.executable, "-P", *PROGRAM, options.as_argument()],
        env={name: value for name, value in env.items() if name not in _CLIENT_VARIABLES},
        stdin=DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=[options.listener, *descriptors],
    )


def listen(port: int = 0) -> socket.socket:
    """Listen on 127.0.0.1 for the server, which inherits the socket, so that no other process can take its port.

    Args:
        port: Port to prefer; another one is taken if it is not free, or 0.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError:
        return socket.create_server((HOST, 0))


def wait_until_healthy(url: str, exit_code: Callable[[], int | None], last_line: Callable[[], str]) -> None:
    """Wait until a server answers.

    Args:
        url: URL of its API.
        exit_code: Returns the exit code of its process; None while it runs.
        last_line: Returns the last line of its log, for the error.

    Raises:
        RunError: It ended, or did not answer within START_TIMEOUT_S.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while exit_code() is None and time.monotonic() < deadline:
        if http_answers(f"{url}/health"):
            return
        time.sleep(HEALTH_CHECK_INTERVAL_S)
    code = exit_code()
    problem = f"did not answer within {START_TIMEOUT_S:.0f} s" if code is None else f"ended early with code {code}"
    raise RunError(f"the Prefect server {problem}: {last_line()}")


def last_log_line(log: bytes) -> str:
    """Return the last line of a log that is not empty, shortened."""
    lines = [line.strip() for line in log.decode(errors="replace").split("\n") if line.strip()]
    return lines[-1][:MAX_LOG_LINE_CHARACTERS] if lines else "it wrote no log"


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Have Prefect in this process and its children use these settings inside the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    _refresh_prefect()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _refresh_prefect()


def _refresh_prefect() -> None:
    """Have Prefect read its settings again, if it has been imported."""
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def check_home(home: Path) -> None:
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
