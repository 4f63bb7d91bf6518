"""Real local servers as child processes: Milvus standalone, Milvus Lite, Prefect and its worker.

Each function is a context manager. It takes a data folder (created if missing), in which the server also writes its
log, and a port (None: a free one), yields the healthy server, and ends it with its process group on leaving the block.
All listen on 127.0.0.1 only, except Milvus standalone: see `milvus_standalone`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from roost.deployments.local.milvus_health import has_password, milvus_answers
from roost.deployments.local.prefect_environment import server_environment
from roost.deployments.local.server_process import (
    HOST,
    Service,
    StackError,
    choose_port,
    free_ports,
    http_answers,
    is_free,
    locked_log,
    run_server,
)

__all__ = [
    "Service",
    "StackError",
    "milvus_lite",
    "milvus_standalone",
    "prefect_server",
    "prefect_worker",
]

#: How often a local worker asks for new runs; Prefect's default is 10 s.
WORKER_QUERY_INTERVAL_S = 2
# `milvus-lite server` closes its store on Ctrl-C only; SIGTERM would kill it with the store open.
_LITE_PROGRAM = (
    "import signal as s, milvus_lite.cmdline as m, roost.tasks.milvus.lite_patches as t; t.apply_patches(); "
    "s.signal(s.SIGTERM, s.default_int_handler); m.main()"
)
_MILVUS_PORTS = (
    "proxy",
    "proxy_internal",
    "root_coord",
    "query_coord",
    "query_node",
    "index_node",
    "data_coord",
    "data_node",
    "metrics",
)
_MILVUS_COMPONENTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
_MILVUS_CONFIGURATION = {f"{component}.ip": HOST for component in _MILVUS_COMPONENTS} | {
    "common.gracefulStopTimeout": 1,  # seconds that the server waits, on stopping, for another node to take over
    "common.session.ttl": 10,  # seconds; after a crash the first reads wait until the old session has expired
    "log.level": "warn",
}
# A small server mostly waits for its own polling: with these, creating an index takes 2 s instead of 3. A read that
# sees all writes waits for the next tick of the server's clock: 0.14 s instead of 0.22, and an idle server takes 9 %
# of a core instead of 7 %. Environment variables, because two are missing in the server's configuration template.
_MILVUS_POLLING_MS = {f"QUERYCOORD_{name}INTERVAL": "100" for name in ("CHECKCHANNEL", "CHECKSEGMENT", "DISTPULL")}
_MILVUS_POLLING_MS["PROXY_TIMETICKINTERVAL"] = "100"
# Killed, Milvus 2.3.5 loses rows that it has acknowledged and not flushed, if collections share a channel. By default
# they do so from the 17th collection on; each version of an index has two. A channel that is not used costs nothing.
MILVUS_CHANNELS = 128
# The package's --etcd-port has no effect: without this file every server on a host listens on 2379 and 2380.
_ETCD_CONFIGURATION = {
    f"{use}-urls": f"http://{HOST}:0" for use in ("listen-client", "advertise-client", "listen-peer")
}


@contextmanager
def milvus_standalone(
    data: Path, *, port: int | None = None, password: str = "", settings: dict[str, str] | None = None
) -> Iterator[Service]:
    """Run the real Milvus server 2.3.5 of the package `milvus`: 6 to 10 s to start, 0.5 GB of memory when empty.

    All its ports except etcd's listen on every address of the host, whatever its configuration says. A password guards
    the port for clients only: not for untrusted networks. It also leaves small files in /run/milvus and /tmp/milvus.

    Args:
        data: Data folder.
        port: Port for clients; None for a free one.
        password: Password of the user root, which clients must give (`root:…` as token); it is set in a new server. A
            server that has another one is not changed. Empty: clients need none.
        settings: More of the server's settings, as environment variables: `{"PROXY_TIMETICKINTERVAL": "50"}`.

    Raises:
        StackError: Not Linux on x86-64, package not installed, port taken, password refused, ended early, or not
            healthy in time.
    """
    package = _milvus_package()
    with locked_log(data, "milvus-standalone") as log:
        folder = Path(log.name).parent
        ports = _milvus_ports(folder, port)
        env = _configure_milvus(package, folder, ports, bool(password)) | (settings or {})
        uri, health = f"http://{HOST}:{ports['proxy']}", f"http://{HOST}:{ports['metrics']}/healthz"
        command = ["bin/milvus", "run", "standalone"]
        ready = partial(has_password, uri, password, folder) if password else partial(milvus_answers, uri)
        yield from run_server(log, uri, command, env, lambda: http_answers(health) and ready())


@contextmanager
def milvus_lite(data: Path, *, port: int | None = None) -> Iterator[Service]:
    """Serve the Milvus Lite store `<data>/lite.db`, one call at a time: concurrent writes damage its log.

    Raises:
        StackError: Port taken, ended early (store in use or damaged), or not healthy in time.
    """
    with locked_log(data, "milvus-lite") as log:
        number = choose_port("milvus-lite", port)
        command = [sys.executable, "-c", _LITE_PROGRAM, "server", "--data-dir", "lite.db"]
        command += ["--host", HOST, "--port", str(number), "--max-workers", "1"]
        uri = f"http://{HOST}:{number}"
        yield from run_server(log, uri, command, dict(os.environ), lambda: milvus_answers(uri))


@contextmanager
def prefect_server(data: Path, *, port: int | None = None, database: str = "", auth: str = "") -> Iterator[Service]:
    """Run a Prefect server with its UI, with `data` as PREFECT_HOME; `uri` is the URL of its API.

    A web page of another origin cannot call the API. SQLite takes the write lock when a transaction begins: see
    `roost.deployments.local.sqlite_writer`.

    Args:
        data: Data folder.
        port: Port; None for a free one.
        database: `postgresql+asyncpg://…`; empty for SQLite in the data folder.
        auth: `user:password` that the API and the UI require, and CSRF tokens with it; empty for none.

    Raises:
        StackError: Port taken, ended early, or not healthy in time.
    """
    with locked_log(data, "prefect-server") as log:
        number = choose_port("prefect-server", port)
        env = _environment_without_prefect() | server_environment(number, auth)
        env["PREFECT_HOME"] = str(Path(log.name).parent)
        if database:
            env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        command = [sys.executable, "-m", "roost.deployments.local.prefect_program", "server", "start"]
        command += ["--host", HOST, "--port", str(number)]
        uri = env["PREFECT_SERVER_UI_API_URL"]
        yield from run_server(log, uri, command, env, lambda: http_answers(f"{uri}/health"))


@contextmanager
def prefect_worker(
    data: Path,
    pool: str,
    settings: dict[str, str],
    *,
    ready: Callable[[], bool],
    name: str = "roost-up",
    limit: int | None = None,
    directory: Path | None = None,
) -> Iterator[Service]:
    """Run a worker of a process pool, with `data` as PREFECT_HOME; its runs end with it.

    Args:
        data: Data folder.
        pool: Name of an existing work pool.
        settings: Environment variables of the worker and its runs, in addition to those of this process.
        ready: Whether the server lists the worker as online.
        name: Name of the worker in the UI, unique in its pool.
        limit: Maximum number of concurrent runs; None for no limit.
        directory: Working directory of the worker and its runs; by default the data folder.

    Raises:
        StackError: Ended early, or not online in time.
    """
    env = _environment_without_prefect() | {"PREFECT_WORKER_QUERY_SECONDS": str(WORKER_QUERY_INTERVAL_S), **settings}
    with locked_log(data, "prefect-worker") as log:
        env["PREFECT_HOME"] = str(Path(log.name).parent)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", name]
        command += ["--limit", str(limit)] if limit else []
        command += ["--install-policy", "never"]
        yield from run_server(log, settings["PREFECT_API_URL"], command, env, ready, directory=directory)


def _environment_without_prefect() -> dict[str, str]:
    """Return our environment without PREFECT_ variables: a caller's database or profile must not reach our servers."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}


def _milvus_package() -> ModuleType:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise StackError("The package milvus runs on Linux on x86-64 only: use Milvus Lite here.")
    try:
        return import_module("milvus")
    except ModuleNotFoundError as error:
        raise StackError("The package milvus is not installed: pip install 'roost[local]'.") from error


def _milvus_ports(data: Path, port: int | None) -> dict[str, int]:
    """Choose the server's ports: those of its last start if they are free, because new ones delay its return."""
    named = {} if port is None else {"proxy": choose_port("milvus-standalone", port)}
    record = data / "ports.json"
    ports: dict[str, int] = (json.loads(record.read_text()) if record.exists() else {}) | named
    if len(set(ports.values())) < len(_MILVUS_PORTS) or not all(map(is_free, ports.values())):
        ports = dict(zip(_MILVUS_PORTS, (free for free in free_ports() if free != port), strict=False)) | named
    record.write_text(json.dumps(ports))
    return ports


def _configure_milvus(package: ModuleType, data: Path, ports: dict[str, int], authorization: bool) -> dict[str, str]:
    """Unpack the server, write its configuration, and return the environment to start it with."""
    # Not by the package's own launcher: it changes a taken port silently and leaves the server running on SIGTERM.
    config = package.MilvusServerConfig(data_dir=str(data))
    settings = {"authorization_enabled": authorization, **_MILVUS_CONFIGURATION}
    for key, value in (settings | {f"{name}_port": port for name, port in ports.items()}).items():
        config.set(key, value)
    config.resolve_storage()
    config.write_config()
    (etcd := data / "configs" / "etcd.yaml").write_text(json.dumps(_ETCD_CONFIGURATION | {"log-level": "warn"}))
    package._initialize_data_files(str(data))
    # Nothing is inherited: Milvus reads any variable that looks like one of its settings, such as LOG_LEVEL.
    env = {"DEPLOY_MODE": "STANDALONE", "LD_LIBRARY_PATH": f"{data}/bin", "ETCD_CONFIG_PATH": str(etcd)}
    return (
        env
        | _MILVUS_POLLING_MS
        | {"ROOTCOORD_DMLCHANNELNUM": str(MILVUS_CHANNELS), "METRICS_PORT": str(ports["metrics"])}
    )
