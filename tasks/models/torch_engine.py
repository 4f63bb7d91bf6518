"""The engine PyTorch, for any device and any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from roost.tasks.host_resources import cores
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import Model, load_error, silence_libraries
from roost.tasks.settings import Embedding

#: Most texts in one call: a CPU gains nothing from more.
MAX_CALL_TEXTS = 64


class TorchEngine:
    """PyTorch through llama-index's HuggingFaceEmbedding, on any device that it finds."""

    name = "torch"

    def __init__(self, model: Model, settings: Embedding) -> None:
        import torch
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding
        from safetensors import SafetensorError

        silence_libraries()
        torch.set_num_threads(settings.threads or cores())
        self._budget = settings.tokens_per_call
        self._dimension = model.dimension
        try:
            self._model: Any = HuggingFaceEmbedding(
                model_name=str(model.folder),
                device=settings.device or None,
                max_length=model.window,
                query_instruction=model.query_instruction,
                text_instruction=model.text_instruction,
                embed_batch_size=MAX_CALL_TEXTS,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise load_error(model, error) from None

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks; the padded size of each call is within the budget."""
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        for call in cut_by_tokens(tokens, self._budget, MAX_CALL_TEXTS):
            vectors[call] = self._model.get_text_embedding_batch(list(texts[call]))
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries one by one: there are few."""
        return np.array([self._model.get_query_embedding(text) for text in texts], dtype=np.float32)
