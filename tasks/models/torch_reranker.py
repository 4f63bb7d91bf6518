"""A cross-encoder in PyTorch, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from roost.tasks.errors import ModelError
from roost.tasks.host_resources import cores
from roost.tasks.models.agreement import PROBE_PAIRS, determination
from roost.tasks.models.model import Model, load_error, silence_libraries
from roost.tasks.models.torch_device import in_half_precision, is_cuda
from roost.tasks.settings import Embedding

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

#: Pairs in one call.
_CALL_PAIRS = 32


class TorchReranker:
    """Scores pairs of texts by sentence-transformers' `CrossEncoder`; on CUDA in half precision."""

    name = "torch"

    def __init__(self, model: Model, settings: Embedding) -> None:
        """Load the model.

        Raises:
            ModelError: It does not load, or gives more than one score for a pair.
        """
        import torch

        torch.set_num_threads(settings.threads or cores())
        device = settings.device or None
        self._loaded: CrossEncoder = (
            in_half_precision(lambda kind: open_cross_encoder(model, device, kind), _probed, determination)
            if is_cuda(settings.device)
            else open_cross_encoder(model, device)
        )

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Score n pairs of query and text: (n,) float32, a higher score is a better match."""
        return predict(self._loaded, pairs)


def open_cross_encoder(model: Model, device: str | None, numbers: str = "float32") -> CrossEncoder:
    """Load a cross-encoder.

    Args:
        model: The cross-encoder.
        device: As PyTorch names it; None: the best one here.
        numbers: Type of the weights: `float16` or `float32`.

    Raises:
        ModelError: It does not load, or gives more than one score for a pair.
    """
    from sentence_transformers import CrossEncoder

    silence_libraries()
    try:
        options = {"dtype": numbers}
        loaded: CrossEncoder = CrossEncoder(
            str(model.folder), device=device, model_kwargs=options, local_files_only=True
        )
    except Exception as error:  # noqa: BLE001  torch, transformers and safetensors raise their own
        raise load_error(model, error) from None
    if loaded.num_labels != 1:
        raise ModelError(
            f"model {model.name!r} gives {loaded.num_labels} scores for a pair of texts, so it is not a reranker: a "
            "cross-encoder with one score is needed"
        )
    loaded.max_seq_length = model.window
    return loaded


def predict(loaded: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Score n pairs: (n,) float32."""
    inputs: Any = list(pairs)
    scores = loaded.predict(inputs, batch_size=_CALL_PAIRS, show_progress_bar=False)
    return np.asarray(scores, dtype=np.float32)


def _probed(loaded: CrossEncoder) -> np.ndarray:
    return predict(loaded, PROBE_PAIRS)
