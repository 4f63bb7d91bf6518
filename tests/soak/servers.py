"""The servers of a soak, each of its own: Milvus behind a proxy, Prefect, a worker that serves the schedule."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
from tests.integration.crash import ROOT
from tests.integration.crash_proxy import Proxy
from tests.soak.embeddings import embedding_endpoint

from roost.deployments.local.server_process import has_ended
from roost.deployments.local.servers import Service, milvus_standalone, prefect_server, prefect_worker

POOL = "soak"
INDEX = "docs"
#: Size of the disk for temporary files and for what Prefect's clients keep.
_DISK_MB = 16
#: Runs in one answer of Prefect.
_PAGE = 200
#: Attempts of a request to Prefect, and seconds between them.
_TRIES, _RETRY_INTERVAL_S = 10, 1.0
#: Milvus with short ticks and rare garbage collections, as in the tests: it shares the machine with all the rest. Not
#: with few channels, as in the tests: killed, 2.3.5 then loses rows.
_MILVUS = {"PROXY_TIMETICKINTERVAL": "50", "GOGC": "200"}


class Server:
    """A server that can be killed and started again on the same port and data."""

    def __init__(self, start: Callable[[int | None], AbstractContextManager[Service]]) -> None:
        """Start it."""
        self._start, self._running = start, ExitStack()
        self.service = self._running.enter_context(start(None))
        self.port = int(self.service.uri.split(":")[2].partition("/")[0])

    def kill(self) -> None:
        """End it as a power failure does; `restart` must follow."""
        os.killpg(self.service.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Start it again; returns when it is healthy."""
        self._running.close()
        self.service = self._running.enter_context(self._start(self.port))

    def stop(self) -> None:
        """End it."""
        self._running.close()


class Stack:
    """All servers, the environment of the commands that use them, and the small disk."""

    def __init__(self, folder: Path, up: ExitStack) -> None:
        """Start Milvus, its proxy, the endpoint and Prefect; `up` ends them. `serve_schedule` starts the worker."""
        self.folder, self._up = folder, up
        self.disk, self.disk_is_small = self._make_disk()
        self.milvus = self._keep(lambda _: milvus_standalone(folder / "milvus", settings=_MILVUS))
        self.proxy = up.enter_context(Proxy(self.milvus.service.uri).running())
        self.endpoint = up.enter_context(embedding_endpoint())
        self.prefect = self._keep(lambda port: prefect_server(folder / "prefect", port=port))
        self.worker: Server | None = None
        self.worker_starts = 0

    def _keep(self, start: Callable[[int | None], AbstractContextManager[Service]]) -> Server:
        server = Server(start)
        self._up.callback(server.stop)
        return server

    def _make_disk(self) -> tuple[Path, bool]:
        """Mount a file system of a given size, where that is allowed; else it is a folder."""
        (disk := self.folder / "disk").mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(disk)]
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        if is_mounted:
            self._up.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=False)
        return disk, is_mounted

    @property
    def settings(self) -> dict[str, str]:
        """Roost's settings, as environment variables."""
        return {
            "ROOST_MILVUS__URI": self.proxy.uri,
            "ROOST_MILVUS__TIMEOUT": "10",
            "ROOST_EMBEDDING__BASE_URL": self.endpoint,
            "ROOST_EMBEDDING__MODEL": "words",
            "ROOST_EMBEDDING__TOKENIZER": "sentence-transformers/all-MiniLM-L6-v2",
            "ROOST_INGEST__BATCH_BYTES": "2048",
            "ROOST_INGEST__PARSE_WORKERS": "1",
            "ROOST_EVALUATION__FOLDER": str(self.folder / "evaluations"),
            "PREFECT_API_URL": self.prefect.service.uri,
            "TMPDIR": str(self.disk),
        }

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of a command."""
        others = ("ROOST_", "PREFECT_", "PYTEST")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        home = {"HOME": str(self.folder / "home"), "PREFECT_HOME": str(self.disk / "prefect"), "HF_HUB_OFFLINE": "1"}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return kept | home | self.settings | {"PYTHONPATH": path}

    def serve_schedule(self) -> None:
        """Start the worker that runs the schedule, or start it again."""
        self.worker_starts += 1
        if self.worker is not None:
            self.worker.stop()
        folder = self.folder / "worker"

        def is_online() -> bool:
            return any(each["status"] == "ONLINE" for each in self.ask(f"work_pools/{POOL}/workers/filter"))

        self.worker = self._keep(lambda _: prefect_worker(folder, POOL, self._worker_env(), ready=is_online))

    def _worker_env(self) -> dict[str, str]:
        return self.settings | {"HF_HUB_OFFLINE": "1"}

    @property
    def worker_is_gone(self) -> bool:
        """Whether the worker has ended by itself."""
        return self.worker is not None and has_ended(self.worker.service)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Post to Prefect's API, again if it is busy; the answer."""
        for _ in range(_TRIES - 1):
            with suppress(httpx.HTTPError):
                return self._ask(path, body)
            time.sleep(_RETRY_INTERVAL_S)
        return self._ask(path, body)

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        return httpx.post(f"{self.prefect.service.uri}/{path}", json=body or {}, timeout=30).raise_for_status().json()

    def run_states(self) -> dict[str, int]:
        """Count Prefect's flow runs that were due, by the name of their state."""
        return dict(sorted(Counter(run["state_name"] for run in self._runs({"not_any_": ["SCHEDULED"]})).items()))

    def failures(self) -> list[str]:
        """What Prefect says of the flow runs that failed."""
        return [run["state"]["message"] or "" for run in self._runs({"any_": ["FAILED"]})]

    def _runs(self, states: dict[str, list[str]]) -> list[dict[str, Any]]:
        """All flow runs in some types of states."""
        runs: list[dict[str, Any]] = []
        wanted = {"flow_runs": {"state": {"type": states}}, "limit": _PAGE}
        while page := self.ask("flow_runs/filter", {**wanted, "offset": len(runs)}):
            runs += page
        return runs
