"""Corpora that change at random, and schedules of runs, crashes and changes; a seed decides all of it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.integration.crash import USUAL_BATCHES, Site

from roost.tasks.crash_points import POINTS

WORDS = re.findall(
    r"\w+",
    "herring lantern tide rope harbour signal fog anchor keeper ledger storm cargo pilot beacon winter barrel "
    "compass oar gull quay mast sail chart island crew dock rain salt wind brass",
)
SHARED = "## Notice\n\nThe harbour office keeps this notice in every one of its papers, word for word.\n"


@dataclass
class Corpus:
    """A folder of Markdown, text and table files that changes at random, the same way for the same seed.

    A file's time follows from its content, so that content restored is a file restored.
    """

    root: Path
    dice: random.Random
    suffixes: Sequence[str] = (".md", ".md", ".txt", ".txt", ".csv")
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

    def crowd(self, count: int) -> Corpus:
        """Add a folder of so many short documents; some are equal."""
        for number in range(count):
            self.write(f"crowd-0/{number}.txt", f"Number {number * 5 // 6} has nothing but this to say.\n".encode())
        return self

    def move_crowd(self) -> str:
        """Rename the folder."""
        old = next((path.partition("/")[0] for path in self.files if path.startswith("crowd-")), "")
        if not old:
            return "nothing"
        new = f"crowd-{int(old.removeprefix('crowd-')) + 1}"
        for path in [path for path in self.files if path.startswith(f"{old}/")]:
            self.write(path.replace(old, new), self.files[path])
            self._remove(path)
        return f"{old} to {new}"

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

    def reset(self, files: dict[str, bytes]) -> None:
        """Have these files and no others."""
        for path in self.files.keys() - files.keys():
            self._remove(path)
        for path, content in files.items():
            self.write(path, content)

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
        suffix = self.dice.choice(self.suffixes)
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
#: Those of schedules that may delete no more than a user's runs may.
FEW_DELETIONS = (*EDITS, *["move_crowd"] * 6)


@dataclass
class Schedule:
    """Runs, crashes and edits in an order that a seed decides; `log` tells what happened.

    Of four, two have batches of the usual size; one of these has many documents, moved together, and the usual limit
    to what a run may delete, which must refuse none of the runs. In some runs files cannot be read.
    """

    seed: int
    site: Site
    folder: Path
    log: list[str] = field(default_factory=list)

    def play(self) -> list[str]:
        """Play it and list how the end differs from a clean index; empty when it does not."""
        dice, site, edits = random.Random(self.seed), self.site, EDITS
        corpus = Corpus(site.source, dice, log=self.log)
        if self.seed % 4 in (1, 2):
            site = replace(site, env=USUAL_BATCHES)
        if self.seed % 4 == 2:
            site, edits = replace(site, max_delete_fraction=None), FEW_DELETIONS
            corpus.suffixes = (".md", ".txt")  # the rows of a table go together
            corpus.crowd(30)
        corpus.fill(dice.randint(3, 8))
        if dice.random() < 0.7:
            self.log.append(f"run: {site.run().answers[0]['state']}")
            corpus.change(dice.randint(1, 5), edits)
        wanted = dice.choice((1, 1, 1, 2, 2, 3))
        while wanted:
            attack = _attack(dice) | self._away(corpus)
            killed = site.run(**attack).killed
            self.log.append(f"run with {attack}: {'killed' if killed else 'ended'}")
            wanted -= killed
            if not killed or dice.random() < 0.6:
                corpus.change(dice.randint(1, 4), edits)
        if dice.random() < 0.7:
            corpus.mend_all()
        return site.off_from_clean(self.folder, corpus.broken)

    def _away(self, corpus: Corpus) -> dict[str, Any]:
        """Now and then, files that cannot be read in this run."""
        if corpus.dice.random() < 0.7:
            return {}
        files = sorted(corpus.files)
        return {"away": [str(corpus.root / path) for path in corpus.dice.sample(files, len(files) // 2)]}


def _attack(dice: random.Random) -> dict[str, Any]:
    """Where to kill a run: at a fault point, right before or after a call, or at any moment."""
    kind = dice.randrange(4)
    if kind == 0:
        return {"fault": f"{dice.choice(POINTS)}:{dice.choice((1, 1, 2, 3, 4))}"}
    if kind == 3:
        return {"kill_seconds": round(dice.uniform(0.03, 0.2), 3)}
    return {("", "kill_before", "kill_after")[kind]: dice.choice((1, 2, 3, dice.randint(1, 9), dice.randint(1, 25)))}
