"""Searches all the time, by one process that keeps an index open, for documents that must be found.

A document must be found in a version when nothing has touched its file since before the start of a run that brought
this version in step. What is not found, though nothing touched the document while the search ran, counts as `empty`,
also when the search found other documents. An error is allowed while Milvus is unreachable, and shortly after.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tests.soak.plan import MILVUS_AWAY
from tests.soak.servers import INDEX, Stack
from tests.soak.sources import Document, Sources
from tests.soak.windows import Windows

SEARCH_INTERVAL_S = 0.25
#: Seconds after which a search that has not been answered counts as hung.
HUNG_AFTER_S = 180.0
END_TIMEOUT_S = 60.0


class Searches:
    """The searching process, and what became of its searches."""

    def __init__(self, stack: Stack, sources: Sources, windows: Windows, seed: int) -> None:
        """Start the process; `begin` starts to search."""
        self._sources, self._windows, self._dice = sources, windows, random.Random(f"searches {seed}")
        self._synced: dict[str, float] = {}
        self._reopen = threading.Event()
        self._stopping = threading.Event()
        self._asked_at = float("inf")
        self.counts = Counter({"ok": 0, "empty": 0, "error": 0})
        self.wrong: list[str] = []
        self.hung = 0
        environment = stack.env | {"TMPDIR": str(stack.folder), "PREFECT_HOME": str(stack.folder / "home")}
        self._log = (stack.folder / "searcher.err").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.soak.searcher", INDEX],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._search_on, name="searches")

    @property
    def log(self) -> Path:
        """Standard error of the process."""
        return Path(self._log.name)

    def begin(self) -> None:
        """Search until `end`."""
        self._thread.start()

    def note_synced(self, version: str, since: float) -> None:
        """Note that a version contains all that was in the sources at that time."""
        self._synced[version] = max(since, self._synced.get(version, 0.0))

    def reopen(self) -> None:
        """Have the process open the index anew, because the alias may have moved; wait until it did."""
        self._reopen.set()
        ends = time.monotonic() + HUNG_AFTER_S
        while self._reopen.is_set() and self._thread.is_alive() and time.monotonic() < ends:
            time.sleep(SEARCH_INTERVAL_S)

    def watch(self) -> None:
        """Kill the process if it does not answer any more: it hangs."""
        if time.monotonic() - self._asked_at > HUNG_AFTER_S and self.process.poll() is None:
            self.hung += 1
            self.wrong.append(f"a search was not answered within {HUNG_AFTER_S:.0f} s")
            self.process.kill()

    def end(self) -> None:
        """Stop searching and end the process."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(END_TIMEOUT_S)
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.hung += 1
            self.process.kill()
            self.process.wait()
        self._log.close()

    def kill(self) -> None:
        """End at once, whatever the process waits for."""
        self._stopping.set()
        self.process.kill()
        self.end()

    def use(self) -> tuple[int, int]:
        """Resident memory in MiB and open descriptors of the process."""
        return use_of(self.process.pid)

    def _search_on(self) -> None:
        while not self._stopping.is_set():
            try:
                self._search()
            except (OSError, ValueError):  # the process has ended
                if not self._stopping.is_set():
                    self.wrong.append(f"the searching process ended: {self.process.wait()}")
                return
            time.sleep(SEARCH_INTERVAL_S)

    def _search(self) -> None:
        documents = [one for one in self._sources.documents() if not one.path.endswith(".csv")]
        document = self._dice.choice(documents)
        reopen = self._reopen.is_set()
        started = time.monotonic()
        answer = self._ask({"query": document.key, "reopen": reopen})
        if "error" in answer:
            self._note_error(answer["error"], started)
            if reopen:  # it is closed, and is opened with the next search
                self._reopen.clear()
            return
        if reopen:
            self._reopen.clear()
        self._judge(document, answer)

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._asked_at = time.monotonic()
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        self._asked_at = float("inf")
        return answer

    def _judge(self, document: Document, answer: dict[str, Any]) -> None:
        if document.touched >= self._synced.get(answer["version"], 0.0) or not self._sources.is_as(document):
            return  # it may be in the index or not
        if document.path in answer["found"]:
            self.counts["ok"] += 1
            return
        self.counts["empty"] += 1
        found = f"{len(answer['found'])} other hits" if answer["found"] else "nothing"
        self.wrong.append(f"a search for {document.path} ({document.key}) found {found} in {answer['version']}")

    def _note_error(self, error: str, started: float) -> None:
        self.counts["error"] += 1
        if not self._windows.covers(started, time.monotonic(), MILVUS_AWAY):
            self.wrong.append(f"a search failed although Milvus was there: {error[:300]}")


def use_of(pid: int) -> tuple[int, int]:
    """Resident memory in MiB and open descriptors of a process; zeros if it has ended."""
    try:
        process = psutil.Process(pid)
        return process.memory_info().rss >> 20, process.num_fds()
    except psutil.NoSuchProcess:
        return 0, 0
