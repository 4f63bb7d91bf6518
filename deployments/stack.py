"""Start and stop the real local servers as child processes: Milvus standalone, Milvus Lite, Prefect.

Each takes a folder (made when missing) for its data and its log and a port (None: a free one), listens on 127.0.0.1
only (Milvus standalone: see there), is handed out once a real call has succeeded, and is ended with its group.
"""

import functools
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

HOST = "127.0.0.1"
ANY_HOST = "0.0.0.0"  # only to ask whether a port is free on every address, never to listen
PORTS = range(20_000, 32_768)  # below those the kernel gives to outgoing connections, which could take one first
STOP_S = 10.0

# In the package's own names, the clients' port first; the etcd within gets its two ports from the kernel.
_MILVUS_PORTS = "proxy proxy_internal root_coord query_coord query_node index_node data_coord data_node metrics".split()
_MILVUS_PARTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")

# The package's --etcd-port is without effect: without this file every server on a host wants 2379 and 2380.
_ETCD_CONFIG = f"""\
log-level: warn
listen-client-urls: http://{HOST}:0
advertise-client-urls: http://{HOST}:0
listen-peer-urls: http://{HOST}:0
"""

# The command `milvus-lite server` closes its store on Ctrl-C only, and on SIGTERM dies without doing so.
_LITE_PROGRAM = """\
import signal, sys
from milvus_lite.cmdline import main
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(main())
"""


class StackError(RuntimeError):
    """A local server could not be started; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Service:
    """A local server that answers.

    Attributes:
        name: What it is; its log is `<data>/<name>.log`.
        uri: Where its clients connect.
        pid: The server's own process, leader of its own process group: kill it to play a crash.
        data: Folder that holds its data and its log, absolute.
    """

    name: str
    uri: str
    pid: int
    data: Path


@dataclass(frozen=True)
class _Launch:
    """One server to start; `healthy` makes a real call, for which `limit_s` seconds are allowed in all."""

    name: str
    uri: str
    data: Path
    command: list[str]
    env: dict[str, str]
    healthy: Callable[[], bool]
    limit_s: float


@contextmanager
def milvus_standalone(data: Path, *, port: int | None = None) -> Iterator[Service]:
    """Run the real Milvus server 2.3.5 of the package `milvus`: 6 to 10 s to start, 0.5 GB of disk when empty.

    A folder used before gets its former ports again where they are free.

    Only its etcd can be held to loopback. Its proxy, internal and metrics ports (nine) listen on every address of
    the host whatever its configuration says, without a password: not for untrusted networks. Besides its folder it
    writes `standalone.pid` under /run/milvus and, each start, 100 bytes under /tmp/milvus.

    Raises:
        StackError: Not Linux on x86-64, no package, port taken, ended early, or no answer within 180 s.
    """
    package, data = _milvus_package(), _folder(data)
    ports = _milvus_ports(data, port)
    env = _configure_milvus(package, data, ports)
    command = [str(data / "bin" / "milvus"), "run", "standalone"]
    uri = f"http://{HOST}:{ports['proxy']}"
    healthy = functools.partial(_milvus_answers, ports["proxy"])
    with _running(_Launch("milvus-standalone", uri, data, command, env, healthy, limit_s=180.0)) as service:
        yield service


@contextmanager
def milvus_lite(data: Path, *, port: int | None = None) -> Iterator[Service]:
    """Serve the Milvus Lite store `<data>/lite.db`, one call at a time: concurrent writes damage its log.

    Raises:
        StackError: Port taken, ended early (store in use or damaged), or no answer within 60 s.
    """
    data, port = _folder(data), _port("milvus-lite", port)
    command = [sys.executable, "-c", _LITE_PROGRAM, "server", "--data-dir", str(data / "lite.db")]
    command += ["--host", HOST, "--port", str(port), "--max-workers", "1"]
    healthy = functools.partial(_milvus_answers, port)
    uri = f"http://{HOST}:{port}"
    with _running(_Launch("milvus-lite", uri, data, command, dict(os.environ), healthy, limit_s=60.0)) as service:
        yield service


@contextmanager
def prefect_server(data: Path, *, port: int | None = None) -> Iterator[Service]:
    """Run a Prefect server with its UI, `data` as its PREFECT_HOME and a database of its own; `uri` is the API's URL.

    Raises:
        StackError: Port taken, ended early, or no answer within 120 s.
    """
    data, port = _folder(data), _port("prefect-server", port)
    # Without the caller's PREFECT_*: a profile or a database URL of theirs must not reach this server.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(data),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # A task run costs the server 27 ms without these two, 7.5 ms with them.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    healthy = functools.partial(_prefect_answers, port)
    uri = f"http://{HOST}:{port}/api"
    with _running(_Launch("prefect-server", uri, data, command, env, healthy, limit_s=120.0)) as service:
        yield service


@contextmanager
def _running(launch: _Launch) -> Iterator[Service]:
    command = [*_tied_to_parent(), *launch.command]
    with (log := launch.data / f"{launch.name}.log").open("ab") as out:
        # stdin closed, own session: no terminal, no Ctrl-C of ours, and a group that can be killed as one.
        process = subprocess.Popen(
            command, cwd=launch.data, env=launch.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait_healthy(launch, process, log)
        yield Service(launch.name, launch.uri, process.pid, launch.data)
    finally:
        _end(process)


def _tied_to_parent() -> list[str]:
    """Prefix a command so that its process gets SIGTERM should we die by a signal, where setpriv offers that.

    Linux sends it when the *thread* that started the process ends, so only our main thread may ask for it.
    """
    tie = ["setpriv", "--pdeathsig", "TERM"]
    try:
        trial = subprocess.run([*tie, "true"], capture_output=True, check=False)  # BusyBox's has no --pdeathsig
    except FileNotFoundError:
        return []
    return tie if trial.returncode == 0 and threading.current_thread() is threading.main_thread() else []


def _wait_healthy(launch: _Launch, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + launch.limit_s
    while time.monotonic() < deadline:
        answered = launch.healthy()
        # Asked after the call: another program answering on our port must not pass for a server that died.
        if (code := process.poll()) is not None:
            raise StackError(f"{launch.name} ended with code {code} before it answered. {_last_words(log)}")
        if answered:
            return
        time.sleep(0.1)
    raise StackError(f"{launch.name} did not answer within {launch.limit_s:.0f} s. {_last_words(log)}")


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return f"Last lines of {log}:\n" + "\n".join(line[:300] for line in lines[-20:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _milvus_answers(port: int) -> bool:
    try:
        # The bare connection first: a client that finds nobody waits out its whole limit.
        socket.create_connection((HOST, port), timeout=1.0).close()
        with closing(MilvusClient(f"http://{HOST}:{port}", timeout=5.0)) as client:
            client.list_collections(timeout=5.0)
    except (OSError, MilvusException, grpc.RpcError):
        return False
    return True


def _prefect_answers(port: int) -> bool:
    with closing(HTTPConnection(HOST, port, timeout=5.0)) as connection:
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def _folder(data: Path) -> Path:
    (data := data.resolve()).mkdir(parents=True, exist_ok=True)
    return data


def _port(name: str, port: int | None, host: str = HOST) -> int:
    if port is not None and not _is_free(port, host):
        raise StackError(
            f"{name} was not started because port {port} is taken. Find what holds it with"
            f" `ss -ltnp 'sport = :{port}'` and stop that, or name another port, or none to get a free one."
        )
    return _free_ports(1)[0] if port is None else port


def _free_ports(count: int) -> list[int]:
    free = (port for port in random.sample(PORTS, len(PORTS)) if _is_free(port, ANY_HOST))
    return [next(free) for _ in range(count)]


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        # As the servers do: else connections closed a minute ago would keep a restarted server from its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def _milvus_package() -> Any:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise StackError(
            f"The package milvus has a server for Linux on x86-64 only, not for {sys.platform} on"
            f" {platform.machine()}. Use Milvus Lite here, or a Milvus server in a container."
        )
    try:
        return import_module("milvus")
    except ModuleNotFoundError as error:
        raise StackError("The package milvus is not installed. Run `pip install milvus==2.3.5`.") from error


def _milvus_ports(data: Path, port: int | None) -> dict[str, int]:
    """Choose a port for every part of the server: those it had before in this folder, where they are all free.

    On new internal ports a returning server waits for the leases of the old ones to end: 54 s instead of 9 s.
    """
    if port is not None:
        _port("milvus-standalone", port, ANY_HOST)
    record = data / "ports.json"
    ports: dict[str, int] = json.loads(record.read_text()) if record.exists() else {}
    ports |= {"proxy": port} if port is not None else {}
    distinct = len(set(ports.values())) == len(_MILVUS_PORTS)
    if not (distinct and all(_is_free(number, ANY_HOST) for number in ports.values())):
        fresh = [number for number in _free_ports(len(_MILVUS_PORTS) + 1) if number != port]
        ports = dict(zip(_MILVUS_PORTS, [port or fresh.pop(), *fresh], strict=False))
    record.write_text(json.dumps(ports))
    return ports


def _configure_milvus(package: Any, data: Path, ports: dict[str, int]) -> dict[str, str]:
    """Unpack the server, write its configuration, and return the environment it is to run in.

    The package's own launcher is passed by: it moves to other ports when one is taken, cannot be told the metrics
    port, and on SIGTERM leaves the server behind.
    """
    config = package.MilvusServerConfig(data_dir=str(data))
    for name, number in ports.items():
        config.set(f"{name}_port", number)
    for part in _MILVUS_PARTS:
        config.set(f"{part}.ip", HOST)
    config.set("common.gracefulStopTimeout", 1)
    config.set("common.session.ttl", 10)
    config.resolve_storage()
    config.write_config()
    (etcd := data / "configs" / "etcd.yaml").write_text(_ETCD_CONFIG)
    package._initialize_data_files(str(data))
    # Nothing inherited: Milvus obeys any variable that looks like a setting of its own, such as LOG_LEVEL.
    return {
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_CONFIG_PATH": str(etcd),
        "LD_LIBRARY_PATH": str(data / "bin"),
        "METRICS_PORT": str(ports["metrics"]),
    }
