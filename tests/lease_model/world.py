"""Simulated processes that run Roost's own lease and store over one Milvus in memory; the caller decides what happens.

A call to Milvus is a message. The caller applies it, answers it, loses it or its answer, or leaves it until it is too
late. What is applied is seen by every read that is applied after it, as by Milvus' reads with Strong consistency; a
write of a row is one step, as Milvus' upsert is. Two assumptions bound the adversary, and `docs/invariants.md` names
them: Milvus carries out a call within twice its time-out (and `SEND_DELAY_S`), and never for a process that is gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.lease_model.process_loop import ProcessLoop
from tests.lease_model.rights import Rights

from roost.tasks.errors import RoostError, TransientError
from roost.tasks.ids import ALL_IDS, IdRange
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import lease
from roost.tasks.versions.version import Version

VERSION = Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 4, "c", 240, 24, "", ""), "2026-11-21", "COSINE")
#: Seconds for which a process may be suspended between its check of the lease and the sending of a write.
SEND_DELAY_S = 14.0
TIMEOUT_S = 30.0
#: The clock of all processes at the start, larger than any count; and the time of day to which it is added.
START_S, EPOCH = 1e7, datetime(2026, 11, 21, tzinfo=UTC).timestamp()


@dataclass
class Message:
    """A call to Milvus. `lives` is the time after which it is not carried out any more."""

    process: Process
    call: Callable[[], Any]
    sent: float
    lives: float
    answer: Any  # a future of the process' loop
    is_applied: bool = False
    result: Any = None

    @property
    def to_apply(self) -> bool:
        """Whether Milvus may still carry it out."""
        return not self.is_applied and self.process.world.now < self.lives

    @property
    def to_answer(self) -> bool:
        """Whether its process is there to see an answer, or that none comes."""
        return self.process.is_awake


class SimulatedThreads:
    """In place of a store's threads: calls of Milvus become messages, all else is done at once."""

    def __init__(self, process: Process, client: Client) -> None:
        self._process, self._client = process, client

    def separate(self, *, writes: int) -> SimulatedThreads:
        return self

    def close(self) -> None:
        pass

    async def read(self, function: Callable[..., Any], *arguments: Any, timeout: float = TIMEOUT_S) -> Any:
        if function is list or function.__name__ == "_refuse_unsafe_keys":
            return function(*arguments)
        return await self._send(lambda: function(*arguments), timeout)

    async def write(self, function: Callable[..., Any], *arguments: Any, timeout: float, **options: Any) -> Any:
        return await self._send(lambda: function(*arguments, **options), timeout)

    async def _send(self, call: Callable[[], Any], timeout: float) -> Any:
        world, loop = self._process.world, self._process.loop
        lives = world.now + 2 * timeout + SEND_DELAY_S
        message = Message(self._process, call, world.now, lives, loop.create_future())
        if world.is_over:
            raise TransientError("Milvus is gone")
        world.messages.append(message)
        return await message.answer


class Client:
    """The pymilvus client of one process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def query(self, collection: str, **_: Any) -> list[dict[str, Any]]:
        return [dict(row) for _, row in sorted(self._world.ledger.items())]

    def upsert(self, collection: str, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if collection == VERSION.ledger:
                self._world.ledger[row["doc_id"]] = row
            else:
                self._world.rights.write(row["grant"], self._world.now)

    def delete(self, collection: str, ids: list[str]) -> None:
        for key in ids:
            self._world.ledger.pop(key, None)


@dataclass
class Process:
    """One process: a run that acquires the lease, writes when it is told to, and ends."""

    world: World
    host: str
    pid: int
    skew: float
    id_range: IdRange
    wait_seconds: float
    is_paused: bool = False
    is_gone: bool = False
    grant: int | None = None
    error: RoostError | None = None

    def __post_init__(self) -> None:
        self.loop = ProcessLoop(lambda: self.world.now)
        self._finish, self._store = self.loop.create_future(), None
        self._writes = set[Any]()
        self.run = self.loop.create_task(self._work())

    @property
    def is_awake(self) -> bool:
        return not (self.is_paused or self.is_gone)

    @property
    def is_suspended(self) -> bool:
        return self.is_paused and not self.is_gone

    @property
    def may_write(self) -> bool:
        """Whether it is in the midst of its run, with no write under way."""
        return self.is_awake and self._store is not None and not self._finish.done() and not self._writes

    def write(self) -> None:
        """Send a write of a document's chunks."""
        writing = self.loop.create_task(self._write())
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)

    def finish(self) -> None:
        """End the run: what it wrote is committed, the lease is released."""
        if not self._finish.done():
            self._finish.set_result(None)

    async def _work(self) -> None:
        client = Client(self.world)
        store = Store(Milvus(uri="http://milvus", timeout=TIMEOUT_S), client, client, "v2.6.0")  # type: ignore[arg-type]
        store._threads = SimulatedThreads(self, client)  # type: ignore[assignment]
        owner = LeaseOwner(f"run {self.pid}", wait_seconds=self.wait_seconds, tell=lambda _: None)
        try:
            async with lease.acquire_lease(store, VERSION, owner, id_range=self.id_range) as leased:
                self.grant, self._store = self.world.rights.grant(self.id_range), leased
                await self._finish
        except RoostError as error:
            self.error = error
        finally:
            self._store = None
            self.is_gone = True

    async def _write(self) -> None:
        try:
            await self._store.upsert("chunks", [{"id": "a", "grant": self.grant}])  # type: ignore[union-attr]
        except TransientError:
            pass  # the run would repeat it
        except RoostError as error:
            self.error = error
            self.finish()


class World:
    """Milvus, the processes, the messages between them, and the time."""

    def __init__(self) -> None:
        self.now = START_S
        self.ledger: dict[str, dict[str, Any]] = {}
        self.messages: list[Message] = []
        self.processes: list[Process] = []
        self.rights = Rights()
        self.is_over = False
        self.running: Process | None = None
        self.keys = itertools.count(1)
        self._unanswered: list[Message] = []  # of processes that are gone

    def start(
        self, host: str = "a", skew: float = 0.0, id_range: IdRange = ALL_IDS, wait_seconds: float = 1e6
    ) -> Process:
        process = Process(self, host, 100 + len(self.processes), skew, id_range, wait_seconds)
        self.processes.append(process)
        self.settle()
        return process

    def settle(self) -> None:
        """Let every process that is awake do what is due at this moment."""
        for process in self.processes:
            if process.is_awake:
                self.running = process
                process.loop.run_due()
        self.running = None

    def apply(self, message: Message) -> None:
        """Milvus carries out a call, if it is not too late."""
        if message.to_apply:
            message.result, message.is_applied = message.call(), True

    def answer(self, message: Message) -> None:
        """The answer arrives."""
        self._end(message, None)

    def lose(self, message: Message) -> None:
        """The call is lost, or its answer if it was carried out."""
        self._end(message, TransientError("no answer"))

    def deliver(self, message: Message) -> None:
        """Milvus carries out a call, and the answer arrives."""
        if not message.is_applied:
            self.apply(message)
        self.answer(message) if message.is_applied else self.lose(message)

    def pause(self, process: Process) -> None:
        process.is_paused = True

    def resume(self, process: Process) -> None:
        process.is_paused = False
        self.settle()

    def kill(self, process: Process) -> None:
        """End a process at once; calls that Milvus has not carried out by then are lost."""
        process.is_gone = True
        self._unanswered += [message for message in self.messages if message.process is process]
        self.messages = [message for message in self.messages if message.process is not process]

    def command(self, process: Process, command: Callable[[], None]) -> None:
        """Have a process write or finish."""
        command()
        self.settle()

    def pass_time(self, seconds: float, *, deliver: bool = False) -> None:
        """Move the time, with every timer at its moment; what is due at the end is sent, and not answered yet.

        Args:
            seconds: How far to move it.
            deliver: Whether Milvus answers at once all who are awake.
        """
        end = self.now + seconds
        while self.now < end:
            while deliver and (message := next((m for m in self.messages if m.process.is_awake), None)):
                self.deliver(message)
            for message in [message for message in self.messages if message.to_answer and message.lives <= self.now]:
                self.lose(message)
            due = [process.loop.next_timer for process in self.processes if process.is_awake]
            due += [message.lives for message in self.messages if message.to_answer]
            self.now = max(self.now, min([end, *(at for at in due if at is not None)]))
            self.settle()

    def close(self) -> None:
        """End all processes, so that nothing is left to be collected in the midst of its work."""
        self.is_over = True
        for process in self.processes:
            process.is_paused = process.is_gone = False
        for message in [*self.messages, *self._unanswered]:
            message.answer.done() or message.answer.set_exception(TransientError("Milvus is gone"))
        for process in self.processes:
            self.running = process
            for _ in range(5):
                process.run.cancel()
                process.loop.run_due()
            assert process.run.done(), "a cancelled run must end"
            process.run.cancelled() or process.run.exception()

    def _end(self, message: Message, error: TransientError | None) -> None:
        self.messages.remove(message)
        if not message.answer.done():
            message.answer.set_exception(error) if error else message.answer.set_result(message.result)
        self.settle()
