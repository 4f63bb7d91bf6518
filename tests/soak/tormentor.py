"""The tormentor: carries out the decisions of a seed, and notes each with its time and what it met.

It works in the main thread, one fault at a time, so that the servers that it starts again end with this process. Only
a pause goes on behind the faults that follow.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from tests.processes import children
from tests.soak.commands import Command, Commands
from tests.soak.plan import Decision, decisions
from tests.soak.servers import Stack
from tests.soak.sources import Sources
from tests.soak.windows import Windows

#: What a fault met when there was nothing to hit; it is not counted.
NOTHING = "nothing to hit"
#: Proxy's name of each trouble.
_TROUBLE = {"cut_connections": "reset", "stall_connections": "swallow", "slow_connections": "delay"}
#: Files that are damaged at a time.
_DAMAGED_FILES = 3
_TICK_S = 0.2
#: Seconds to wait for something to hit, and between two looks.
_PATIENCE_S, _LOOK_S = 30.0, 0.1
#: In the command of the process that forks workers, and so in theirs.
_FORK_SERVER = "multiprocessing.forkserver"

T = TypeVar("T")


class Tormentor:
    """Does harm until its time is over; `heal` ends all harm."""

    def __init__(self, stack: Stack, commands: Commands, sources: Sources, windows: Windows, seed: int) -> None:
        """Make it; `torment` begins."""
        self._stack, self._commands, self._sources, self._windows = stack, commands, sources, windows
        self._seed = seed
        self._healing = threading.Event()
        self._pauses: list[threading.Thread] = []
        self._log = (stack.folder / "faults.jsonl").open("w")
        self.log = Path(self._log.name)
        self.counts: Counter[str] = Counter()

    def torment(self, seconds: float, tick: Callable[[], None]) -> None:
        """Carry out decisions for so long; `tick` is called all the time in between."""
        began = time.monotonic()
        for decision in decisions(self._seed):
            due = time.monotonic() + decision.wait_s
            while time.monotonic() < due:
                tick()
                time.sleep(_TICK_S)
            if time.monotonic() - began + decision.seconds > seconds:
                if time.monotonic() - began > seconds:
                    return
                self._note(decision, began, "no time left for it")
                continue
            with self._windows.open(decision.kind):
                met = getattr(self, f"_{decision.kind}")(decision)
            if met != NOTHING:
                self.counts[decision.kind] += 1
            self._note(decision, began, met)

    def heal(self) -> None:
        """End what goes on: pauses, troubles, a full disk."""
        self._healing.set()
        for thread in self._pauses:
            thread.join()
        self._log.close()

    def _note(self, decision: Decision, began: float, met: str) -> None:
        line: dict[str, Any] = {"seed": self._seed, "at_s": round(time.monotonic() - began, 2), **decision.as_dict()}
        self._log.write(json.dumps(line | {"met": met}) + "\n")
        self._log.flush()

    def _kill_run(self, decision: Decision) -> str:
        pid, command = self._choose_run(decision)
        if not pid:
            return NOTHING
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"process {pid}, {_name(command)}"

    def _kill_worker(self, decision: Decision) -> str:
        """Kill a process that parses."""
        pid = self._choose(decision, lambda: [pid for run, _ in self._runs() for pid in _workers(run)])
        if not pid:
            return NOTHING
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return f"process {pid}"

    def _kill_milvus(self, _: Decision) -> str:
        self._stack.milvus.kill()
        self._stack.milvus.restart()
        return "started again"

    def _kill_prefect(self, _: Decision) -> str:
        self._stack.prefect.kill()
        self._stack.prefect.restart()
        return "started again"

    def _cut_connections(self, decision: Decision) -> str:
        hurt = self._stack.proxy.hurt
        with self._stack.proxy.making(_TROUBLE[decision.kind]):
            time.sleep(decision.seconds)
        return f"{self._stack.proxy.hurt - hurt} blocks or connections"

    _stall_connections = _slow_connections = _cut_connections

    def _fill_disk(self, decision: Decision) -> str:
        """Fill the small disk; where there is none, forbid a run to write files."""
        if not self._stack.disk_is_small:
            return self._limit_files(decision)
        filling = self._stack.disk / "filling"
        with suppress(OSError), filling.open("wb") as file:
            file.write(bytes(shutil.disk_usage(self._stack.disk).free))
        time.sleep(decision.seconds)
        filling.unlink(missing_ok=True)
        return str(self._stack.disk)

    def _limit_files(self, decision: Decision) -> str:
        pid, command = self._choose_run(decision)
        if not pid:
            return NOTHING
        for one in [pid, *_descendants(pid)]:
            with suppress(ProcessLookupError):
                resource.prlimit(one, resource.RLIMIT_FSIZE, (4096, 4096))
        return f"process {pid}, {_name(command)}"

    def _pause_run(self, decision: Decision) -> str:
        """Stop a run with all that it has started, and continue it when its lease has expired."""
        pid, command = self._choose_run(decision)
        if not pid:
            return NOTHING
        thread = threading.Thread(target=self._pause, args=(pid, decision.seconds))
        self._pauses.append(thread)
        thread.start()
        return f"process {pid}, {_name(command)}"

    def _pause(self, pid: int, seconds: float) -> None:
        with self._windows.open("pause_run"):
            stopped = [pid, *_descendants(pid)]
            for one in stopped:
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGSTOP)
            self._healing.wait(seconds)
            for one in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGCONT)

    def _skew_clock(self, decision: Decision) -> str:
        seconds = round((decision.pick - 0.5) * 1_200)
        self._commands.skew_next_run(seconds)
        return f"the next ingest, by {seconds} s"

    def _corrupt_files(self, decision: Decision) -> str:
        """Damage some files while runs list and read them, then write them again."""
        dice = random.Random(f"{self._seed} {decision.step}")
        documents = self._sources.documents()
        first = int(decision.pick * (len(documents) - _DAMAGED_FILES))
        chosen = documents[first : first + _DAMAGED_FILES]
        truncate = decision.kind == "truncate_files"
        threads = [
            threading.Thread(
                target=self._sources.damage,
                args=(one, decision.seconds),
                kwargs={"truncate": truncate, "dice": random.Random(dice.random())},
                daemon=True,  # Ctrl-C waits for none
            )
            for one in chosen
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ", ".join(one.path for one in chosen)

    _truncate_files = _corrupt_files

    def _choose_run(self, decision: Decision) -> tuple[int, Command | None]:
        pid, command = self._choose(decision, self._runs) or (0, None)
        if command:
            command.hits.append(decision.kind)
        return pid, command

    def _choose(self, decision: Decision, look: Callable[[], list[T]]) -> T | None:
        """Choose among what there is, or will be within some seconds."""
        ends = time.monotonic() + _PATIENCE_S
        while not (candidates := look()) and time.monotonic() < ends:
            time.sleep(_LOOK_S)
        return decision.choose(candidates)

    def _runs(self) -> list[tuple[int, Command | None]]:
        """Processes of commands, and of runs of the schedule, which have no command."""
        found: list[tuple[int, Command | None]] = [(one.process.pid, one) for one in self._commands.running()]
        if self._stack.worker is not None:
            found += [(pid, None) for pid in children(self._stack.worker.service.pid)]
        return found


def _name(command: Command | None) -> str:
    return command.err.stem if command else "of the schedule"


def _workers(pid: int) -> list[int]:
    """The worker processes of a run: what its fork server has forked."""
    with suppress(psutil.Error):
        below = psutil.Process(pid).children(recursive=True)
        forks = {one.pid: one for one in below if _FORK_SERVER in " ".join(one.cmdline())}
        return [number for number, one in forks.items() if one.ppid() in forks]
    return []


def _descendants(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [one.pid for one in psutil.Process(pid).children(recursive=True)]
    return []
