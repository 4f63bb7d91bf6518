"""The process's one model, and the one thread that owns it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from roost.tasks.errors import ModelError
from roost.tasks.models.engine import Engine, load_engine
from roost.tasks.models.model import CARRIED, Model, find_model
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Embedding

T = TypeVar("T")

#: Texts handed to the thread at a time: seconds of work, so that a cancelled run ends soon.
PART = 256
#: Vectors remembered, the latest: some 20 MB.
RECENT = 10_000


class Embedder:
    """The process's one model. Use it as a context manager; the model is loaded at the first call."""

    def __init__(self, model: Model, settings: Embedding) -> None:
        self.model = model
        self._settings = settings
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._engine: Engine | None = None
        self._recent: dict[str, np.ndarray] = {}
        #: Texts that a batch is embedding now, by hash; None as the result: that batch failed.
        self._in_progress: dict[str, asyncio.Future[np.ndarray | None]] = {}
        self.seconds = 0.0  # spent in the model, waiting not counted

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread after the call that it is in, and let go of the model: some tenths of a second."""
        self._owner.shutdown(wait=True, cancel_futures=True)
        self._engine = None

    async def load(self) -> None:
        """Load the model now, in its thread.

        Raises:
            ModelError: The folder is there, but the model in it does not load.
        """
        await self._run(self._load)

    async def passages(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed passages.

        Args:
            texts: n texts.
            tokens: n token counts; they only decide which texts share a call.

        Returns:
            (n, dim) float32, unit length, in the order of `texts`.
        """
        # All parts are queued at once: the thread goes from one to the next, and from batch to batch, without a pause.
        order = np.argsort(-np.asarray(tokens, dtype=np.int64), kind="stable")
        parts = [order[first : first + PART] for first in range(0, len(order), PART)]
        calls = (
            self._run(self._passages, [texts[row] for row in part], [tokens[row] for row in part]) for part in parts
        )
        vectors = np.empty((len(texts), self.model.dimension), dtype=np.float32)
        for part, found in zip(parts, await asyncio.gather(*calls), strict=True):
            vectors[part] = found
        return vectors

    async def embed_once(
        self, hashes: Sequence[str], texts: Sequence[str], tokens: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], set[str]]:
        """Embed texts that no other batch has embedded or is embedding; wait for those that another batch is embedding.

        When the other batch fails, this one embeds the text.

        Args:
            hashes: n hashes of the texts, each once.
            texts: n texts.
            tokens: n token counts; they only decide which texts share a call.

        Returns:
            Vectors by hash, (dim,) float32, unit length; and the hashes of the texts that this call embedded.
        """
        rows = {key: row for row, key in enumerate(hashes)}
        found: dict[str, np.ndarray] = {}
        embedded: set[str] = set()
        while missing := [key for key in hashes if key not in found]:
            # No await from here until the texts of this call are in `_in_progress`.
            found |= self.recall(missing)
            others = {key: self._in_progress[key] for key in missing if key in self._in_progress and key not in found}
            own = [key for key in missing if key not in found and key not in others]
            if own:
                part = [rows[key] for key in own]
                found |= await self._embed_own(own, [texts[row] for row in part], [tokens[row] for row in part])
                embedded.update(own)
            if others:
                await asyncio.wait(others.values())
                found |= {key: vector for key, done in others.items() if (vector := done.result()) is not None}
        return found, embedded

    async def _embed_own(
        self, hashes: Sequence[str], texts: Sequence[str], tokens: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Embed texts, and let other batches wait for them meanwhile."""
        loop = asyncio.get_running_loop()
        self._in_progress |= {key: loop.create_future() for key in hashes}
        vectors: dict[str, np.ndarray] = {}
        try:
            vectors = dict(zip(hashes, await self.passages(texts, tokens), strict=True))
            self.remember(vectors)
            return vectors
        finally:
            for key in hashes:
                self._in_progress.pop(key).set_result(vectors.get(key))

    def remember(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Keep vectors by the hash of their text, for texts that come again while they are in no or another row."""
        self._recent |= vectors
        for key in list(islice(self._recent, max(0, len(self._recent) - RECENT))):
            del self._recent[key]

    def forget(self) -> None:
        """Remember nothing, for those who are to embed all again."""
        self._recent.clear()

    def recall(self, hashes: Iterable[str]) -> dict[str, np.ndarray]:
        """Give those of these texts' vectors that are remembered."""
        return {key: self._recent[key] for key in hashes if key in self._recent}

    async def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, the model's query instruction before each: (n, dim) float32."""
        return await self._run(self._queries, list(texts))

    def wait_for_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Like `queries`, for callers that are not async."""
        return self._owner.submit(self._queries, list(texts)).result()

    def wait_for_passages(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Like `passages`, for callers that are not async, and few texts."""
        order = sorted(range(len(texts)), key=lambda row: -tokens[row])
        sorted_texts, sorted_tokens = [texts[row] for row in order], [tokens[row] for row in order]
        vectors = np.empty((len(texts), self.model.dimension), dtype=np.float32)
        vectors[order] = self._owner.submit(self._passages, sorted_texts, sorted_tokens).result()
        return vectors

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._owner, function, *arguments)

    def _passages(self, texts: list[str], tokens: list[int]) -> np.ndarray:
        engine, started = self._load(), time.perf_counter()
        vectors = engine.passages(texts, tokens)
        self.seconds += time.perf_counter() - started
        return vectors

    def _queries(self, texts: list[str]) -> np.ndarray:
        return self._load().queries(texts)

    def _load(self) -> Engine:
        if self._engine is None:
            self._engine = load_engine(self.model, self._settings)
        return self._engine


def model_of(recipe: Recipe, settings: Embedding) -> Model:
    """Find the model that a recipe names, whatever the settings name now.

    Raises:
        ModelError: The model found under that name is another revision.
    """
    on_hub = not Path(recipe.model).expanduser().is_dir() and recipe.model not in CARRIED
    wanted = {
        "model": recipe.model,
        "revision": recipe.revision if on_hub else "",
        "query_instruction": recipe.query_instruction,
        "text_instruction": recipe.text_instruction,
    }
    model = find_model(settings.model_copy(update=wanted))
    if model.revision != recipe.revision:
        raise ModelError(
            f"the index was built with {recipe.model} revision {recipe.revision}, but revision {model.revision} is "
            "installed here: queries must be embedded by the same model as the documents"
        )
    return model
