"""`roost up`: run Milvus, Prefect with its UI, the deployments and a worker on this machine until it is stopped."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
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

from roost.deployments.deploy import deploy
from roost.deployments.local.access import Access, prepare_access
from roost.deployments.local.running_stack import noted_stack
from roost.deployments.local.runs import cancel_runs, crash_dead_runs, find_ended_run
from roost.deployments.local.server_process import Service, StackError, has_ended
from roost.deployments.local.servers import milvus_lite, milvus_standalone, prefect_server, prefect_worker
from roost.deployments.prefect_setup import POOL, ServerSetup, prepare
from roost.deployments.ui_pages import ui_page

#: A server that needs more restarts than this within the period is not started again.
MAX_RESTARTS = 3
RESTART_PERIOD_S = 300.0
POLL_INTERVAL_S = 1.0

Echo = Callable[[str], None]


@dataclass
class SupervisedServer:
    """A server that is started again when it has ended.

    start: Makes the context manager that runs the server.
    restarts: Times of the restarts within RESTART_PERIOD_S, on the monotonic clock.
    """

    start: Callable[[], AbstractContextManager[Service]]
    stack: ExitStack = field(default_factory=ExitStack)
    service: Service | None = None
    restarts: list[float] = field(default_factory=list)

    def up(self) -> Service:
        """Start or restart the server; returns when it is healthy."""
        self.stack.close()
        self.service = self.stack.enter_context(self.start())
        return self.service

    def restart_if_ended(self, echo: Echo) -> None:
        """Restart the server if its process has ended; its log is kept as `<name>.before.log`.

        Raises:
            StackError: It ended more than MAX_RESTARTS times within RESTART_PERIOD_S, or does not start.
        """
        if self.service is None or not has_ended(self.service):
            return
        log = self.service.data / f"{self.service.name}.log"
        now = time.monotonic()
        self.restarts = [*(past for past in self.restarts if now - past < RESTART_PERIOD_S), now]
        if len(self.restarts) > MAX_RESTARTS:
            times = f"{len(self.restarts)} times in {RESTART_PERIOD_S:.0f} s"
            raise StackError(f"{self.service.name} ended {times}; it is not restarted again. Its log: {log}")
        old_log = log.with_suffix(".before.log")
        log.replace(old_log)
        echo(f"{self.service.name} has ended (its log is now {old_log}); restarting it …")
        echo(f"{self.up().name} is running again")


def run_stack(data: Path, *, milvus_port: int, prefect_port: int, demo: bool, echo: Echo) -> None:
    """Start all servers and the deployments, and supervise them until SIGINT or SIGTERM.

    Milvus is the real server where the package `milvus` is installed, else Milvus Lite.

    Args:
        data: Folder for all data and logs; created if missing.
        milvus_port: Port of Milvus.
        prefect_port: Port of the Prefect API and UI.
        demo: Run the deployment `ingest` with its default parameters, the example handbook, and report on it.
        echo: Called with each line of output.

    Raises:
        StackError: A server could not be started, or ended again and again.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with ExitStack() as stack:
        try:
            _run(stack, data, milvus_port, prefect_port, demo=demo, echo=echo)
        except KeyboardInterrupt:
            echo("stopping …")


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Stop on the first signal, and ignore later ones: they must not interrupt the clean-up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(stack: ExitStack, data: Path, milvus_port: int, prefect_port: int, *, demo: bool, echo: Echo) -> None:
    servers: list[SupervisedServer] = []

    def start(make: Callable[[], AbstractContextManager[Service]]) -> Service:
        server = SupervisedServer(make)
        stack.callback(server.stack.close)
        service = server.up()
        servers.append(server)
        return service

    has_standalone = find_spec("milvus") is not None
    access = prepare_access(
        data, milvus_port=milvus_port, prefect_port=prefect_port, milvus_takes_password=has_standalone
    )
    echo(f"starting Milvus ({'the server' if has_standalone else 'Lite'}) and Prefect …")
    if has_standalone:
        start(lambda: milvus_standalone(data / "milvus", port=milvus_port, password=access.milvus_password))
    else:
        start(lambda: milvus_lite(data / "milvus", port=milvus_port))
    prefect = start(lambda: prefect_server(data / "prefect", port=prefect_port, auth=access.prefect_auth))
    _echo_access(access, echo, is_open=has_standalone)
    _enter_settings(stack, access, prefect.data)
    stack.enter_context(noted_stack(access.variables["PREFECT_API_URL"], access.prefect_auth, access.file))

    asyncio.run(prepare(ServerSetup()))
    deployed = asyncio.run(deploy())
    stack.callback(_cancel_runs, echo)
    start(lambda: _worker(data / "worker", access.variables, echo))
    for line in (line for each in deployed for line in each.lines()):
        echo(line)
    echo(f"deployed {', '.join(each.name.partition('/')[2] for each in deployed)}: run them in the UI")
    echo(f"data and logs are in {data.resolve()}; stop with Ctrl-C, or `roost down`")
    steps = _demo(echo, access) if demo else iter(())
    while True:
        next(steps, None)
        time.sleep(POLL_INTERVAL_S)
        for server in servers:
            server.restart_if_ended(echo)


def _echo_access(access: Access, echo: Echo, *, is_open: bool) -> None:
    """Print the addresses, and once the passwords."""
    echo(f"Milvus   {access.variables['ROOST_MILVUS__URI']}")
    if is_open:
        echo("         listens on every address of this host; its password guards this port only: docs/deployments.md")
    echo(f"Prefect  {access.prefect_ui}   the UI asks for {access.prefect_auth}")
    echo(f"for commands in another terminal, run `{access.read_command()}` there, or:")
    for line in access.export_lines():
        echo(f"  {line}")


def _enter_settings(stack: ExitStack, access: Access, home: Path) -> None:
    """Make this process a client of the servers."""
    os.environ |= access.variables
    chosen = {
        PREFECT_API_URL: access.variables["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: access.prefect_auth,
        PREFECT_HOME: home,
    }
    stack.enter_context(temporary_settings(chosen))


@contextmanager
def _worker(data: Path, settings: dict[str, str], echo: Echo) -> Iterator[Service]:
    """Run the worker in this process's directory; first set the runs of a worker that has ended to crashed."""
    for name in asyncio.run(crash_dead_runs()):
        echo(f"the run {name!r} ended together with its worker; its state is now Crashed")
    worker = prefect_worker(data, POOL, settings, ready=_worker_is_online, directory=Path.cwd())
    with worker as service:
        yield service


def _cancel_runs(echo: Echo) -> None:
    try:
        for name in asyncio.run(cancel_runs()):
            echo(f"cancelled the run {name!r}; committed documents stay, the next run continues")
    except HTTPError as error:
        echo(f"active runs could not be cancelled ({error}); the next `roost up` sets them to Crashed")


def _worker_is_online() -> bool:
    async def ask() -> bool:
        async with get_client() as client:
            workers = await client.read_workers_for_work_pool(POOL)
            return any(worker.status == "ONLINE" for worker in workers)

    return asyncio.run(ask())


def _demo(echo: Echo, access: Access) -> Iterator[None]:
    """Index the example handbook by the deployment `ingest`, whose end triggers `evaluation`; polls at each step."""
    echo("demo: indexing the example handbook by the deployment ingest/ingest …")
    started: FlowRun = run_deployment("ingest/ingest", timeout=0)  # type: ignore[assignment]
    while not (run := find_ended_run(FlowRunFilter(id=FlowRunFilterId(any_=[started.id])))):
        yield
    echo(f"demo: {run.state_name}: {run.state.message if run.state else ''}")
    echo(f"demo: {ui_page('flow-run', run.id)}")
    if run.state_type != StateType.COMPLETED:
        return
    program = shlex.quote(str(Path(sys.argv[0]).absolute()))  # the other terminal may have another path
    echo("demo: search it in another terminal:")
    echo(f'{access.read_command()} && {program} search "how long may I stay outside?" --index handbook')
    echo("demo: the end of the ingest run has triggered the deployment evaluation/evaluation …")
    after = FlowRunFilterStartTime(after_=run.end_time)
    evaluations = FlowRunFilter(name=FlowRunFilterName(any_=["evaluate handbook"]), start_time=after)
    while not (run := find_ended_run(evaluations)):
        yield
    echo(f"demo: {run.state_name}: {run.state.message if run.state else ''}")
    echo(f"demo: {access.prefect_ui}/artifacts/key/evaluation-handbook")
