"""The documents of the benchmark, and a generator of vectors in place of the model.

A vector follows from the text alone: its hash gives 24 numbers, which a fixed matrix turns into 384 of unit length. So
the vectors lie in few dimensions, as those of a model do: exact neighbours of random vectors of 384 dimensions are as
good as equally far, and no index finds them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

DIMENSION, LATENT = 384, 24
#: With `CHUNK_SIZE` tokens, each paragraph of a document is a chunk of its own.
CHUNK_SIZE, CHUNKS = 48, 10
FOLDER_FILES = 1_000
ROOT = Path(__file__).parents[3]
_WORDS = ("harbour", "cabin", "glacier", "lantern", "orchard", "ferry", "compass", "meadow", "anchor", "violin")
_BASIS = np.random.default_rng(7).standard_normal((LATENT, DIMENSION)).astype(np.float32)


def write_documents(folder: Path, numbers: Iterable[int], edition: int = 1) -> None:
    """Write documents of ten paragraphs; another edition has other text in all of them."""
    for number in numbers:
        file = folder / f"{number // FOLDER_FILES:04d}" / f"{number:07d}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n\n".join(_paragraph(number, part, edition) for part in range(CHUNKS)) + "\n")


def _paragraph(number: int, part: int, edition: int) -> str:
    chosen = random.Random(f"{number} {part} {edition}").choices(_WORDS, k=20)
    return f"Note {number} part {part} edition {edition} tells of the {' '.join(chosen)} by the sea."


def latents(texts: Sequence[str]) -> np.ndarray:
    """Hash texts: (n, 24) float32 in [-1, 1)."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=2 * LATENT).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u2").reshape(len(texts), LATENT).astype(np.float32) / 32_768 - 1


def vectors_of(hashed: np.ndarray) -> np.ndarray:
    """Turn hashes of texts into vectors: (n, 384) float32 of unit length."""
    made = hashed @ _BASIS
    return made / np.linalg.norm(made, axis=1, keepdims=True)


class Generator:
    """An engine that costs nothing, and notes the hashes of the chunks that it is given in a file.

    Args:
        notes: File for the hashes, (n, 24) float32; None for none.
    """

    name = "generator"

    def __init__(self, notes: Path | None = None) -> None:
        self._notes = notes

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        hashed = latents(texts)
        if self._notes:
            with self._notes.open("ab") as file:
                file.write(hashed.tobytes())
        return vectors_of(hashed)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return vectors_of(latents(texts))


class DelayedGenerator(Generator):
    """The same in processes that a benchmark does not start itself (`hook`): it waits a fixed time for each chunk.

    `BENCH_CHUNK_S` has the seconds. `BENCH_CALLS` names a file to which each call adds a line of JSON: the process,
    when the call began and ended on the clock of this machine, how many chunks it had and how long it waited.
    """

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        began, delay = time.monotonic(), float(os.environ.get("BENCH_CHUNK_S", "0")) * len(texts)
        vectors = super().embed_chunks(texts, tokens)
        time.sleep(max(0.0, began + delay - time.monotonic()))
        if calls := os.environ.get("BENCH_CALLS"):
            call = {"pid": os.getpid(), "began": began, "ended": time.monotonic(), "chunks": len(texts), "delay": delay}
            with Path(calls).open("a") as file:  # one short write: lines of several processes do not mix
                file.write(json.dumps(call) + "\n")
        return vectors


def hooked(env: Mapping[str, str], chunk_s: float = 0.0, calls: Path | None = None) -> dict[str, str]:
    """Extend an environment: Python processes have the generator in place of the model, see `DelayedGenerator`."""
    path = os.pathsep.join([str(Path(__file__).parent / "hook"), str(ROOT), env.get("PYTHONPATH", "")])
    return {**env, "PYTHONPATH": path, "BENCH_CHUNK_S": str(chunk_s), "BENCH_CALLS": str(calls or "")}


def exact_scores(notes: Path, queries: Sequence[str], k: int = 10) -> np.ndarray:
    """Search all noted chunks exactly: (queries, k) cosines, falling."""
    asked = vectors_of(latents(queries))
    best = np.full((len(queries), k), -1.0, dtype=np.float32)
    noted = np.memmap(notes, dtype=np.float32, mode="r").reshape(-1, LATENT)
    for first in range(0, len(noted), 50_000):
        scores = asked @ vectors_of(noted[first : first + 50_000]).T
        both = np.concatenate([best, scores], axis=1)
        best = -np.partition(-both, k - 1, axis=1)[:, :k]
    return -np.sort(-best, axis=1)
