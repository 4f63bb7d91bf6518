"""The work that goes on while faults happen: ingests of changing sources, and all that one does with versions."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.soak.commands import ClosedError, Command, Commands
from tests.soak.searches import Searches
from tests.soak.servers import INDEX, POOL
from tests.soak.sources import Sources

#: Sizes of chunks that rebuilds choose from, in tokens; the first is that of the first run.
CHUNK_SIZES = (48, 40, 56)
CHUNK_OVERLAP = 4
#: Deletions pile up over runs that fail.
DELETIONS = ("--max-delete-fraction", "1")
_PAUSE_S = 0.5
OPERATIONS = ("verify", "rebuild", "prune", "verify", "build", "promote", "status", "prune", "rollback")


class Workload:
    """Two threads that run commands until they are stopped."""

    def __init__(self, commands: Commands, sources: Sources, searches: Searches, seed: int) -> None:
        """Make them; `begin` starts them."""
        self._commands, self._sources, self._searches = commands, sources, searches
        self._edits, self._choices = random.Random(f"edits {seed}"), random.Random(f"operations {seed}")
        self._stopping = threading.Event()
        self.threads = [threading.Thread(target=self._on(work)) for work in (self._change, self._operate)]

    def begin(self) -> None:
        """Start to work."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Start no further command."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until both threads have ended, if they were started."""
        for thread in self.threads:
            if thread.ident:
                thread.join()

    def ingest(self, index: str = INDEX, **settings: str) -> Command:
        """Run an ingest of all sources."""
        started = time.monotonic()
        command = self._commands.run("ingest", *self._sources.words, "--index", index, *DELETIONS, env=settings)
        self._note_synced(command, started)
        return command

    def schedule(self) -> Command:
        """Make the schedule."""
        every = ("--every", "1min", "--pool", POOL)
        return self._commands.run("schedule", *self._sources.words, "--index", INDEX, *every, *DELETIONS)

    def _on(self, work: Callable[[], None]) -> Callable[[], None]:
        def go_on() -> None:
            with suppress(ClosedError):
                while not self._stopping.is_set():
                    work()
                    self._stopping.wait(_PAUSE_S)

        return go_on

    def _change(self) -> None:
        self._sources.edit(self._edits.randint(1, 5))
        self.ingest()

    def _operate(self) -> None:
        for name in OPERATIONS:
            if self._stopping.is_set():
                return
            self._do(name)
            self._searches.reopen()

    def _do(self, name: str) -> None:
        index = ("--index", INDEX)
        if name in ("rebuild", "build"):
            how = () if name == "rebuild" else ("--no-promote",)
            size = ("--chunk-size", str(self._choices.choice(CHUNK_SIZES)), "--fresh")
            started = time.monotonic()
            quality = ("--sample", "10", "--max-drop", "1")
            command = self._commands.run("rebuild", *index, *size, *how, *quality, *DELETIONS)
            self._note_synced(command, started)
        elif name == "prune":
            self._commands.run("prune", *index, "--keep", "2")
        else:
            self._commands.run(name, *index)

    def _note_synced(self, command: Command, started: float) -> None:
        """A run with rejects may lack a document whose parsing was disturbed: it proves nothing."""
        if command.code == 0 and (version := command.answer.get("version")):
            self._searches.note_synced(version, started)
