"""Start and stop real local servers as child processes: Milvus standalone, Milvus Lite, Prefect and its worker.

Each takes a folder for its data and log (made when missing) and a port (None: a free one), listens on
127.0.0.1 only (but see `milvus_standalone`), and is ended with its process group on leaving the block.
"""

import fcntl
import json
import os
import platform
import random
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, Popen, TimeoutExpired, run
from types import ModuleType
from typing import BinaryIO

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

HOST = "127.0.0.1"
PORTS = range(20_000, 32_768)  # the kernel takes outgoing connections from above, which could be quicker
START_S = 180.0
STOP_S = 10.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says
# `milvus-lite server` closes its store on Ctrl-C only; on SIGTERM it would die without doing so.
_LITE = "import signal as s, milvus_lite.cmdline as m, roost.tasks.milvus.lite_patches as t; t.apply_patches(); "
_LITE += "s.signal(s.SIGTERM, s.default_int_handler); m.main()"
_MILVUS_PORTS = ["proxy", "proxy_internal", "root_coord", "query_coord", "query_node"]
_MILVUS_PORTS += ["index_node", "data_coord", "data_node", "metrics"]
#: The token that Milvus knows at first.
MILVUS_ROOT = "root:Milvus"
_MILVUS_PARTS = ["rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode"]
_MILVUS_SETTINGS = {f"{part}.ip": HOST for part in _MILVUS_PARTS} | {
    "common.gracefulStopTimeout": 1,  # seconds; a loaded collection waits it out for a node to move to
    "log.level": "warn",
    "common.session.ttl": 10,  # seconds; after a crash the first reads wait for it to pass
}
# A small server waits for its own rounds more than it works: making an index takes 2 s instead of 3.
_MILVUS_ROUNDS = {
    f"QUERYCOORD_{name}INTERVAL": "100"  # ms; its template lacks two of these settings
    for name in ("CHECKCHANNEL", "CHECKSEGMENT", "DISTPULL")
}
# The package's --etcd-port has no effect: without this file every server on a host wants 2379 and 2380.
_ETCD = {f"{use}-urls": f"http://{HOST}:0" for use in ("listen-client", "advertise-client", "listen-peer")}


class StackError(RuntimeError):
    """A local server could not be started; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Service:
    """A local server that answers at `uri`; its data and `<name>.log` lie in the absolute folder `data`.

    `pid` is the server itself, not a wrapper, and leads a process group of its own: kill it to play a crash.
    """

    name: str
    uri: str
    pid: int
    data: Path


@contextmanager
def milvus_standalone(
    data: Path, *, port: int | None = None, authorization: bool = False, settings: dict[str, str] | None = None
) -> Iterator[Service]:
    """Run the real Milvus server 2.3.5 of the package `milvus`: 6 to 10 s to start, 0.5 GB when empty.

    All its ports but etcd's listen on every address of the host whatever the configuration says: not for
    untrusted networks. It also leaves small files in /run/milvus and /tmp/milvus.

    Args:
        data: Its folder.
        port: Where clients connect; None for a free one.
        authorization: Ask clients for a token; at first only `MILVUS_ROOT` is one.
        settings: More of the server's own, as its environment has them: `{"PROXY_TIMETICKINTERVAL": "50"}`.

    Raises:
        StackError: Not Linux on x86-64, no package, port taken, ended early, or no answer within START_S.
    """
    package = _milvus_package()
    with _claimed(data, "milvus-standalone") as log:
        ports = _milvus_ports(Path(log.name).parent, port)
        env = _configure_milvus(package, Path(log.name).parent, ports, authorization) | (settings or {})
        uri, health = f"http://{HOST}:{ports['proxy']}", f"http://{HOST}:{ports['metrics']}/healthz"
        command, token = ["bin/milvus", "run", "standalone"], MILVUS_ROOT if authorization else ""
        yield from _run(log, uri, command, env, lambda: _http_ok(health) and _milvus_answers(uri, token))


@contextmanager
def milvus_lite(data: Path, *, port: int | None = None) -> Iterator[Service]:
    """Serve the Milvus Lite store `<data>/lite.db`, one call at a time: concurrent writes damage its log.

    Raises:
        StackError: Port taken, ended early (store in use or damaged), or no answer within START_S.
    """
    with _claimed(data, "milvus-lite") as log:
        number = _port("milvus-lite", port)
        command = [sys.executable, "-c", _LITE, "server", "--data-dir", "lite.db"]
        command += ["--host", HOST, "--port", str(number), "--max-workers", "1"]
        uri = f"http://{HOST}:{number}"
        yield from _run(log, uri, command, dict(os.environ), lambda: _milvus_answers(uri))


@contextmanager
def prefect_server(data: Path, *, port: int | None = None, database: str = "") -> Iterator[Service]:
    """Run a Prefect server and UI with `data` as its PREFECT_HOME; `uri` is the URL of its API.

    It asks for the password in PREFECT_SERVER_API_AUTH_STRING, where that is set here.

    Args:
        data: Its folder.
        port: Where it listens; None for a free one.
        database: `postgresql+asyncpg://…`; empty for SQLite in its folder.

    Raises:
        StackError: Port taken, ended early, or no answer within START_S.
    """
    env = _without_prefect() | {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # A task run costs the server 27 ms without these two, 7.5 ms with them.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # SupervisedServer in memory, a deployment's one place would be lost to its run when the server is started again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    if database:
        env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    with _claimed(data, "prefect-server") as log:
        number, env["PREFECT_HOME"] = _port("prefect-server", port), str(Path(log.name).parent)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(number)]
        uri = env["PREFECT_SERVER_UI_API_URL"] = f"http://{HOST}:{number}/api"  # else pages ask port 4200
        yield from _run(log, uri, command, env, lambda: _http_ok(f"{uri}/health"))


@contextmanager
def prefect_worker(
    data: Path, pool: str, settings: dict[str, str], *, ready: Callable[[], bool], name: str = "roost-up",
    limit: int | None = None,
) -> Iterator[Service]:  # fmt: skip
    """Run a worker of a process pool, with `data` as its PREFECT_HOME; its runs end with it.

    Args:
        data: Its folder.
        pool: The work pool; it must be there.
        settings: Environment of the worker and its runs, beside our own.
        ready: Whether the server knows the worker.
        name: What it is called in the UI; one of its pool.
        limit: Runs that it does at once; None for any number.

    Raises:
        StackError: Ended early, or not known to the server within START_S.
    """
    env = _without_prefect() | {"PREFECT_WORKER_QUERY_SECONDS": "2", **settings}
    with _claimed(data, "prefect-worker") as log:
        env["PREFECT_HOME"] = str(Path(log.name).parent)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", name]
        command += ["--limit", str(limit)] if limit else []
        yield from _run(log, settings["PREFECT_API_URL"], [*command, "--install-policy", "never"], env, ready)


def has_ended(service: Service) -> bool:
    """Whether its process has ended; it stays to be reaped by who started it."""
    try:
        return os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _without_prefect() -> dict[str, str]:
    """Our environment without PREFECT_*: a caller's database or profile must not reach our servers; passwords must."""
    kept = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
    return {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_") or key in kept}


@contextmanager
def _claimed(data: Path, name: str) -> Iterator[BinaryIO]:
    """Open an empty log, locked; the server inherits the lock with it and so keeps others off its folder."""
    data.mkdir(parents=True, exist_ok=True)
    with (data.resolve() / f"{name}.log").open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            ways = f"stop it (`fuser {log.name}` tells its pid) or give another folder"
            raise StackError(f"A {name} already runs on {data}: {ways}.") from error
        log.truncate(0)
        yield log


def _run(
    log: BinaryIO, uri: str, command: list[str], env: dict[str, str], healthy: Callable[[], bool]
) -> Iterator[Service]:
    path, data = Path(log.name), Path(log.name).parent
    command = [*_tied_to_parent(), *command]
    process = Popen(command, cwd=data, env=env, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True)
    log.close()
    try:
        _wait_healthy(process, path, healthy)
        yield Service(path.stem, uri, process.pid, data)
    finally:
        process.terminate()
        with suppress(TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tied_to_parent() -> list[str]:
    """Prefix a command so that its process gets SIGTERM when we die by a signal, where setpriv offers it."""
    # Linux sends it when the thread that started the process ends, and only the main one lasts as long as we.
    if threading.current_thread() is not threading.main_thread() or which("setpriv") is None:
        return []
    tie = ["setpriv", "--pdeathsig", "TERM"]  # an option that BusyBox's lacks
    return tie if run([*tie, "true"], capture_output=True, check=False).returncode == 0 else []


def _wait_healthy(process: Popen[bytes], log: Path, healthy: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        # Asked again after the call: a stranger answering on our port must not pass for a dead server.
        if healthy() and process.poll() is None:
            return
        time.sleep(0.1)
    code = process.poll()
    problem = f"did not answer within {START_S:.0f} s" if code is None else f"ended early with code {code}"
    text = log.read_text(errors="replace").partition("\n\ngoroutine ")[0]  # no thousand lines of Go stacks
    last = "\n".join(line[:300] for line in text.splitlines()[-20:])
    raise StackError(f"{log.stem} {problem}. Last lines of {log}:\n{last}")


def _milvus_answers(uri: str, token: str = "") -> bool:
    with suppress(OSError, MilvusException, grpc.RpcError):
        # A knock first, because pymilvus logs a traceback when a call fails.
        socket.create_connection((HOST, int(uri.rpartition(":")[2])), timeout=1.0).close()
        with closing(MilvusClient(uri, token=token, timeout=5.0)) as client:
            client.list_collections(timeout=5.0)
        return True
    return False


def _http_ok(url: str) -> bool:
    with suppress(OSError):
        _DIRECT.open(url, timeout=5.0).close()
        return True
    return False


def _port(name: str, port: int | None) -> int:
    if port is not None and not _is_free(port):
        ways = f"stop what holds it (`ss -ltnp 'sport = :{port}'`), give another, or none for a free one"
        raise StackError(f"{name} was not started because port {port} is taken: {ways}.")
    return next(_free_ports()) if port is None else port


def _free_ports() -> Iterator[int]:
    return filter(_is_free, random.sample(PORTS, len(PORTS)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        # As servers do it: connections closed a minute ago must not keep a restarted server from its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
        return True
    return False


def _milvus_package() -> ModuleType:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise StackError("The package milvus runs on Linux on x86-64 only: use Milvus Lite here.")
    try:
        return import_module("milvus")
    except ModuleNotFoundError as error:
        raise StackError("The package milvus is not installed: run `pip install milvus==2.3.5`.") from error


def _milvus_ports(data: Path, port: int | None) -> dict[str, int]:
    """Choose the server's ports: those it had in this folder if free, because new ones delay its return."""
    named = {} if port is None else {"proxy": _port("milvus-standalone", port)}
    record = data / "ports.json"
    ports: dict[str, int] = (json.loads(record.read_text()) if record.exists() else {}) | named
    if len(set(ports.values())) < len(_MILVUS_PORTS) or not all(map(_is_free, ports.values())):
        ports = dict(zip(_MILVUS_PORTS, (p for p in _free_ports() if p != port), strict=False)) | named
    record.write_text(json.dumps(ports))
    return ports


def _configure_milvus(package: ModuleType, data: Path, ports: dict[str, int], authorization: bool) -> dict[str, str]:
    """Unpack the server, write its configuration, and return the environment it is to run in."""
    # Not by the package's launcher: it moves when a port is taken and leaves the server behind on SIGTERM.
    config = package.MilvusServerConfig(data_dir=str(data))
    settings = {"authorization_enabled": authorization, **_MILVUS_SETTINGS}
    for key, value in (settings | {f"{name}_port": port for name, port in ports.items()}).items():
        config.set(key, value)
    config.resolve_storage()
    config.write_config()
    (etcd := data / "configs" / "etcd.yaml").write_text(json.dumps(_ETCD | {"log-level": "warn"}))
    package._initialize_data_files(str(data))
    # Nothing inherited: Milvus obeys any variable that looks like one of its settings, such as LOG_LEVEL.
    env = {"DEPLOY_MODE": "STANDALONE", "LD_LIBRARY_PATH": f"{data}/bin", "ETCD_CONFIG_PATH": str(etcd)}
    return env | _MILVUS_ROUNDS | {"METRICS_PORT": str(ports["metrics"])}
