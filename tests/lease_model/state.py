"""The state of a simulated world as a text: two worlds with one text go on alike. All times are relative to now."""

from __future__ import annotations

from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any

from tests.lease_model.process import Process
from tests.lease_model.process_loop import ProcessLoop
from tests.lease_model.world import EPOCH, World

from roost.tasks.versions.lease import Lease
from roost.tasks.versions.lease_rows import LeaseRow, LeaseWatch

#: Columns of a lease's row that decide nothing.
_FOR_MESSAGES = {"since", "source", "updated_at"}


def state_of(world: World) -> str:
    """Describe Milvus, the messages, and each process: its tasks, their variables and timers."""
    messages = [(m.process.pid, m.lives, m.is_applied, m.result) for m in world.messages]
    return repr(_relative([world.ledger, messages, [_of_process(process) for process in world.processes]], world.now))


def _of_process(process: Process) -> list[Any]:
    positions = []
    if not process.is_gone:
        for task in process.loop.tasks:
            positions += [_of_frame(frame) for frame in _frames(task.get_coro())]
    ends = [process.is_paused, process.is_gone, process.waits_to_end]
    return [process.host, *ends, process.grant, positions, _timers(process.loop)]


def _timers(loop: ProcessLoop) -> list[float]:
    return sorted(at for at, _, call in loop.timers if not call.is_cancelled)


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Frames of a task from the outside to what it waits for, through coroutines and asynchronous context managers."""
    while isinstance(awaited, CoroutineType | AsyncGeneratorType):
        frame = awaited.cr_frame if isinstance(awaited, CoroutineType) else awaited.ag_frame
        if frame is None:
            return
        yield frame
        inner = awaited.cr_await if isinstance(awaited, CoroutineType) else awaited.ag_await
        generators = [frame.f_locals["self"].gen] if hasattr(frame.f_locals.get("self"), "gen") else []
        managed = [value.gen for value in _managers(frame)]
        for generator in generators + managed:
            yield from _frames(generator)
        awaited = inner


def _managers(frame: FrameType) -> list[Any]:
    return [value for value in frame.f_locals.values() if isinstance(getattr(value, "gen", None), AsyncGeneratorType)]


def _of_frame(frame: FrameType) -> list[Any]:
    return [frame.f_code.co_qualname, frame.f_lasti, {name: _plain(value) for name, value in frame.f_locals.items()}]


def _plain(value: Any) -> Any:
    """What of a variable decides what comes next."""
    if isinstance(value, Lease | LeaseRow | LeaseWatch):
        return vars(value)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items() if key not in _FOR_MESSAGES}
    if isinstance(value, list | tuple | set):
        return [_plain(part) for part in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return type(value).__name__


def _relative(value: Any, now: float) -> Any:
    if isinstance(value, dict):
        return {key: _relative(part, now) for key, part in value.items() if key not in _FOR_MESSAGES}
    if isinstance(value, list | tuple):
        return [_relative(part, now) for part in value]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if number > EPOCH:
        return round(number - EPOCH - now, 3)
    return round(number - now, 3) if number > 1e6 else value
