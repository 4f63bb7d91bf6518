"""What runs a model: OpenVINO on a CPU where it is installed and agrees with PyTorch, else PyTorch.

Both make the same vectors (cosine >= 0.9999, checked once when a model is exported), so the choice is no part of the
recipe. An engine belongs to one thread.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np

from tasks.errors import ModelError
from tasks.models import Model
from tasks.settings import Embedding

#: Most texts in one call of PyTorch: past this a CPU gains nothing.
CALL_TEXTS = 64

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Turns texts into vectors."""

    name: str

    def passages(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Embed passages.

        Args:
            texts: n texts, longest first.
            tokens: n token counts, to tell which texts should share a call.

        Returns:
            (n, dim) float32, unit length, in the order of `texts`.
        """
        ...

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Embed queries, the model's query instruction before each: (n, dim) float32, unit length."""
        ...


def load_engine(model: Model, settings: Embedding) -> Engine:
    """Load a model into the engine that the settings name, or the fastest that is here.

    Raises:
        ModelError: The engine is not installed, or the model does not load in it.
    """
    from tasks.openvino_engine import OpenVinoEngine, exported

    has_openvino = find_spec("openvino") is not None
    if model.is_openvino or settings.backend == "openvino":
        if not has_openvino:
            raise ModelError(f"model {model.name!r} is to run in OpenVINO: pip install 'roost[openvino]'")
        return OpenVinoEngine(model, model.folder if model.is_openvino else exported(model, settings))
    if settings.backend == "auto" and has_openvino and settings.device in ("", "cpu") and not _accelerator():
        try:
            return OpenVinoEngine(model, exported(model, settings))
        except ModelError as error:
            _log.warning("%s; going on with PyTorch", error)
    return TorchEngine(model, settings)


class TorchEngine:
    """PyTorch through llama-index's HuggingFaceEmbedding, on whatever device it finds."""

    name = "torch"

    def __init__(self, model: Model, settings: Embedding) -> None:
        import torch
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding
        from safetensors import SafetensorError

        quiet_libraries()
        torch.set_num_threads(cores())
        self._budget = settings.tokens_per_call
        self._dimension = model.dimension
        try:
            self._model: Any = HuggingFaceEmbedding(
                model_name=str(model.folder),
                device=settings.device or None,
                max_length=model.window,
                query_instruction=model.query_instruction,
                text_instruction=model.text_instruction,
                embed_batch_size=CALL_TEXTS,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise does_not_load(model, error) from None

    def passages(self, texts: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
        """Each call's padded size is within the budget."""
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        for call in cut_by_tokens(tokens, self._budget, CALL_TEXTS):
            vectors[call] = self._model.get_text_embedding_batch(list(texts[call]))
        return vectors

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """One by one: there are few."""
        return np.array([self._model.get_query_embedding(text) for text in texts], dtype=np.float32)


def cut_by_tokens(tokens: Sequence[int], budget: int, most: int) -> list[slice]:
    """Cut texts, longest first, into calls whose padded size is within a budget.

    Args:
        tokens: n token counts, descending.
        budget: Most tokens in one call, padding counted in; a longer text is a call by itself.
        most: Most texts in one call.

    Returns:
        The calls, in order; every text is in one.
    """
    calls, first = [], 0
    while first < len(tokens):
        size = max(1, min(most, budget // max(tokens[first], 1)))
        calls.append(slice(first, min(first + size, len(tokens))))
        first += size
    return calls


def cores() -> int:
    """Cores that this process may use, a container's quota counted."""
    return int(joblib.cpu_count())


def quiet_libraries() -> None:
    """Keep what the model libraries say to each other off the terminal."""
    for name in ("sentence_transformers", "llama_index", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


def does_not_load(model: Model, error: BaseException) -> ModelError:
    """Say it in one line."""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ModelError(f"model {model.name!r} in {model.folder} does not load: {words}")


def _accelerator() -> bool:
    """Whether PyTorch has one; it is asked only where there may be, since importing it takes seconds."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
