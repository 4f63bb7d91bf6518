"""What the crash tests are made of: runs that can be killed anywhere, corpora that change, states to compare."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.faults import POINTS
from tests.conftest import ROOT

KILLED = -signal.SIGKILL
#: Chunks and batches so small that a small corpus has many of both.
SETTINGS = {
    "ROOST_CHUNKING__SIZE": "24",
    "ROOST_CHUNKING__OVERLAP": "4",
    "ROOST_INGEST__BATCH_BYTES": "1024",
}
#: Columns of the ledger that tell of runs, not of documents.
OF_THE_RUN = {"run_id", "updated_at", "attempts"}


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code or minus the signal, and what its steps answered."""

    code: int
    answers: list[dict[str, Any]]

    @property
    def killed(self) -> bool:
        return self.code == KILLED


class Nursery:
    """Forks runs from a process that has everything imported (crash_child.py). May be used from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, str(Path(__file__).with_name("crash_child.py"))]
        env = os.environ | SETTINGS | {"PYTHONPATH": str(ROOT)}
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
                `kill_seconds=0.2`.
        """
        name = self.folder / uuid.uuid4().hex
        settings = {"ROOST_MILVUS__URI": uri} | (env or {})
        if fault := attack.pop("fault", ""):
            settings["PYTEST_ROOST_FAULT"] = fault
        job = {"env": settings, "steps": steps, "answer": f"{name}.answer", "ended": f"{name}.ended", **attack}
        assert self._process.stdin is not None
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
            time.sleep(0.005)
        ended, answer = self.name.with_suffix(".ended"), self.name.with_suffix(".answer")
        code = int(ended.read_text())
        assert code in (0, KILLED), answer.read_text()
        answers = pickle.loads(answer.read_bytes()) if code == 0 else []
        ended.unlink()
        answer.unlink(missing_ok=True)
        return Ended(code, answers)

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

    @property
    def step(self) -> dict[str, Any]:
        """An ordinary run."""
        sources = [{"uri": str(self.source)}]
        request = {"sources": sources, "index": self.index, "max_delete_fraction": 1.0, "on_conflict": "refuse"}
        return {"do": "ingest", "request": request}

    def run(self, **attack: Any) -> Ended:
        """Run once, under attack or in peace; in peace it must work."""
        ended = self.nursery.run(self.uri, self.step, **attack)
        assert ended.killed or ended.answers[0]["state"] in ("Completed", "Partial"), ended.answers[0]
        return ended

    def settle(self) -> State:
        """Run once, then once more, which must write nothing; return what is there then."""
        ended = self.nursery.run(self.uri, self.step, self.step, {"do": "read", "index": self.index})
        first, second, read = ended.answers[:3]
        for run in (first, second):
            assert run["state"] in ("Completed", "Partial"), run
        state = as_state(read)
        assert second["report"]["chunks"] == {"embedded": 0, "reused": 0, "written": 0, "deleted": 0}
        assert second["run_id"] not in {row["run_id"] for row in state.ledger.values()}  # no row was touched
        return state


def clean_state(nursery: Nursery, source: Path, folder: Path) -> State:
    """What a first, undisturbed run over this source makes, on Milvus Lite."""
    uri = str(folder / f"clean-{uuid.uuid4().hex}.db")
    site = Site(nursery, uri, "clean", source)
    ended = nursery.run(uri, site.step, {"do": "read", "index": "clean"})
    assert ended.answers[0]["state"] in ("Completed", "Partial"), ended.answers[0]
    shutil.rmtree(uri)
    return as_state(ended.answers[1])


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


WORDS = (
    "herring lantern tide rope harbour signal fog anchor keeper ledger storm cargo pilot beacon "
    "winter barrel compass oar gull quay mast sail chart island crew dock rain salt wind brass"
).split()
SHARED = "## Notice\n\nThe harbour office keeps this notice in every one of its papers, word for word.\n"


@dataclass
class Corpus:
    """A folder of Markdown, text and table files that changes at random, the same way for the same seed.

    A file's time follows from its content, so that content restored is a file restored.
    """

    root: Path
    dice: random.Random
    files: dict[str, bytes] = field(default_factory=dict)
    gone: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    def fill(self, count: int) -> Corpus:
        """Add documents."""
        for _ in range(count):
            self.add()
        return self

    def change(self, count: int, edits: Sequence[str] | None = None) -> None:
        """Make some edits, one after another."""
        for _ in range(count):
            name = self.dice.choice(edits or EDITS)
            self.log.append(f"{name} {getattr(self, name)()}")

    def add(self) -> str:
        path = self._new_path()
        self.write(path, self._content(path))
        return path

    def rewrite(self) -> str:
        """Change a file altogether; often it grows or shrinks."""
        return self._edit(lambda path, _: self._content(path))

    def grow(self) -> str:
        return self._edit(lambda path, old: old + self._content(path, header=False))

    def shrink(self) -> str:
        """Keep a file's first half, at least one line of text."""

        def half(path: str, old: bytes) -> bytes:
            lines = old.splitlines(keepends=True)
            return b"".join(lines[: max(3, len(lines) // 2)])

        return self._edit(half)

    def touch_up(self) -> str:
        """Change one word."""
        return self._edit(lambda _, old: old.replace(b"the ", b"that ", 1) if b"the " in old else old + b" the end\n")

    def rename(self) -> str:
        old, new = self._pick(), self._new_path()
        new = f"{new.rpartition('.')[0]}.{old.rpartition('.')[2]}"
        self.write(new, self.files[old])
        self._remove(old)
        return f"{old} to {new}"

    def swap(self) -> str:
        """Exchange two files' names."""
        one, other = self._pick(), self._pick()
        if one.rpartition(".")[2] != other.rpartition(".")[2]:
            return "nothing"
        first, second = self.files[one], self.files[other]
        self.write(one, second)
        self.write(other, first)
        return f"{one} and {other}"

    def copy(self) -> str:
        old, new = self._pick(), self._new_path()
        new = f"{new.rpartition('.')[0]}.{old.rpartition('.')[2]}"
        self.write(new, self.files[old])
        return f"{old} to {new}"

    def delete(self) -> str:
        path = self.dice.choice(sorted(self.files))
        if len(self.files) > 2:
            self._remove(path)
        return path

    def restore(self) -> str:
        """Bring a deleted file back as it was."""
        if not self.gone:
            return "nothing"
        path = self.dice.choice(sorted(self.gone))
        self.write(path, self.gone.pop(path))
        return path

    def spoil(self) -> str:
        """Make a file such that it cannot be indexed."""
        path = self._pick()
        content = self.files[path]
        self.write(path, b"id,title,text\n" if path.endswith(".csv") else b" \n")
        self.broken[path] = content
        return path

    def mend(self) -> str:
        """Give a spoilt file text again, its old one or a new one."""
        if not self.broken:
            return "nothing"
        path = self.dice.choice(sorted(self.broken))
        old = self.broken[path]
        self.write(path, old if self.dice.random() < 0.5 else self._content(path))
        return path

    def mend_all(self) -> None:
        while self.broken:
            self.log.append(f"mend {self.mend()}")

    def write(self, path: str, content: bytes) -> None:
        """Write a file and give it the time that goes with its content."""
        self.files[path] = content
        self.broken.pop(path, None)
        file = self.root / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        number = int.from_bytes(hashlib.blake2b(content, digest_size=4).digest())
        os.utime(file, ns=(number * 1_000_000, number * 1_000_000))

    def _remove(self, path: str) -> None:
        content = self.files.pop(path)
        if self.broken.pop(path, None) is None:
            self.gone[path] = content
        (self.root / path).unlink()

    def _edit(self, change: Callable[[str, bytes], bytes]) -> str:
        path = self._pick()
        self.write(path, change(path, self.files[path]))
        return path

    def _pick(self) -> str:
        """A file that is not broken; there is always one."""
        return self.dice.choice(sorted(self.files.keys() - self.broken.keys()) or [self.add()])

    def _new_path(self) -> str:
        """A name that is free, often one that a deleted file had."""
        suffix = self.dice.choice((".md", ".md", ".txt", ".txt", ".csv"))
        while True:
            path = f"{self.dice.choice(('', 'more/'))}{self.dice.choice(WORDS)}{suffix}"
            if path not in self.files:
                return path

    def _content(self, path: str, *, header: bool = True) -> bytes:
        if path.endswith(".md"):
            parts = [f"{'#' * self.dice.choice((1, 2, 3))} {self._words(2)}\n\n{self._text(6)}\n\n" for _ in range(3)]
            if self.dice.random() < 0.4:
                parts.insert(self.dice.randrange(3), SHARED)
            return "".join(parts[: self.dice.randint(1, 4)]).encode()
        if path.endswith(".txt"):
            return f"{self._text(14)}\n".encode()
        return self._rows(header=header)

    def _rows(self, *, header: bool) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        if header:
            writer.writerow(("id", "title", "text"))
        start = 0 if header else self.dice.randrange(100, 10**9)
        for number in sorted(self.dice.sample(range(8), self.dice.randint(1, 4))):
            writer.writerow((f"row-{start + number}", self._words(2), self._text(4)))
        return out.getvalue().encode()

    def _text(self, most: int) -> str:
        return " ".join(f"Then the {self._words(5)}." for _ in range(self.dice.randint(1, most)))

    def _words(self, count: int) -> str:
        return " ".join(self.dice.choices(WORDS, k=count))


#: Every edit that schedules make.
EDITS = (
    "add", "rewrite", "grow", "shrink", "touch_up", "rename", "swap", "copy", "delete", "delete", "restore",
    "spoil", "mend",
)  # fmt: skip


@dataclass
class Schedule:
    """Runs, crashes and edits in an order that a seed decides; `log` tells what happened."""

    seed: int
    nursery: Nursery
    uri: str
    index: str
    folder: Path

    def play(self) -> list[str]:
        """Play it and list how the end differs from a clean index; empty when it does not."""
        dice = random.Random(self.seed)
        corpus = Corpus(self.folder / "docs", dice).fill(dice.randint(3, 8))
        self.log = corpus.log
        site = Site(self.nursery, self.uri, self.index, corpus.root)
        if dice.random() < 0.7:
            self.log.append(f"run: {site.run().answers[0]['state']}")
            corpus.change(dice.randint(1, 5))
        wanted = dice.choice((1, 1, 1, 2, 2, 3))
        while wanted:
            attack = _attack(dice)
            killed = site.run(**attack).killed
            self.log.append(f"run with {attack}: {'killed' if killed else 'ended'}")
            wanted -= killed
            if not killed or dice.random() < 0.6:
                corpus.change(dice.randint(1, 4))
        if dice.random() < 0.7:
            corpus.mend_all()
        return differences(site.settle(), clean_state(self.nursery, corpus.root, self.folder), corpus.broken)


def _attack(dice: random.Random) -> dict[str, Any]:
    """Where to kill a run: at a fault point, right before or after a call, or at any moment."""
    kind = dice.randrange(4)
    if kind == 0:
        return {"fault": f"{dice.choice(POINTS)}:{dice.choice((1, 1, 2, 3, 4))}"}
    if kind == 3:
        return {"kill_seconds": round(dice.uniform(0.05, 0.35), 3)}
    return {("", "kill_before", "kill_after")[kind]: dice.choice((1, 2, 3, dice.randint(1, 12), dice.randint(1, 30)))}
