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
from typing import Protocol

import numpy as np

from roost.tasks.errors import ModelError
from roost.tasks.models.model import Model
from roost.tasks.settings import Embedding

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
    from roost.tasks.models.openvino_engine import OpenVinoEngine, exported
    from roost.tasks.models.torch_engine import TorchEngine

    has_openvino = find_spec("openvino") is not None
    if model.is_openvino or settings.backend == "openvino":
        if not has_openvino:
            raise ModelError(f"model {model.name!r} needs OpenVINO: pip install 'roost[local]'")
        folder = model.folder if model.is_openvino else exported(model, settings)
        return OpenVinoEngine(model, folder, threads=settings.threads)
    if settings.backend == "auto" and has_openvino and settings.device in ("", "cpu") and not _accelerator():
        try:
            return OpenVinoEngine(model, exported(model, settings), threads=settings.threads)
        except ModelError as error:
            _log.warning("%s; going on with PyTorch", error)
    return TorchEngine(model, settings)


def _accelerator() -> bool:
    """Whether PyTorch has one; it is asked only where there may be, since importing it takes seconds."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


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
