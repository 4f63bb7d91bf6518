"""The sources: two folders of documents that change at random, with the time at which each file was last touched.

Each document has a key, a word that is in all its paragraphs and in no other document but its copies: who searches for
the key must find the document.
"""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

FOLDERS = ("alpha", "beta")
SUFFIXES = (".md", ".md", ".txt", ".txt", ".html", ".csv")
#: Documents at the start, and within which bounds edits keep their number.
COUNT, LEAST, MOST = 40, 30, 60
_WORDS = re.findall(
    r"\w+",
    "herring lantern tide rope harbour signal fog anchor keeper ledger storm cargo pilot beacon winter barrel compass "
    "oar gull quay mast sail chart island crew dock rain salt wind brass",
)
#: Seconds between two changes of a file that is being damaged.
_DAMAGE_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Document:
    """A file as it is now.

    path: Below the folder of all sources, as `alpha/k0007.md`.
    touched: When it was last written, moved or damaged, on the monotonic clock; infinite while it is being damaged.
    """

    path: str
    key: str
    text: str
    touched: float


class Sources:
    """The folders and what is in them. May be used from several threads."""

    def __init__(self, root: Path, seed: int) -> None:
        """Write the first documents."""
        self.root = root
        self._dice = random.Random(f"sources {seed}")
        self._lock = threading.RLock()
        self._documents: dict[str, Document] = {}
        self._keys = 0
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)
        for _ in range(COUNT):
            self._add()

    @property
    def words(self) -> list[str]:
        """The sources as a command takes them."""
        return [f"{folder}={self.root / folder}" for folder in FOLDERS]

    def __len__(self) -> int:
        return len(self._documents)

    def documents(self) -> list[Document]:
        """All documents, by path."""
        with self._lock:
            return [self._documents[path] for path in sorted(self._documents)]

    def is_as(self, document: Document) -> bool:
        """Whether nothing has touched the document since."""
        return self._documents.get(document.path) == document

    def edit(self, count: int) -> list[str]:
        """Make some edits; their names."""
        with self._lock:
            return [self._edit() for _ in range(count)]

    def _edit(self) -> str:
        kinds = ["rewrite", "grow", "shrink", "rename", "copy", "touch"]
        kinds += ["add", "add"] if len(self) < MOST else []
        kinds += ["delete", "delete"] if len(self) > LEAST else []
        kind = self._dice.choice(kinds)
        if kind == "add":
            return f"add {self._add()}"
        old = self._dice.choice(sorted(path for path, one in self._documents.items() if one.touched < float("inf")))
        document = self._documents[old]
        if kind == "delete":
            self._remove(old)
        elif kind in ("rename", "copy"):
            self._write(replace(document, path=self._free_path(Path(old).suffix)))
            if kind == "rename":
                self._remove(old)
        else:
            paragraphs = self._dice.randint(1, 6) if kind in ("rewrite", "grow") else 1
            text = document.text if kind == "touch" else self._text(document.key, paragraphs, Path(old).suffix)
            self._write(replace(document, text=text))
        return f"{kind} {old}"

    def _add(self) -> str:
        self._keys += 1
        key = f"k{self._keys:04d}q"
        path = self._free_path(self._dice.choice(SUFFIXES))
        self._write(Document(path, key, self._text(key, self._dice.randint(1, 4), Path(path).suffix), 0.0))
        return path

    def _free_path(self, suffix: str) -> str:
        """A name that is free, often one that a deleted document had."""
        while True:
            path = f"{self._dice.choice(FOLDERS)}/{self._dice.choice(_WORDS)}-{self._dice.randrange(4)}{suffix}"
            if path not in self._documents:
                return path

    def _write(self, document: Document) -> None:
        (self.root / document.path).write_text(document.text)
        self._documents[document.path] = replace(document, touched=time.monotonic())

    def _remove(self, path: str) -> None:
        del self._documents[path]
        (self.root / path).unlink()

    def _text(self, key: str, paragraphs: int, suffix: str) -> str:
        said = [f"{key} {self._some(8)} {key} {self._some(8)} {key}." for _ in range(paragraphs)]
        if suffix == ".csv":
            return "id,text\n" + "".join(f"{number},{text}\n" for number, text in enumerate(said))
        if suffix == ".html":
            return f"<html><body><h1>{key}</h1>{''.join(f'<p>{text}</p>' for text in said)}</body></html>"
        return "\n\n".join([f"# {key}", *said] if suffix == ".md" else said) + "\n"

    def _some(self, count: int) -> str:
        return " ".join(self._dice.choices(_WORDS, k=count))

    def damage(self, document: Document, seconds: float, *, truncate: bool, dice: random.Random) -> None:
        """Write damaged and whole content in turn, so that a run lists the one and reads the other; at the end, whole.

        The document counts as touched all the time, and no edit chooses it.
        """
        with self._lock:
            if not self.is_as(document):
                return
            self._documents[document.path] = replace(document, touched=float("inf"))
        file, content, ends = self.root / document.path, document.text.encode(), time.monotonic() + seconds
        while time.monotonic() < ends:
            damaged = content[: dice.randrange(len(content))] if truncate else _scribbled(content, dice)
            for now in (damaged, content):
                file.write_bytes(now)
                time.sleep(_DAMAGE_INTERVAL_S)
        with self._lock:
            self._write(document)


def _scribbled(content: bytes, dice: random.Random) -> bytes:
    """Replace a third of the bytes by random ones."""
    return bytes(dice.randrange(256) if dice.random() < 0.33 else byte for byte in content)
