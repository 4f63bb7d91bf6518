"""Endpoints with OpenAI's embeddings API: what a version stores of one (`Endpoint`), and the canary text.

Two models can have one name, and an endpoint shows no checksum of its model. So the vector of one text, the canary, is
stored with each version, and compared before another run writes vectors there or embeds queries for it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from roost.tasks.errors import ModelError
from roost.tasks.settings import Embedding

#: The canary text; a change of it makes all stored vectors worthless. It is embedded without an instruction.
CANARY = "Seven grey herons stand in the shallow water below the mill, and none of them moves before noon."
#: Cosine of the stored and of the present vector of the canary text from which the model counts as the same: servers
#: compute in half precision, and not always in the same order.
MIN_COSINE = 0.999


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and what its model needs here; the API key is no part of it.

    base_url: Its URL; empty when it is not known, after an import.
    api_version: API version of an Azure endpoint; empty for others.
    tokenizer: Folder or name of the tokenizer, as in the settings.
    window: Most tokens of one text; 0 when the files beside the tokenizer state it.
    canary: Vector of the canary text as little-endian float32, in base64; empty when it was not embedded.
    """

    base_url: str
    api_version: str = ""
    tokenizer: str = ""
    window: int = 0
    canary: str = ""


def token_price(endpoint: Endpoint | None, settings: Embedding) -> float:
    """Give the price of a million tokens at an endpoint; 0 for a model in this process, or when none is set."""
    return settings.price if endpoint else 0.0


def encode_canary(vector: np.ndarray) -> str:
    """Write the vector of the canary text as `Endpoint.canary`."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def is_same_model(one: str, other: str) -> bool:
    """Whether two vectors of the canary text, as `Endpoint.canary`, are of one model; an unknown vector allows it."""
    return not (one and other) or _cosine(one, other) >= MIN_COSINE


def check_canary(model: str, stored: Endpoint, measured: str, index: str = "INDEX") -> None:
    """Refuse another model behind the name of the one that embedded a version.

    Args:
        model: Name of the model.
        stored: What the version has stored.
        measured: The vector of the canary text now, as `Endpoint.canary`.
        index: Name of the index, for the command that re-embeds it.

    Raises:
        ModelError: The vectors differ.
    """
    if not is_same_model(stored.canary, measured):
        raise ModelError(
            f"another model answers to the name {model!r} than the one that embedded the index (cosine "
            f"{_cosine(stored.canary, measured):.4f} for the same text, at least {MIN_COSINE} is needed): serve the "
            f"earlier model again, or embed all anew with roost rebuild --index {index} --fresh --max-drop 1"
        )


def _cosine(one: str, other: str) -> float:
    """Cosine of two stored vectors; 0 for vectors of different dimensions."""
    first, second = (np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64) for text in (one, other))
    if len(first) != len(second):
        return 0.0
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
