"""One soak from its start to its report: what runs beside what, and in which order it ends."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.processes import children
from tests.soak.commands import GOOD, Command, Commands
from tests.soak.judge import Losses, Row, compare, problems, read_index, read_recipe, unexpected_failures
from tests.soak.plants import BEFORE_JUDGING, LOST_WRITE, plant
from tests.soak.searches import Searches, use_of
from tests.soak.servers import INDEX, POOL, Stack
from tests.soak.sources import Sources
from tests.soak.tormentor import Tormentor
from tests.soak.windows import Windows
from tests.soak.workload import CHUNK_OVERLAP, CHUNK_SIZES, Workload

CLEAN_INDEX = "clean"
PROGRESS_INTERVAL_S = 30.0
#: Seconds that everything may take to end after the last fault: a lease expires, retries and waits go on for a while.
END_TIMEOUT_S = 300.0
#: Searches that must have succeeded before the first fault.
_FIRST_SEARCHES = 10
_POLL_INTERVAL_S = 1.0
_MAX_LINES = 20

Use = dict[str, tuple[int, int]]


class Soak:
    """Servers, sources, work, searches and the tormentor; `problems` says in words what is wrong in the end."""

    def __init__(self, folder: Path, up: ExitStack, seed: int, planted: str) -> None:
        """Start the servers; `up` ends all."""
        self.problems: list[str] = []
        self._seed, self._planted = seed, planted
        windows = Windows()
        self._stack = Stack(folder, up)
        self._commands = Commands(self._stack, windows)
        self._sources = Sources(folder / "sources", seed)
        self._searches = Searches(self._stack, self._sources, windows, seed)
        self._workload = Workload(self._commands, self._sources, self._searches, seed)
        self._tormentor = Tormentor(self._stack, self._commands, self._sources, windows, seed)
        up.callback(self._end_processes)
        self._began = time.monotonic()
        self._said_at = 0.0

    def run(self, minutes: float) -> dict[str, Any]:
        """Do everything; the report."""
        self._prepare()
        start = self._use()
        self._commands.plant = self._planted if self._planted == LOST_WRITE else ""
        self._began = time.monotonic()
        self._workload.begin()
        self._tormentor.torment(60 * minutes, self._tick)
        self._say("healing")
        self._tormentor.heal()
        self._stop_work()
        losses = self._judge()
        end = self._use()
        self._searches.end()
        report = self._report(minutes, losses, start, end)
        failures = unexpected_failures(self._stack.failures())
        found = [*self._searches.wrong[:_MAX_LINES], *self._commands.unexplained, *losses.lines[:_MAX_LINES]]
        self.problems += problems(report) + failures[:_MAX_LINES] + found
        return report

    def _prepare(self) -> None:
        """Make the first version and the schedule, and begin to search."""
        size = {"ROOST_CHUNKING__SIZE": str(CHUNK_SIZES[0]), "ROOST_CHUNKING__OVERLAP": str(CHUNK_OVERLAP)}
        self._stack.ask("work_pools/", {"name": POOL, "type": "process"})
        for command in (self._workload.ingest(**size), self._workload.schedule()):
            if command.code != 0:
                raise SystemExit(f"{command.words[0]} failed before the first fault: {command.err.read_text()}")
        self._stack.serve_schedule()
        self._searches.begin()
        ends = time.monotonic() + END_TIMEOUT_S
        while self._searches.counts["ok"] < _FIRST_SEARCHES and time.monotonic() < ends:
            time.sleep(_POLL_INTERVAL_S)

    def _tick(self) -> None:
        """Look after the processes that stay, and say how far it is."""
        self._searches.watch()
        if self._stack.worker_is_gone:
            self._say("the worker has ended; it is started again")
            self._stack.serve_schedule()
        if time.monotonic() - self._said_at > PROGRESS_INTERVAL_S:
            faults, ended = self._tormentor.counts.total(), self._commands.ended.total()
            self._say(f"{faults} faults, {ended} commands ended, searches {dict(self._searches.counts)}")

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        print(f"soak: {self._said_at - self._began:5.0f} s: {text}", file=sys.stderr, flush=True)

    def _stop_work(self) -> None:
        """Start nothing more, and wait until all that runs has ended."""
        self._workload.stop()
        if self._stack.worker_is_gone:
            self._stack.serve_schedule()
        self._say("waiting for commands to end")
        self._commands.end_all(END_TIMEOUT_S)
        self._workload.join()
        self._must_work(self._commands.run("schedules", "--pause", INDEX))
        self._say("waiting for runs of the schedule to end")
        ends = time.monotonic() + END_TIMEOUT_S
        while (running := self._scheduled_runs()) and time.monotonic() < ends:
            time.sleep(_POLL_INTERVAL_S)
        self._commands.hung += len(running)

    def _scheduled_runs(self) -> list[int]:
        return children(self._stack.worker.service.pid) if self._stack.worker else []

    def _must_work(self, command: Command) -> None:
        if command.code not in GOOD:
            self.problems.append(f"after the last fault: {command.err.name}: {command.code}: {command.last_line}")

    def _judge(self) -> Losses:
        """Run once more and verify; compare with a clean run."""
        self._say("the last ingest")
        self._must_work(self._workload.ingest())
        self._must_work(self._commands.run("verify", "--index", INDEX))
        self._searches.reopen()
        server = self._stack.milvus.service.uri
        if self._planted in BEFORE_JUDGING:
            plant(self._planted, server, INDEX)
        self._commands.plant = ""
        self._say("a clean run")
        self._must_work(self._commands.run("versions", "--index", INDEX))
        recipe = asyncio.run(read_recipe(server, INDEX))
        size = {"ROOST_CHUNKING__SIZE": recipe.chunk_size, "ROOST_CHUNKING__OVERLAP": recipe.chunk_overlap}
        self._must_work(self._workload.ingest(CLEAN_INDEX, **{name: str(value) for name, value in size.items()}))
        found, clean = (asyncio.run(read_index(server, name)) for name in (INDEX, CLEAN_INDEX))
        self._check_clean(clean.chunks)
        left = self._commands.left_over()
        self._commands.hung += len(left)
        self.problems += [f"process {pid} of a command that has ended still runs" for pid in left]
        return compare(found, clean)

    def _check_clean(self, chunks: Sequence[Row]) -> None:
        """Compare the clean run with the model of the sources: each document with its key, and no other."""
        texts: dict[str, str] = {}
        for row in chunks:
            path = f"{row['source']}/{row['uri'].partition('#')[0]}"
            texts[path] = texts.get(path, "") + row["text"]
        keys = {one.path: one.key for one in self._sources.documents()}
        wrong = texts.keys() ^ keys.keys() | {path for path in texts.keys() & keys if keys[path] not in texts[path]}
        self.problems += [f"a clean run differs from the sources: {path}" for path in sorted(wrong)]

    def _use(self) -> Use:
        worker = self._stack.worker.service.pid if self._stack.worker else 0
        return {"search": self._searches.use(), "schedule": use_of(worker)}

    def _report(self, minutes: float, losses: Losses, start: Use, end: Use) -> dict[str, Any]:
        return {
            "minutes": minutes,
            "seed": self._seed,
            "faults": dict(sorted(self._tormentor.counts.items())),
            "runs": self._stack.run_states(),
            "searches": dict(self._searches.counts),
            "lost": losses.lost,
            "duplicated": losses.duplicated,
            "orphaned": losses.orphaned,
            "hung": self._commands.hung + self._searches.hung,
            "rss_start_mb": {name: rss for name, (rss, _) in start.items()},
            "rss_end_mb": {name: rss for name, (rss, _) in end.items()},
            "fds_start": {name: fds for name, (_, fds) in start.items()},
            "fds_end": {name: fds for name, (_, fds) in end.items()},
        }

    def _end_processes(self) -> None:
        """End what still runs after an error or Ctrl-C; after a whole soak nothing does."""
        self._workload.stop()
        self._tormentor.heal()
        self._commands.kill_all()
        self._searches.kill()
        self._workload.join()
