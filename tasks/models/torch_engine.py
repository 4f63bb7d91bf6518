"""The engine PyTorch, for any device and any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from roost.tasks.host_resources import cores
from roost.tasks.models.agreement import PROBE_TEXTS, least_cosine
from roost.tasks.models.engine import cut_by_tokens
from roost.tasks.models.model import Model, load_error, silence_libraries
from roost.tasks.models.torch_device import bytes_per_token, choose_limits, free_memory, in_half_precision, is_cuda
from roost.tasks.settings import Embedding


class TorchEngine:
    """PyTorch through llama-index's HuggingFaceEmbedding, on any device that it finds; on CUDA in half precision."""

    name = "torch"

    def __init__(self, model: Model, settings: Embedding) -> None:
        import torch
        from safetensors import SafetensorError

        silence_libraries()
        torch.set_num_threads(settings.threads or cores())
        self._dimension = model.dimension
        self._limits = choose_limits(settings.tokens_per_call)
        try:
            if is_cuda(settings.device):
                free, size = free_memory(), bytes_per_token(model.dimension, model.window)
                self._limits = choose_limits(settings.tokens_per_call, free_bytes=free, bytes_per_token=size)
                self._model = in_half_precision(lambda kind: self._open(model, settings, kind), _probed, least_cosine)
            else:
                self._model = self._open(model, settings, "float32")
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise load_error(model, error) from None

    def _open(self, model: Model, settings: Embedding, numbers: str) -> Any:
        """Load the model with numbers of a type: `float16` or `float32`."""
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        return HuggingFaceEmbedding(
            model_name=str(model.folder),
            device=settings.device or None,
            max_length=model.window,
            query_instruction=model.query_instruction,
            text_instruction=model.text_instruction,
            embed_batch_size=self._limits.texts,
            model_kwargs={"dtype": numbers},
        )

    def embed_chunks(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed chunks; the padded size of each call is within the budget."""
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        for call in cut_by_tokens(tokens, *self._limits):
            vectors[call] = self._model.get_text_embedding_batch(list(texts[call]))
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries one by one: there are few."""
        return np.array([self._model.get_query_embedding(text) for text in texts], dtype=np.float32)


def _probed(model: Any) -> np.ndarray:
    return np.array(model.get_text_embedding_batch(list(PROBE_TEXTS)), dtype=np.float32)
