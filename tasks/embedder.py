"""The process's one model, and the one thread that owns it; texts are sorted by length and cut by token budget."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np

from tasks.errors import ModelError
from tasks.models import Model
from tasks.settings import Embedding

#: Most texts in one model call: past this a CPU gains nothing.
CALL_TEXTS = 64


class Embedder:
    """The process's one model. Use it as a context manager; the model is loaded at the first call."""

    def __init__(self, model: Model, settings: Embedding) -> None:
        self.model = model
        self._settings = settings
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._loaded: Any = None
        self.seconds = 0.0  # spent in the model, waiting not counted

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.shutdown(wait=True, cancel_futures=True)

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
        vectors = np.empty((len(texts), self.model.dimension), dtype=np.float32)
        for rows in cut_by_tokens(tokens, self._settings.tokens_per_call):
            vectors[rows] = await self._run(self._passages, [texts[row] for row in rows])
        return vectors

    async def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, the model's query instruction before each: (n, dim) float32."""
        return np.array([await self._run(self._query, text) for text in texts], dtype=np.float32)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._owner, function, *arguments)

    def _passages(self, texts: list[str]) -> np.ndarray:
        model, started = self._load(), time.perf_counter()
        vectors = np.array(model.get_text_embedding_batch(texts), dtype=np.float32)
        self.seconds += time.perf_counter() - started
        return vectors

    def _query(self, text: str) -> list[float]:
        return list(self._load().get_query_embedding(text))

    def _load(self) -> Any:
        if self._loaded is None:
            self._loaded = _load(self.model, self._settings)
        return self._loaded


def _load(model: Model, settings: Embedding) -> Any:
    import torch
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from safetensors import SafetensorError

    for name in ("sentence_transformers", "llama_index", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return HuggingFaceEmbedding(
            model_name=str(model.folder),
            device=settings.device or None,
            max_length=model.window,
            query_instruction=model.query_instruction,
            text_instruction=model.text_instruction,
            embed_batch_size=CALL_TEXTS,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        words = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"model {model.name!r} in {model.folder} does not load: {words}") from None


def cut_by_tokens(tokens: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Cut texts into calls: longest first, each call's padded size within the budget.

    Args:
        tokens: n token counts.
        budget: Most tokens in one call, padding counted in.

    Yields:
        Row numbers of one call, int64; every row once.
    """
    order = np.argsort(-np.asarray(tokens, dtype=np.int64), kind="stable")
    first = 0
    while first < len(order):
        longest = max(int(tokens[order[first]]), 1)
        size = max(1, min(CALL_TEXTS, budget // longest))
        yield order[first : first + size]
        first += size
