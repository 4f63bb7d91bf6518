"""The embedding model of this process and the thread that owns it (`Embedder`)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from roost.tasks.errors import ModelError
from roost.tasks.models.embedded_texts import embedding_texts
from roost.tasks.models.engine import Engine
from roost.tasks.models.engine_choice import load_engine
from roost.tasks.models.model import Model, find_model, hub_revision
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Embedding

T = TypeVar("T")
#: Hashes of texts that a batch is embedding; the result is the vector, or None when the batch failed.
_InProgress: TypeAlias = "dict[str, asyncio.Future[np.ndarray | None]]"

#: Texts in one call of the thread: seconds of work, so that a cancelled run ends soon.
TEXTS_PER_CALL = 256
#: Most vectors that are remembered, the latest ones: some 20 MB.
MAX_REMEMBERED = 10_000
#: Most texts that are embedded ahead of their batch and wait for it; their vectors are among those remembered.
MAX_AHEAD = 4_000


class Embedder:
    """The embedding model of this process; it is loaded at the first call. A context manager, sync or async."""

    def __init__(self, model: Model, settings: Embedding) -> None:
        self.model = model
        self._settings = settings
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._engine: Engine | None = None
        self._recent: dict[str, np.ndarray] = {}
        self._ahead: set[str] = set()
        self._ahead_in_progress = 0
        #: Texts that a batch is embedding now, by hash; None as the result: that batch failed.
        self._in_progress: WeakKeyDictionary[asyncio.AbstractEventLoop, _InProgress] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self.seconds = 0.0  # spent in the model, waiting not counted

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Embedder:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End the thread after its current call, and release the model: takes some tenths of a second."""
        self._owner.shutdown(wait=True, cancel_futures=True)
        self._engine = None

    async def load(self) -> None:
        """Load the model now, in its thread.

        Raises:
            ModelError: The model in its folder does not load.
        """
        await self._run(self._load)

    async def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks, the model's text instruction before each.

        Args:
            texts: n texts.
            tokens: n token counts; they only decide which texts share a call.

        Returns:
            (n, dim) float32, unit length, in the order of `texts`.
        """
        # All parts are queued at once: the thread goes from one to the next, and from batch to batch, without a pause.
        order = np.argsort(-np.asarray(tokens, dtype=np.int64), kind="stable")
        parts = [order[first : first + TEXTS_PER_CALL] for first in range(0, len(order), TEXTS_PER_CALL)]
        calls = (
            self._run(self._embed_chunks, [texts[row] for row in part], [tokens[row] for row in part]) for part in parts
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
            # No await from here until the texts of this call are in progress.
            found |= self.recall(missing)
            in_progress = self._in_progress_here()
            others = {key: in_progress[key] for key in missing if key in in_progress and key not in found}
            own = [key for key in missing if key not in found and key not in others]
            if own:
                part = [rows[key] for key in own]
                found |= await self._embed_own(own, [texts[row] for row in part], [tokens[row] for row in part])
                embedded.update(own)
            if others:
                await asyncio.wait(others.values())
                found |= {key: vector for key, done in others.items() if (vector := done.result()) is not None}
        return found, embedded

    async def embed_ahead(self, chunks: pl.DataFrame, known: Collection[str] = ()) -> set[str]:
        """Embed the texts of chunks (frame of `CHUNK`) before their batch does; their vectors are remembered.

        At most `MAX_AHEAD` texts wait for their batch; further ones are left to it.

        Args:
            chunks: The chunks.
            known: Keys of texts that have a vector elsewhere.

        Returns:
            The keys of the texts that were embedded.
        """
        texts = embedding_texts(chunks).select("key", "text", "tokens").filter(~pl.col("key").is_in(list(known)))
        with self._lock:  # several callers share the places
            texts = texts.head(max(0, MAX_AHEAD - len(self._ahead) - self._ahead_in_progress))
            self._ahead_in_progress += texts.height
        embedded: set[str] = set()
        try:
            _, embedded = await self.embed_once(*(column.to_list() for column in texts))
            return embedded
        finally:
            with self._lock:
                self._ahead_in_progress -= texts.height
                self._ahead |= embedded

    def take_ahead(self, hashes: Iterable[str]) -> set[str]:
        """Give those of the texts that were embedded ahead and that no batch has taken; the caller counts them.

        Their vectors are forgotten like others from now on.
        """
        with self._lock:
            taken = self._ahead.intersection(hashes)
            self._ahead -= taken
        return taken

    async def _embed_own(
        self, hashes: Sequence[str], texts: Sequence[str], tokens: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Embed texts that other batches can wait for."""
        loop = asyncio.get_running_loop()
        in_progress = self._in_progress_here()
        in_progress |= {key: loop.create_future() for key in hashes}
        vectors: dict[str, np.ndarray] = {}
        try:
            vectors = dict(zip(hashes, await self.embed_chunks(texts, tokens), strict=True))
            self.remember(vectors)
            return vectors
        finally:
            for key in hashes:
                in_progress.pop(key).set_result(vectors.get(key))

    def _in_progress_here(self) -> _InProgress:
        """Give the texts that batches of the running event loop are embedding; a future belongs to one loop only."""
        with self._lock:  # a Dask worker runs each of its batches in a thread and a loop of its own
            return self._in_progress.setdefault(asyncio.get_running_loop(), {})

    def remember(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Remember vectors by the hash of their text, for equal texts in the same run."""
        with self._lock:
            self._recent |= vectors
            forgotten = (key for key in self._recent if key not in self._ahead)
            for key in list(islice(forgotten, max(0, len(self._recent) - MAX_REMEMBERED))):
                del self._recent[key]

    def forget(self) -> None:
        """Forget all vectors: a forced run embeds all texts again."""
        with self._lock:
            self._recent.clear()
            self._ahead.clear()

    def recall(self, hashes: Iterable[str]) -> dict[str, np.ndarray]:
        """Give the remembered vectors of these texts, by hash."""
        return {key: self._recent[key] for key in hashes if key in self._recent}

    async def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, the model's query instruction before each: (n, dim) float32."""
        return await self._run(self._embed_queries, list(texts))

    def embed_queries_sync(self, texts: Sequence[str]) -> np.ndarray:
        """Like `embed_queries`, for callers that are not async."""
        return self._owner.submit(self._embed_queries, list(texts)).result()

    def embed_chunks_sync(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Like `embed_chunks`, for callers that are not async, and for few texts."""
        order = sorted(range(len(texts)), key=lambda row: -tokens[row])
        sorted_texts, sorted_tokens = [texts[row] for row in order], [tokens[row] for row in order]
        vectors = np.empty((len(texts), self.model.dimension), dtype=np.float32)
        vectors[order] = self._owner.submit(self._embed_chunks, sorted_texts, sorted_tokens).result()
        return vectors

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._owner, function, *arguments)

    def _embed_chunks(self, texts: list[str], tokens: list[int]) -> np.ndarray:
        engine, started = self._load(), time.perf_counter()
        vectors = engine.embed_chunks(texts, tokens)
        self.seconds += time.perf_counter() - started
        return vectors

    def _embed_queries(self, texts: list[str]) -> np.ndarray:
        return self._load().embed_queries(texts)

    def _load(self) -> Engine:
        if self._engine is None:
            self._engine = load_engine(self.model, self._settings)
        return self._engine


def model_of(recipe: Recipe, settings: Embedding) -> Model:
    """Find the model that a recipe names, also when the settings name another one.

    Raises:
        ModelError: The model found under that name is another revision.
    """
    wanted = {
        "model": recipe.model,
        "revision": hub_revision(recipe.model, recipe.revision),
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
