"""Simulated processes that run Roost's own lease and store, and the messages that they send to Milvus.

Two assumptions bound what may happen to a message, and `docs/invariants.md` names them: Milvus carries out a call
within twice its time-out (and `SEND_DELAY_S`), and never for a process that is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lease_model.process_loop import ProcessLoop

from roost.tasks.errors import RoostError, TransientError
from roost.tasks.ids import IdRange
from roost.tasks.milvus.lock_wait import LeaseOwner
from roost.tasks.milvus.store import Store
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Milvus
from roost.tasks.versions import lease
from roost.tasks.versions.version import Version

if TYPE_CHECKING:
    from tests.lease_model.world import World

VERSION = Version("docs", "docs__0a1b2c3d", Recipe("m", "r", 4, "c", 240, 24, "", ""), "2026-11-21", "COSINE")
#: Seconds for which a process may be suspended between its check of the lease and the sending of a write.
SEND_DELAY_S = 14.0
#: The same for a process that joined a lease: it reads the age of the lease from a clock that differs from its own by
#: up to 28 s, and both together must stay below the 30 s by which writing stops before the lease expires.
JOINED_SEND_DELAY_S = 2.0
TIMEOUT_S = 30.0


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


#: Functions that are called at once: they ask nothing of Milvus, or nothing that changes here.
_AT_ONCE = ("_refuse_unsafe_keys", "list_persistent_segments", "list_loaded_segments")


class SimulatedThreads:
    """In place of a store's threads: calls of Milvus become messages, all else is done at once."""

    def __init__(self, process: Process, client: Client) -> None:
        self._process, self._client = process, client

    def separate(self, *, writes: int) -> SimulatedThreads:
        return self

    def close(self) -> None:
        pass

    async def read(self, function: Callable[..., Any], *arguments: Any, timeout: float = TIMEOUT_S) -> Any:
        if function is list or function.__name__ in _AT_ONCE:
            return function(*arguments)
        return await self._send(lambda: function(*arguments), timeout)

    async def write(self, function: Callable[..., Any], *arguments: Any, timeout: float, **options: Any) -> Any:
        return await self._send(lambda: function(*arguments, **options), timeout)

    async def _send(self, call: Callable[[], Any], timeout: float) -> Any:
        world, loop = self._process.world, self._process.loop
        lives = world.now + 2 * timeout + (JOINED_SEND_DELAY_S if self._process.joins else SEND_DELAY_S)
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

    def list_persistent_segments(self, _: str) -> list[Any]:
        return []

    list_loaded_segments = list_persistent_segments

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
    """One process: a run that acquires the lease, writes when it is told to, and ends.

    parent: The run that this process is a part of: with a lease of its own below the parent's, a shard.
    joins: Whether it has no lease of its own, but writes under the parent's, as a worker of an engine.
    is_joined: Whether workers of an engine may join its lease: then only time ends the lease of a process that is gone.
    """

    world: World
    host: str
    pid: int
    skew: float
    id_range: IdRange
    wait_seconds: float
    parent: Process | None = None
    joins: bool = False
    is_joined: bool = False
    is_paused: bool = False
    is_gone: bool = False
    grant: int | None = None
    lease_key: str = ""
    written: int = 0
    error: RoostError | None = None

    def __post_init__(self) -> None:
        self.loop = ProcessLoop(lambda: self.world.now)
        self._finish, self._store, self.waits_to_end = self.loop.create_future(), None, False
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

    @property
    def may_finish(self) -> bool:
        """Whether it may end its run: it has no workers, because a run waits for them before it releases the lease."""
        return self.may_write and not self._workers()

    def finish(self) -> None:
        """End the run: what it wrote is committed, the lease is released once its workers have ended."""
        self.waits_to_end = True
        if not self._workers() and not self._finish.done():
            self._finish.set_result(None)

    def worker_ended(self) -> None:
        """Go on with an end that waited for the workers."""
        if self.waits_to_end:
            self.finish()

    def _workers(self) -> list[Process]:
        return [one for one in self.world.processes if one.parent is self and one.joins and not one.is_gone]

    async def _work(self) -> None:
        client = Client(self.world)
        store = Store(Milvus(uri="http://milvus", timeout=TIMEOUT_S), client, client, "v2.6.0")  # type: ignore[arg-type]
        store._threads = SimulatedThreads(self, client)  # type: ignore[assignment]
        try:
            async with self._lease(store) as leased:
                self.grant, self.lease_key, self._store = self._granted(), leased.lease_key, leased
                await self._finish
        except RoostError as error:
            self.error = error
        finally:
            self._store = None
            self.world.end(self)

    def _lease(self, store: Store) -> AbstractAsyncContextManager[Store]:
        above = self.parent.lease_key if self.parent else ""
        if self.joins:
            return lease.join_lease(store, VERSION, above)
        owner = LeaseOwner(
            f"run {self.pid}", wait_seconds=self.wait_seconds, tell=lambda _: None, survives_process=self.is_joined
        )
        return lease.acquire_lease(store, VERSION, owner, id_range=self.id_range, parent_lease=above)

    def _granted(self) -> int | None:
        above = self.parent.grant if self.parent else None
        return above if self.joins else self.world.rights.grant(self.id_range, above)

    async def _write(self) -> None:
        try:
            self.written += await self._store.upsert("chunks", [{"id": "a", "grant": self.grant}])  # type: ignore[union-attr]
        except TransientError:
            pass  # the run would repeat it
        except RoostError as error:
            self.error = error
            self.finish()
