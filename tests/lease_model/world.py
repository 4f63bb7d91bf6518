"""Milvus in memory, and the time, for simulated processes; the caller decides what happens.

A call to Milvus is a message. The caller applies it, answers it, loses it or its answer, or leaves it until it is too
late. What is applied is seen by every read that is applied after it, as by Milvus' reads with Strong consistency; a
write of a row is one step, as Milvus' upsert is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.lease_model.process import Message, Process
from tests.lease_model.rights import Rights

from roost.tasks.errors import TransientError
from roost.tasks.ids import ALL_IDS, IdRange

#: The clock of all processes at the start, larger than any count; and the time of day to which it is added.
START_S, EPOCH = 1e7, datetime(2026, 11, 21, tzinfo=UTC).timestamp()


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
        self._woken: list[Process] = []  # runs whose workers have ended

    def start(
        self, host: str = "a", skew: float = 0.0, id_range: IdRange = ALL_IDS, wait_seconds: float = 1e6, **part: Any
    ) -> Process:
        """Start a process; `part` are the last three fields of `Process`."""
        process = Process(self, host, 100 + len(self.processes), skew, id_range, wait_seconds, **part)
        self.processes.append(process)
        self.settle()
        return process

    def settle(self) -> None:
        """Let every process that is awake do what is due at this moment."""
        for process in self.processes:
            self._run(process)
        while self._woken:
            self._run(self._woken.pop())
        self.running = None

    def _run(self, process: Process) -> None:
        if process.is_awake:
            self.running = process
            process.loop.run_due()

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
        self._unanswered += [message for message in self.messages if message.process is process]
        self.messages = [message for message in self.messages if message.process is not process]
        self.end(process)
        self.settle()

    def end(self, process: Process) -> None:
        """Note that a process is gone; an engine tells the run that it worked for."""
        process.is_gone = True
        if process.joins and process.parent:
            process.parent.worker_ended()
            self._woken.append(process.parent)

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
