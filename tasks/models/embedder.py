"""The embedding model of this process (`Embedder`): each text is embedded once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from roost.tasks.errors import ModelError
from roost.tasks.models.embedded_texts import embedding_texts
from roost.tasks.models.endpoint import Endpoint
from roost.tasks.models.endpoint_model import endpoint_model
from roost.tasks.models.endpoint_runner import EndpointRunner
from roost.tasks.models.engine import Runner, Vectors, is_usable
from roost.tasks.models.engine_choice import load_engine
from roost.tasks.models.engine_thread import EngineThread
from roost.tasks.models.model import Model, find_model, hub_revision
from roost.tasks.models.recipe import Recipe
from roost.tasks.settings import Embedding

#: Hashes of texts that a batch is embedding; the result is the vector, or why the model refuses the text, or None when
#: the batch failed.
_InProgress: TypeAlias = "dict[str, asyncio.Future[np.ndarray | str | None]]"

#: Most vectors that are remembered, the latest ones: some 20 MB of 384 numbers each.
MAX_REMEMBERED = 10_000
#: Most texts that are embedded ahead of their batch and wait for it; their vectors are among those remembered.
MAX_AHEAD = 4_000


class EmbeddedTexts(NamedTuple):
    """Texts that a batch asked for, by hash.

    vectors: (dim,) float32, unit length.
    embedded: The texts that this call embedded; the others were known or embedded by another batch.
    refused: Text that the model gives no vector for -> why.
    """

    vectors: dict[str, np.ndarray]
    embedded: set[str]
    refused: dict[str, str]


class Embedder:
    """The embedding model of this process; it is loaded at the first call. A context manager, sync or async."""

    def __init__(self, model: Model, settings: Embedding, tell: Callable[[str], None] | None = None) -> None:
        """Prepare the model, without loading it.

        Args:
            model: The model, in this process or at an endpoint.
            settings: How to run it.
            tell: Called, in any thread, with a line that says that an endpoint makes this process wait.
        """
        self.model = model
        self._runner: Runner
        if model.endpoint:
            self._runner = EndpointRunner(model, settings, tell)
        else:
            self._runner = EngineThread(lambda: load_engine(model, settings))
        self._seconds_before = 0.0
        self._recent: dict[str, np.ndarray] = {}
        self._ahead: set[str] = set()
        self._ahead_in_progress = 0
        #: Texts that a batch is embedding now, by hash; None as the result: that batch failed.
        self._in_progress: WeakKeyDictionary[asyncio.AbstractEventLoop, _InProgress] = WeakKeyDictionary()
        self._lock = threading.Lock()

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

    @property
    def seconds(self) -> float:
        """Time in which chunks were being embedded since `reset_seconds`, in seconds."""
        return self._runner.seconds - self._seconds_before

    def reset_seconds(self) -> None:
        """Count the seconds from 0 again."""
        self._seconds_before = self._runner.seconds

    def close(self) -> None:
        """End what runs, and release the model: takes some tenths of a second."""
        self._runner.close()

    async def load(self) -> None:
        """Load the model now, or check that the endpoint has it.

        Raises:
            ModelError: The model in its folder does not load, or another model answers at the endpoint.
        """
        await asyncio.wrap_future(self._runner.submit_load())

    async def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> Vectors:
        """Embed chunks, the model's text instruction before each.

        Args:
            texts: n texts.
            tokens: n token counts; they only decide which texts share a call.

        Returns:
            n vectors.
        """
        # All calls are submitted at once: the model goes from one to the next, and to other batches, without a pause.
        parts = self._runner.share_out(tokens)
        calls = [self._runner.submit_chunks(*_chosen(part, texts, tokens)) for part in parts]
        return _joined(parts, await asyncio.gather(*map(asyncio.wrap_future, calls)), self.model.dimension)

    async def embed_once(self, hashes: Sequence[str], texts: Sequence[str], tokens: Sequence[int]) -> EmbeddedTexts:
        """Embed texts that no other batch has embedded or is embedding; wait for those that another batch is embedding.

        When the other batch fails, this one embeds the text.

        Args:
            hashes: n hashes of the texts, each once.
            texts: n texts.
            tokens: n token counts; they only decide which texts share a call.
        """
        rows = {key: row for row, key in enumerate(hashes)}
        found, embedded, refused = EmbeddedTexts({}, set(), {})
        while missing := [key for key in hashes if key not in found and key not in refused]:
            # No await from here until the texts of this call are in progress.
            found |= self.recall(missing)
            in_progress = self._in_progress_here()
            others = {key: in_progress[key] for key in missing if key in in_progress and key not in found}
            own = [key for key in missing if key not in found and key not in others]
            results: dict[str, np.ndarray | str | None] = {}
            if own:
                part = [rows[key] for key in own]
                results |= await self._embed_own(own, [texts[row] for row in part], [tokens[row] for row in part])
                embedded |= {key for key, result in results.items() if not isinstance(result, str)}
            if others:
                await asyncio.wait(others.values())
                results |= {key: done.result() for key, done in others.items()}
            refused |= {key: result for key, result in results.items() if isinstance(result, str)}
            found |= {key: result for key, result in results.items() if isinstance(result, np.ndarray)}
        return EmbeddedTexts(found, embedded, refused)

    async def embed_ahead(self, chunks: pl.DataFrame, known: Collection[str] = ()) -> set[str]:
        """Embed the texts of chunks (frame of `CHUNK`) before their batch does; their vectors are remembered.

        At most `MAX_AHEAD` texts wait for their batch; further ones are left to it.

        Args:
            chunks: The chunks.
            known: Keys of texts that have a vector elsewhere.

        Returns:
            The keys of the texts that were embedded.
        """
        texts = await asyncio.to_thread(_texts_to_embed, chunks, known)
        with self._lock:  # several callers share the places
            texts = texts.head(max(0, MAX_AHEAD - len(self._ahead) - self._ahead_in_progress))
            self._ahead_in_progress += texts.height
        embedded: set[str] = set()
        try:
            embedded = (await self.embed_once(*(column.to_list() for column in texts))).embedded
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
    ) -> dict[str, np.ndarray | str]:
        """Embed texts that other batches can wait for; gives the vector of each text, or why the model refuses it."""
        loop = asyncio.get_running_loop()
        in_progress = self._in_progress_here()
        in_progress |= {key: loop.create_future() for key in hashes}
        results: dict[str, np.ndarray | str] = {}
        parts = self._runner.share_out(tokens)

        async def embed(rows: np.ndarray) -> None:
            """Embed one call's texts. They are remembered at once: another call may fail."""
            own = [hashes[row] for row in rows]
            done = await self.embed_chunks(*_chosen(rows, texts, tokens))
            vectors = {key: done.values[row] for row, key in enumerate(own) if row not in done.refused}
            self.remember(vectors)
            results.update(vectors)
            results.update({own[row]: reason for row, reason in done.refused.items()})

        try:
            for outcome in await asyncio.gather(*map(embed, parts), return_exceptions=True):
                if outcome:
                    raise outcome
            return results
        finally:
            for key in hashes:
                in_progress.pop(key).set_result(results.get(key))

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
        return await asyncio.wrap_future(self._runner.submit_queries(list(texts)))

    def embed_queries_sync(self, texts: Sequence[str]) -> np.ndarray:
        """Like `embed_queries`, for callers that are not async."""
        return self._runner.submit_queries(list(texts)).result()

    def embed_chunks_sync(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks for callers that are not async: (n, dim) float32, unit length, in the order of `texts`.

        Raises:
            ModelError: The model gives no vector for a text.
        """
        parts = self._runner.share_out(tokens)
        calls = [self._runner.submit_chunks(*_chosen(part, texts, tokens)) for part in parts]
        done = _joined(parts, [call.result() for call in calls], self.model.dimension)
        for row, reason in sorted(done.refused.items()):
            raise ModelError(f"a text cannot be embedded ({reason}): it begins {texts[row][:40]!r}")
        return done.values


def _chosen(rows: np.ndarray, texts: Sequence[str], tokens: Sequence[int]) -> tuple[list[str], list[int]]:
    return [texts[row] for row in rows], [tokens[row] for row in rows]


def _joined(parts: Sequence[np.ndarray], results: Sequence[Vectors], dimension: int) -> Vectors:
    """Put the vectors of several calls into one array; `parts` has the rows of each call."""
    values = np.empty((sum(map(len, parts)), dimension), dtype=np.float32)
    refused: dict[int, str] = {}
    for part, result in zip(parts, results, strict=True):
        values[part] = result.values
        refused |= {int(part[row]): reason for row, reason in result.refused.items()}
    for row in np.flatnonzero(~is_usable(values)):
        refused.setdefault(int(row), "the model gave a vector of zeros, or with numbers that are not finite")
    return Vectors(values, refused)


def _texts_to_embed(chunks: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """List the texts of chunks that are not known: frame of `key`, `text` and `tokens`."""
    texts = embedding_texts(chunks).select("key", "text", "tokens")
    return texts.filter(~pl.col("key").is_in(list(known)))


def model_of(recipe: Recipe, settings: Embedding, endpoint: Endpoint | None = None) -> Model:
    """Find the model that a recipe names, also when the settings name another one.

    Args:
        recipe: The recipe of a version.
        settings: How to find it.
        endpoint: What the version has stored of the endpoint that embedded it.

    Raises:
        ModelError: The model found under that name is another revision, or no endpoint is known.
    """
    wanted = {"query_instruction": recipe.query_instruction, "text_instruction": recipe.text_instruction}
    if recipe.api:
        model = endpoint_model(recipe.model, recipe.dimension, settings.model_copy(update=wanted), endpoint)
    else:
        wanted |= {"model": recipe.model, "revision": hub_revision(recipe.model, recipe.revision)}
        model = find_model(settings.model_copy(update=wanted))
    if model.revision != recipe.revision:
        found = "its tokenizer is another one" if recipe.api else f"revision {model.revision} is installed here"
        raise ModelError(
            f"the index was built with {recipe.model} revision {recipe.revision}, but {found}: "
            "queries must be embedded by the same model as the documents"
        )
    return model
