"""`roost up`: Milvus, Prefect with its UI, the deployments and a worker on this machine, kept up until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from httpx import HTTPError
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from roost.deployments.local.runs import end_runs, ended_run, give_up_dead_runs
from roost.deployments.local.servers import (
    Service,
    StackError,
    has_ended,
    milvus_lite,
    milvus_standalone,
    prefect_server,
    prefect_worker,
)
from roost.deployments.prefect_setup import POOL, ServerSetup, deploy, prepare

#: Restarts of one server within `WITHIN` seconds after which it is given up.
MOST_RESTARTS = 3
WITHIN = 300.0
#: Seconds between two looks.
POLL_INTERVAL_S = 1.0

Tell = Callable[[str], None]


@dataclass
class SupervisedServer:
    """A server that is started again when it dies."""

    start: Callable[[], AbstractContextManager[Service]]
    stack: ExitStack = field(default_factory=ExitStack)
    service: Service | None = None
    restarts: list[float] = field(default_factory=list)

    def up(self) -> Service:
        """Start it, or start it again; returns when it is healthy."""
        self.stack.close()
        self.service = self.stack.enter_context(self.start())
        return self.service

    def look(self, tell: Tell) -> None:
        """Start it again if it has died.

        Raises:
            StackError: It dies again and again, or does not come back.
        """
        if self.service is None or not has_ended(self.service):
            return
        log = self.service.data / f"{self.service.name}.log"
        now = time.monotonic()
        self.restarts = [*(past for past in self.restarts if now - past < WITHIN), now]
        if len(self.restarts) > MOST_RESTARTS:
            raise StackError(f"{self.service.name} ended {len(self.restarts)} times in {WITHIN:.0f} s: see {log}")
        kept = log.with_suffix(".before.log")
        log.replace(kept)
        tell(f"{self.service.name} has ended (its log is now {kept}); starting it again …")
        tell(f"{self.up().name} is back")


def run_stack(data: Path, *, milvus_port: int, prefect_port: int, demo: bool, tell: Tell) -> None:
    """Run all of it until SIGINT or SIGTERM comes: the real Milvus where its package is, else Milvus Lite.

    Args:
        data: Folder for all data and logs; made when missing.
        milvus_port: Where Milvus listens.
        prefect_port: Where Prefect and its UI listen.
        demo: Run the deployment `ingest` with its defaults, the example handbook, and tell what becomes of it.
        tell: Gets each line.

    Raises:
        StackError: Something does not start, or dies again and again.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with ExitStack() as stack:
        try:
            _run(data, milvus_port, prefect_port, stack, demo=demo, tell=tell)
        except KeyboardInterrupt:
            tell("stopping …")


def _stop(number: int, frame: FrameType | None) -> None:
    """Stop on the first signal; those after it must not cut the stopping short."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(data: Path, milvus_port: int, prefect_port: int, stack: ExitStack, *, demo: bool, tell: Tell) -> None:
    is_standalone = find_spec("milvus") is not None
    make = milvus_standalone if is_standalone else milvus_lite
    kept = [
        SupervisedServer(lambda: make(data / "milvus", port=milvus_port)),
        SupervisedServer(lambda: prefect_server(data / "prefect", port=prefect_port)),
    ]
    for server in kept:
        stack.callback(server.stack.close)
    tell(f"starting Milvus {'standalone' if is_standalone else 'Lite'} and Prefect …")
    store, prefect = kept[0].up(), kept[1].up()
    password = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING", "")
    tell(f"Milvus   {store.uri}   export ROOST_MILVUS__URI={store.uri}")
    if is_standalone:
        tell("         listens on every address of this host, without a password: only for networks that you trust")
    tell(f"Prefect  {prefect.uri.removesuffix('/api')}   export PREFECT_API_URL={prefect.uri}")
    settings = {
        "PREFECT_API_URL": prefect.uri,
        "ROOST_MILVUS__URI": store.uri,
        "ROOST_EVALUATION__FOLDER": str(data.resolve() / "evaluations"),
    }
    os.environ |= settings | ({"PREFECT_API_AUTH_STRING": password} if password else {})
    chosen = {PREFECT_API_URL: prefect.uri, PREFECT_HOME: prefect.data}
    stack.enter_context(temporary_settings(chosen | ({PREFECT_API_AUTH_STRING: password} if password else {})))
    asyncio.run(prepare(ServerSetup()))
    names = deploy()
    worker = SupervisedServer(lambda: _worker(data / "worker", settings, tell))
    stack.callback(_end_runs, tell)
    stack.callback(worker.stack.close)
    worker.up()
    kept.append(worker)
    tell(f"deployed {', '.join(name.partition('/')[2] for name in names)}: run them in the UI, or by their schedules")
    tell(f"data and logs in {data.resolve()}; stop with Ctrl-C")
    showing = _demo(tell, prefect.uri.removesuffix("/api")) if demo else iter(())
    while True:
        next(showing, None)
        time.sleep(POLL_INTERVAL_S)
        for server in kept:
            server.look(tell)


@contextmanager
def _worker(data: Path, settings: dict[str, str], tell: Tell) -> Iterator[Service]:
    """Run the worker; runs of one before it that are gone keep no place from its own."""
    for name in asyncio.run(give_up_dead_runs()):
        tell(f"the run {name!r} has ended with its worker")
    with prefect_worker(data, POOL, settings, ready=_worker_is_known) as service:
        yield service


def _end_runs(tell: Tell) -> None:
    try:
        for name in asyncio.run(end_runs()):
            tell(f"cancelled the run {name!r}; the next one goes on from what it has committed")
    except HTTPError as error:
        tell(f"runs that were under way could not be cancelled, the next start does it: {error}")


def _worker_is_known() -> bool:
    async def ask() -> bool:
        async with get_client() as client:
            workers = await client.read_workers_for_work_pool(POOL)
            return any(worker.status == "ONLINE" for worker in workers)

    return asyncio.run(ask())


def _demo(tell: Tell, ui: str) -> Iterator[None]:
    """Index the example handbook by the deployment `ingest`, whose end triggers `evaluation`; a look at each step."""
    tell("demo: indexing the example handbook by the deployment ingest/ingest …")
    started: FlowRun = run_deployment("ingest/ingest", timeout=0)  # type: ignore[assignment]
    while not (run := ended_run(FlowRunFilter(id=FlowRunFilterId(any_=[started.id])))):
        yield
    tell(f"demo: {run.state_name}: {run.state.message if run.state else ''}")
    tell(f"demo: {ui}/runs/flow-run/{run.id}")
    if run.state_type != StateType.COMPLETED:
        return
    tell('demo: ask it: roost search "who waxes the skis?" --index handbook')
    tell("demo: its end has triggered the deployment evaluation/evaluation …")
    after = FlowRunFilterStartTime(after_=run.end_time)
    while not (run := ended_run(FlowRunFilter(name=FlowRunFilterName(any_=["evaluate handbook"]), start_time=after))):
        yield
    tell(f"demo: {run.state_name}: {run.state.message if run.state else ''}")
    tell(f"demo: {ui}/artifacts/key/evaluation-handbook")
