"""A local server as a child process: free port, locked data folder, start until healthy, end with its process group."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, Popen, TimeoutExpired, run
from typing import BinaryIO

from roost.tasks.errors import UsageError

HOST = "127.0.0.1"
#: Ports to choose from: below the range from which the kernel takes ports for outgoing connections.
PORTS = range(20_000, 32_768)
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
HEALTH_CHECK_INTERVAL_S = 0.1
HEALTH_CHECK_TIMEOUT_S = 5.0
#: How much of a server's log an error message quotes.
MAX_LOG_LINES = 20
MAX_LOG_LINE_CHARACTERS = 300
#: Opens URLs directly, whatever `http_proxy` says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(UsageError):
    """A local server could not be started, or ended again and again; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Service:
    """A running local server.

    name: Kind of the server, such as `milvus-lite`; its log is `<name>.log` in `data`.
    uri: URL at which it answers.
    pid: Process id of the server itself, not of a wrapper; it leads a process group of its own.
    data: Absolute path of its data folder.
    """

    name: str
    uri: str
    pid: int
    data: Path


@contextmanager
def locked_log(data: Path, name: str) -> Iterator[BinaryIO]:
    """Open the empty log `<data>/<name>.log` with an exclusive lock, which the server inherits with the log.

    Raises:
        StackError: A server of that kind already runs on this folder.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data.resolve() / f"{name}.log").open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = f"stop it (`fuser {log.name}` prints its process id) or choose another folder"
            raise StackError(f"A {name} already runs on {data}: {remedy}.") from error
        log.truncate(0)
        yield log


def run_server(
    log: BinaryIO,
    uri: str,
    command: list[str],
    env: dict[str, str],
    is_healthy: Callable[[], bool],
    *,
    directory: Path | None = None,
) -> Iterator[Service]:
    """Start a server, yield it once it is healthy, and end its whole process group afterwards.

    Args:
        log: From `locked_log`; it is closed here, the server keeps its own descriptor.
        uri: URL at which the server will answer.
        command: Program and arguments.
        env: The server's whole environment.
        is_healthy: Whether the server answers as it should.
        directory: Working directory; by default the data folder.

    Raises:
        StackError: The server ended early, or was not healthy within START_TIMEOUT_S.
    """
    path, data = Path(log.name), Path(log.name).parent
    command = [*_tied_to_parent(), *command]
    process = Popen(
        command, cwd=directory or data, env=env, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    log.close()
    try:
        _wait_until_healthy(process, path, is_healthy)
        yield Service(path.stem, uri, process.pid, data)
    finally:
        process.terminate()
        with suppress(TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_ended(service: Service) -> bool:
    """Whether the server's process has ended; its exit status stays for `run_server` to collect."""
    try:
        return os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def choose_port(name: str, port: int | None) -> int:
    """Return `port` if it is free, or a free one if it is None.

    Raises:
        StackError: The port is taken.
    """
    if port is not None and not is_free(port):
        option = f"--{name.partition('-')[0]}-port"
        remedy = f"stop the process that uses it (`ss -ltnp 'sport = :{port}'`), or choose another one with {option}"
        raise StackError(f"{name} was not started because port {port} is taken: {remedy}.")
    return next(free_ports()) if port is None else port


def free_ports() -> Iterator[int]:
    """Yield free ports in random order."""
    return filter(is_free, random.sample(PORTS, len(PORTS)))


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now, on every address of this host."""
    with socket.socket() as probe, suppress(OSError):
        # As servers do: connections closed a minute ago must not keep a restarted server from its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
        return True
    return False


def http_answers(url: str, auth: str = "") -> bool:
    """Whether this URL answers with a success status.

    Args:
        url: URL, of http or https.
        auth: `user:password` to send; empty for none.
    """
    header = {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"} if auth else {}
    with suppress(OSError):
        request = urllib.request.Request(url, headers=header)  # noqa: S310  addresses on this host only
        _OPENER.open(request, timeout=HEALTH_CHECK_TIMEOUT_S).close()
        return True
    return False


def _tied_to_parent() -> list[str]:
    """Return a command prefix that sends the server SIGTERM when this process dies; empty without `setpriv`."""
    # Linux sends the signal when the starting *thread* ends; only the main thread lives as long as the process.
    if threading.current_thread() is not threading.main_thread() or which("setpriv") is None:
        return []
    prefix = ["setpriv", "--pdeathsig", "TERM"]  # BusyBox's setpriv lacks this option
    return prefix if run([*prefix, "true"], capture_output=True, check=False).returncode == 0 else []


def _wait_until_healthy(process: Popen[bytes], log: Path, is_healthy: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        # The process is polled again after the check: another program that answers on this port proves nothing.
        if is_healthy() and process.poll() is None:
            return
        time.sleep(HEALTH_CHECK_INTERVAL_S)
    code = process.poll()
    problem = f"did not answer within {START_TIMEOUT_S:.0f} s" if code is None else f"ended early with code {code}"
    text = log.read_text(errors="replace").partition("\n\ngoroutine ")[0]  # without Go's stack dumps
    last = "\n".join(line[:MAX_LOG_LINE_CHARACTERS] for line in text.splitlines()[-MAX_LOG_LINES:])
    raise StackError(f"{log.stem} {problem}. Last lines of {log}:\n{last}")
