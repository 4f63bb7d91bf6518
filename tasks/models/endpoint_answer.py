"""Answers of OpenAI's embeddings API, read from their bytes."""

from __future__ import annotations

import base64
import json

import numpy as np


class MalformedAnswerError(Exception):
    """The answer is no list of embeddings, one for each text."""


def read_vectors(body: bytes, count: int) -> list[np.ndarray]:
    """Read the vectors of an answer, in the order of the texts: each is put where its `index` says.

    The client's own reading makes a Python number of each element; this makes arrays.

    Args:
        body: JSON; each embedding is a list of numbers, or base64 of little-endian float32.
        count: Number of texts.

    Returns:
        `count` arrays, (d,) float32; their lengths and values are not checked.

    Raises:
        MalformedAnswerError: It is not such JSON, or has not exactly one embedding for each text.
    """
    try:
        data = json.loads(body)["data"]
        indices = [item["index"] for item in data]
        vectors = [_array(item["embedding"]) for item in data]
    except (ValueError, TypeError, KeyError) as error:
        raise MalformedAnswerError(f"no list of embeddings ({type(error).__name__})") from None
    if sorted(map(repr, indices)) != sorted(map(repr, range(count))):
        raise MalformedAnswerError(f"{len(indices)} embeddings for {count} texts, or not one for each index")
    in_order = dict(zip(indices, vectors, strict=True))
    return [in_order[index] for index in range(count)]


def defect(vector: np.ndarray, dimension: int) -> str:
    """Say why a vector cannot be stored; empty when it can."""
    if vector.shape != (dimension,):
        return f"the endpoint gave a vector of {len(vector)} numbers, not {dimension}"
    if not np.isfinite(vector).all():
        return "the endpoint gave a vector with numbers that are not finite"
    if not vector.any():
        return "the endpoint gave a vector of zeros"
    return ""


def _array(embedding: object) -> np.ndarray:
    """Read one embedding; None in a list becomes NaN."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    vector = np.array(embedding, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError("an embedding is a list of numbers")
    return vector
