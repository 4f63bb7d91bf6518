"""A state machine of Hypothesis: what may happen to two or three processes that want one lease, in any order."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.lease_model.install import Current
from tests.lease_model.search import broken_rules
from tests.lease_model.world import Message, Process, World

from roost.tasks.errors import ConflictError, LeaseLostError, TransientError
from roost.tasks.ids import ALL_IDS, id_range_of

T = TypeVar("T")

#: Seconds by which the clock of each machine may be wrong.
SKEW_S = 14.0
MAX_PROCESSES = 3
WHICH = st.integers(0, 7)


class Contest(RuleBasedStateMachine):
    """Runs that start, write, end, are suspended and killed, over messages that are late or lost."""

    current: Current
    grants = writes = steps = 0

    @initialize(skews=st.tuples(*[st.floats(-SKEW_S, SKEW_S)] * 2), granted=st.booleans())
    def begin(self, skews: tuple[float, float], granted: bool) -> None:
        self.skews = dict(zip("ab", skews, strict=True))
        self.world = self.current.world = World()
        self.world.start("a", self.skews["a"])
        if granted:
            self.world.pass_time(1.0, deliver=True)

    @precondition(lambda self: sum(not process.is_gone for process in self.world.processes) < MAX_PROCESSES)
    @rule(host=st.sampled_from("ab"), shard=st.sampled_from([None, None, None, 1, 2]), waits=st.booleans())
    def start(self, host: str, shard: int | None, waits: bool) -> None:
        id_range = ALL_IDS if shard is None else id_range_of(shard, 2)
        self.world.start(host, self.skews[host], id_range, 1e6 if waits else 0.0)

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
        self.world.command(process, process.finish if is_last == 7 else process.write)

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
        try:
            assert last.may_write
            self.no_rule_is_broken()
        finally:
            self.world.close()
