"""Runs that can be killed anywhere, and the states of an index to compare; the parts of the crash tests."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roost.tasks.settings import Ingest
from roost.tasks.steps.report import ChunkCounts

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL
#: Of the vectors that stand in for the model's.
DIMENSION = 16
#: Chunks and batches so small that a small corpus has many of both.
SETTINGS = {
    "ROOST_CHUNKING__SIZE": "24",
    "ROOST_CHUNKING__OVERLAP": "4",
    "ROOST_INGEST__BATCH_BYTES": "1024",
}
#: Batches as large as users have them: a small corpus is one, all of it in flight at once.
USUAL_BATCHES = {"ROOST_INGEST__BATCH_BYTES": str(Ingest().batch_bytes)}
#: Columns of the ledger that tell of runs and of when files were written, not of documents.
OF_THE_RUN = {"run_id", "updated_at", "seen_at", "attempts", "modified"}


def vector_of(text: str) -> np.ndarray:
    """Stand in for the model: a unit vector that only this text has."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    made = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return made / np.linalg.norm(made)


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code or minus the signal, and what its steps answered."""

    code: int
    answers: list[dict[str, Any]]

    @property
    def killed(self) -> bool:
        """Whether it could not answer: SIGKILL ended it, or a library that found no memory (SIGABRT, or an exit)."""
        return self.code != 0


class Nursery:
    """Forks runs from a process that has everything imported (crash_child.py). May be used from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, str(Path(__file__).with_name("crash_child.py"))]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "PREFECT_"))}
        env = kept | SETTINGS | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def start(self, uri: str, *steps: dict[str, Any], env: dict[str, str] | None = None, **attack: Any) -> Job:
        """Start the steps in one fresh process.

        Args:
            uri: Milvus.
            steps: What to do, as crash_child.py words it.
            env: Settings beside the usual ones.
            attack: `fault="point:3"`, or `kill_before=3`, `kill_after=3` (calls that change something), or
                `kill_seconds=0.2`, or `kill_within_lite="log"`; or `file_bytes=4096`, `memory_bytes=1048576`, limits of
                the process; or `kill_before_request=3`, `kill_after_request=3` (to an embedding endpoint), best with
                `preload=["openai"]`, which no fork imports then; or `tell_at=3`, for `Job.wait_until_told`; or
                `away=["/docs/a.txt"]`, files that cannot be read this time.
        """
        name = self.folder / uuid.uuid4().hex
        settings = dict(env or {})
        if fault := attack.pop("fault", ""):
            settings["PYTEST_ROOST_CRASH_POINT"] = fault
        job = {"uri": uri, "env": settings, "steps": steps, **attack}
        job |= {part: f"{name}.{part}" for part in ("answer", "ended", "told")}
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return Job(name)

    def run(self, uri: str, *steps: dict[str, Any], timeout: float = 120.0, **options: Any) -> Ended:
        """Do the steps in one fresh process, to their end."""
        return self.start(uri, *steps, **options).wait(timeout)


@dataclass(frozen=True)
class Job:
    """A started job; its files begin with `name`."""

    name: Path

    def wait(self, timeout: float = 120.0) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: It takes too long, or it raised what is no error of Roost's.
        """
        ends = time.monotonic() + timeout
        while not self.has_ended:
            assert time.monotonic() < ends, f"a run has not ended after {timeout:.0f} s"
            time.sleep(0.01)
        answer = self.name.with_suffix(".answer")
        code = int(self.name.with_suffix(".ended").read_text())
        assert code <= 0 or not answer.exists(), answer.read_text()
        answers = pickle.loads(answer.read_bytes()) if code == 0 else []
        for part in ("answer", "ended", "told"):
            self.name.with_suffix(f".{part}").unlink(missing_ok=True)
        return Ended(code, answers)

    def wait_until_told(self, timeout: float = 60.0) -> None:
        """Wait for the call that it was to tell of."""
        ends = time.monotonic() + timeout
        while not self.name.with_suffix(".told").exists():
            assert not self.has_ended, f"ended before the call it was to tell of: {self.wait()}"
            assert time.monotonic() < ends, f"no such call within {timeout:.0f} s"
            time.sleep(0.01)

    @property
    def has_ended(self) -> bool:
        return self.name.with_suffix(".ended").exists()


@dataclass(frozen=True)
class State:
    """Everything that an index holds: rows by id, rows by document."""

    chunks: dict[str, dict[str, Any]]
    ledger: dict[str, dict[str, Any]]


def as_state(answer: dict[str, Any]) -> State:
    """Take what `read` answered; no id may be there twice."""
    for rows, key in ((answer["chunks"], "id"), (answer["ledger"], "doc_id")):
        twice = [name for name, count in Counter(row[key] for row in rows).items() if count > 1]
        assert not twice, f"more than one row of {twice}"
    return State({row["id"]: row for row in answer["chunks"]}, {row["doc_id"]: row for row in answer["ledger"]})


@dataclass(frozen=True)
class Site:
    """An index in a Milvus, and the folder that it is kept in step with."""

    nursery: Nursery
    uri: str
    index: str
    source: Path
    max_delete_fraction: float | None = 1.0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def step(self) -> dict[str, Any]:
        """An ordinary run."""
        sources = [{"uri": str(self.source), "name": self.source.name}]
        request = {"sources": sources, "index": self.index, "on_conflict": "refuse"}
        return {"do": "ingest", "request": request | self._limits}

    @property
    def _limits(self) -> dict[str, Any]:
        """Of deletions: none, or the usual ones."""
        allowed = {"allow_deletions": [self.source.name]} if self.max_delete_fraction == 1.0 else {}
        return {"max_delete_fraction": self.max_delete_fraction, **allowed}

    @property
    def look(self) -> dict[str, Any]:
        """Reading all of it."""
        return {"do": "read", "index": self.index}

    def run(self, **attack: Any) -> Ended:
        """Run once, under attack or in peace; in peace it must work."""
        ended = self.nursery.run(self.uri, self.step, env=self.env, **attack)
        assert ended.killed or ended.answers[0]["state"] in ("Completed", "Partial"), ended.answers[0]
        return ended

    def settle(self) -> State:
        """Run once, then once more, which must write nothing; return what is there then."""
        return _settled(self.nursery.run(self.uri, self.step, self.step, self.look, env=self.env).answers)

    def read(self) -> State:
        """Return what is there now."""
        return as_state(self.nursery.run(self.uri, self.look).answers[0])

    def off_from_clean(self, folder: Path, broken: Collection[str] = ()) -> list[str]:
        """Settle, and list how that differs from a first, undisturbed run over the source, on a Lite in `folder`."""
        clean = Site(self.nursery, str(folder / f"clean-{uuid.uuid4().hex}.db"), "clean", self.source)
        beside = [{**step, "uri": clean.uri} for step in (clean.step, clean.look)]
        answers = self.nursery.run(self.uri, self.step, self.step, self.look, *beside, env=self.env).answers
        assert answers[3]["state"] in ("Completed", "Partial"), answers[3]
        clean.drop()
        return differences(_settled(answers), as_state(answers[4]), broken)

    def drop(self) -> None:
        """Drop the index, or the whole file of Lite."""
        if "://" in self.uri:
            self.nursery.run(self.uri, {"do": "drop", "index": self.index})
        else:
            shutil.rmtree(self.uri)


def _settled(answers: list[dict[str, Any]]) -> State:
    first, second, look = answers[:3]
    for run in (first, second):
        assert run["state"] in ("Completed", "Partial"), run
    state = as_state(look)
    assert second["report"].chunks == ChunkCounts()
    assert second["run_id"] not in {row["run_id"] for row in state.ledger.values()}  # no row was touched
    return state


def differences(found: State, clean: State, broken: Collection[str] = ()) -> list[str]:
    """List in words where a state differs from that of a clean index.

    Args:
        found: What is there.
        clean: What should be.
        broken: URIs of files that cannot be indexed now; what they had before may stay, and must be whole.
    """

    def is_broken(row: dict[str, Any]) -> bool:
        return row["uri"].split("#")[0] in broken

    said = [f"ledger: {row}" for row in found.ledger.values() if row["status"] not in ("indexed", "quarantined")]
    said += _differing("ledger", found.ledger, clean.ledger, is_broken, OF_THE_RUN)
    said += _differing("chunk", found.chunks, clean.chunks, is_broken, {"vector"})
    for key in found.chunks.keys() & clean.chunks.keys():
        if not is_broken(clean.chunks[key]):
            far = np.abs(np.subtract(found.chunks[key]["vector"], clean.chunks[key]["vector"])).max()
            said += [f"chunk {key}: its vector is {far} away"] if far > 1e-6 else []
    return [*said, *_not_whole(found)]


def _differing(
    kind: str, found: dict[str, Any], clean: dict[str, Any], spared: Callable[[dict[str, Any]], bool], but: set[str]
) -> Iterator[str]:
    for key in sorted(found.keys() | clean.keys()):
        one, other = found.get(key), clean.get(key)
        if spared(one or other):
            continue
        if one is None or other is None:
            yield f"{kind} {key}: {'missing' if one is None else 'too many'}: {one or other}"
            continue
        for name in sorted((one.keys() | other.keys()) - but):
            if one.get(name) != other.get(name):
                yield f"{kind} {key} ({one['uri']}): {name} is {one.get(name)!r}, should be {other.get(name)!r}"


def _not_whole(state: State) -> Iterator[str]:
    """Every document has the ordinals from 0 up to the count in its ledger row, and nothing else is there."""
    ordinals: dict[str, set[int]] = {}
    for row in state.chunks.values():
        ordinals.setdefault(row["doc_id"], set()).add(row["ordinal"])
    for key in ordinals.keys() | state.ledger.keys():
        counted = state.ledger.get(key, {"chunk_count": 0})["chunk_count"]
        if ordinals.get(key, set()) != set(range(counted)):
            yield f"document {key}: the ledger counts {counted}, there are {sorted(ordinals.get(key, set()))}"
