"""PyTorch's form of a model, from which its export is traced and with which the export is compared (`Reference`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roost.tasks.models.agreement import PROBE_PAIRS, PROBE_TEXTS, determination, least_cosine
from roost.tasks.models.exported_model import ModelInput
from roost.tasks.models.model import Model, load_error, silence_libraries
from roost.tasks.models.torch_reranker import open_cross_encoder, predict

#: Names of a model's inputs that are tokens.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Reference:
    """A model in PyTorch.

    module: The `torch.nn.Module` to trace, from the inputs to (n, dim) results.
    inputs: Example of the inputs by name, in the order in which the module takes them.
    pad_id: Id of the padding token.
    probes: n texts or pairs of texts.
    expected: (n, dim) float32, their results in PyTorch.
    agreement: Says how well results agree with the expected ones: 1.0 if they are equal, else less.
    """

    module: Any
    inputs: dict[str, Any]
    pad_id: int
    probes: Sequence[ModelInput]
    expected: np.ndarray
    agreement: Callable[[np.ndarray, np.ndarray], float]


def embedding_reference(model: Model) -> Reference:
    """Load an embedding model; its results are unit vectors.

    Raises:
        ModelError: It does not load.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    silence_libraries()
    try:
        loaded = SentenceTransformer(str(model.folder), device="cpu").eval()
    except Exception as error:  # noqa: BLE001  torch, transformers and safetensors raise their own
        raise load_error(model, error) from None
    loaded.max_seq_length = model.window
    inputs = _tokens(loaded.preprocess(["a b c", "a"]))
    return Reference(
        module=_traceable(loaded, inputs, lambda found: torch.nn.functional.normalize(found["sentence_embedding"])),
        inputs=inputs,
        pad_id=loaded.tokenizer.pad_token_id or 0,
        probes=PROBE_TEXTS,
        expected=loaded.encode(list(PROBE_TEXTS), normalize_embeddings=True, show_progress_bar=False),
        agreement=least_cosine,
    )


def reranker_reference(model: Model) -> Reference:
    """Load a cross-encoder; its results are scores, dim 1.

    Raises:
        ModelError: It does not load, or gives more than one score for a pair.
    """
    loaded: Any = open_cross_encoder(model, "cpu").eval()
    inputs = _tokens(loaded.preprocess([("a b c", "a"), ("a", "b")]))
    return Reference(
        module=_traceable(loaded, inputs, lambda found: loaded.activation_fn(found["scores"]).reshape(-1, 1)),
        inputs=inputs,
        pad_id=loaded.tokenizer.pad_token_id or 0,
        probes=PROBE_PAIRS,
        expected=predict(loaded, PROBE_PAIRS).reshape(-1, 1),
        agreement=determination,
    )


def _tokens(features: Mapping[str, Any]) -> dict[str, Any]:
    return {name: features[name] for name in features if name in _INPUTS}


def _traceable(loaded: Any, names: Iterable[str], results: Callable[[dict[str, Any]], Any]) -> Any:
    """Make a module that takes the inputs one by one, and gives the results that are read from what `loaded` gives."""
    import torch

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loaded = loaded

        def forward(self, *values: torch.Tensor) -> Any:
            return results(self.loaded(dict(zip(names, values, strict=True))))

    return Traced()
