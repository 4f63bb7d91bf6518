"""A state machine of Hypothesis: what may happen to up to four processes that want or share one lease, in any order."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.lease_model.install import Current
from tests.lease_model.process import Message, Process
from tests.lease_model.search import broken_rules
from tests.lease_model.world import World

from roost.tasks.errors import ConflictError, LeaseLostError, TransientError
from roost.tasks.ids import ALL_IDS, id_range_of

T = TypeVar("T")

#: Seconds by which the clock of each machine may be wrong.
SKEW_S = 14.0
#: Processes with leases of their own; workers that join one; both at a time.
MAX_PROCESSES, MAX_WORKERS = 3, 2
WHICH = st.integers(0, 7)


class Contest(RuleBasedStateMachine):
    """Runs that start, write, end, are suspended and killed, over messages that are late or lost."""

    current: Current
    grants = writes = steps = joined_writes = shard_grants = 0

    @initialize(skews=st.tuples(*[st.floats(-SKEW_S, SKEW_S)] * 2), granted=st.booleans(), is_joined=st.booleans())
    def begin(self, skews: tuple[float, float], granted: bool, is_joined: bool) -> None:
        self.skews = dict(zip("ab", skews, strict=True))
        self.world = self.current.world = World()
        first = self.world.start("a", self.skews["a"], is_joined=is_joined)
        if granted:
            self.world.pass_time(1.0, deliver=True)
        if granted and is_joined:
            self.world.start("b", self.skews["b"], parent=first, joins=True)
            self.world.pass_time(1.0, deliver=True)

    @precondition(lambda self: self._count(joins=False) < MAX_PROCESSES)
    @rule(
        host=st.sampled_from("ab"),
        shard=st.sampled_from([None, None, None, 1, 2]),
        waits=st.booleans(),
        is_joined=st.booleans(),
        is_part=st.booleans(),
        which=WHICH,
    )
    def start(self, host: str, shard: int | None, waits: bool, is_joined: bool, is_part: bool, which: int) -> None:
        """A run starts, or a part of one: with a lease of its own below that of its parent."""
        id_range = ALL_IDS if shard is None else id_range_of(shard, 2)
        runs = [process for process in self.processes("may_write") if not process.joins]
        parent = self._one(runs, which) if is_part and shard and runs else None
        wait_seconds = 1e6 if waits else 0.0
        self.world.start(host, self.skews[host], id_range, wait_seconds, parent=parent, is_joined=is_joined)

    @precondition(lambda self: self._joinable() and self._count(joins=True) < MAX_WORKERS)
    @rule(host=st.sampled_from("ab"), which=WHICH)
    def join(self, host: str, which: int) -> None:
        """A worker of an engine starts, and joins the lease of its run."""
        parent = self._one(self._joinable(), which)
        self.world.start(host, self.skews[host], parent.id_range, parent=parent, joins=True)

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 29.0]), deliver=st.sampled_from([True, True, False]))
    def pass_time(self, seconds: float, deliver: bool) -> None:
        self.world.pass_time(seconds, deliver=deliver)

    @precondition(lambda self: self.messages("to_apply"))
    @rule(which=WHICH)
    def apply(self, which: int) -> None:
        self.world.apply(self._one(self.messages("to_apply"), which))

    @precondition(lambda self: self.messages("to_answer"))
    @rule(which=WHICH, is_lost=st.sampled_from([False, False, True]))
    def answer(self, which: int, is_lost: bool) -> None:
        message = self._one(self.messages("to_answer"), which)
        self.world.lose(message) if is_lost else self.world.deliver(message)

    @precondition(lambda self: self.processes("may_write"))
    @rule(which=WHICH, is_last=st.integers(0, 7))
    def work(self, which: int, is_last: int) -> None:
        process = self._one(self.processes("may_write"), which)
        self.world.command(process, process.finish if is_last == 7 and process.may_finish else process.write)

    @precondition(lambda self: self.processes("is_awake"))
    @rule(which=WHICH, seconds=st.sampled_from([20.0, 125.0]), are_applied=st.booleans(), stays=st.booleans())
    def suspend(self, which: int, seconds: float, are_applied: bool, stays: bool) -> None:
        """A process is suspended while the others work; what it sent may be carried out, and answered late."""
        process = self._one(self.processes("is_awake"), which)
        mine = [message for message in self.world.messages if message.process is process]
        for message in mine if are_applied else []:
            self.world.apply(message)
        self.world.pause(process)
        self.world.pass_time(seconds, deliver=True)
        if stays:
            return
        self.world.resume(process)
        for message in mine if are_applied else []:
            self.world.answer(message)

    @precondition(lambda self: self.processes("is_suspended"))
    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        self.world.resume(self._one(self.processes("is_suspended"), which))

    @precondition(lambda self: self.processes("is_awake"))
    @rule(which=WHICH, really=st.integers(0, 7))
    def kill(self, which: int, really: int) -> None:
        if really == 7:
            self.world.kill(self._one(self.processes("is_awake"), which))

    def _count(self, *, joins: bool) -> int:
        return sum(process.joins is joins and not process.is_gone for process in self.world.processes)

    def _joinable(self) -> list[Process]:
        return [process for process in self.processes("may_write") if process.is_joined and not process.waits_to_end]

    def messages(self, kind: str) -> list[Message]:
        return [message for message in self.world.messages if getattr(message, kind)]

    def processes(self, kind: str) -> list[Process]:
        return [process for process in self.world.processes if getattr(process, kind)]

    def _one(self, found: list[T], which: int) -> T:
        return found[which % len(found)]

    @invariant()
    def no_rule_is_broken(self) -> None:
        type(self).steps += 1
        if hasattr(self, "world"):
            wrong = broken_rules(self.world)
            assert wrong == [], wrong
            errors = [process.error for process in self.world.processes if process.error]
            assert [one for one in errors if not isinstance(one, ConflictError | LeaseLostError | TransientError)] == []

    def teardown(self) -> None:
        """Whatever happened: once all have ended, the next run gets the lease within three minutes."""
        if not hasattr(self, "world"):
            return
        for process in self.world.processes:
            if not process.is_gone:
                self.world.kill(process)
        self.world.pass_time(100.0)
        last = self.world.start("c")
        self.world.pass_time(180.0, deliver=True)
        type(self).grants += len(self.world.rights.grants)
        type(self).writes += len(self.world.rights.written)
        type(self).shard_grants += sum(parent is not None for parent in self.world.rights.parents)
        type(self).joined_writes += sum(process.written for process in self.world.processes if process.joins)
        try:
            assert last.may_write
            self.no_rule_is_broken()
        finally:
            self.world.close()
