"""A server that speaks OpenAI's embeddings API over real HTTP, keeps its limits, and misbehaves as it is told.

Vectors follow from the model's name and the text alone. Tokens are counted by the tokenizer of the default model.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from tests.http_server import QuietHandler, http_server

from roost.tasks.models.endpoint import CANARY
from roost.tasks.models.model import carried_folder, load_tokenizer

TOKENIZER = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSION = 16
KEY = "sk-test-4711-open-sesame"


@dataclass(frozen=True)
class Asked:
    """A request that the server received, and the status that it answered."""

    time: float
    path: str
    key: str
    texts: tuple[str, ...]
    tokens: int
    status: int


@dataclass
class EmbeddingServer:
    """The server's settings, which may change while it runs, and what it was asked.

    salt: Of the vectors; another one is another model.
    dimensions: Dimension of a model whose name is in it; `DIMENSION` for others.
    rate: Tokens in a second; more are answered 429, with the whole seconds to wait. 0: no limit.
    limited: Requests that are answered 429 in any case, from now on.
    error_every: One in so many requests is answered 500.
    nan_in, other_dimension_in, refused_in: Part of a text whose vector has a NaN, or another dimension, or that is
        refused; empty for none.
    """

    uri: str = ""
    key: str = ""
    salt: str = ""
    dimensions: dict[str, int] = field(default_factory=dict)
    max_tokens: int = 300_000
    max_inputs: int = 2_048
    rate: float = 0.0
    limited: int = 0
    error_every: int = 0
    status: int = 200
    is_shuffled: bool = False
    has_lists: bool = False
    nan_in: str = ""
    other_dimension_in: str = ""
    refused_in: str = ""
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    since: float = 0.0
    granted: float = 0.0
    admitted: int = 0

    def vector(self, model: str, text: str) -> np.ndarray:
        """The vector of a text: float32, unit length."""
        return unit_vector(f"{self.salt}{model}\0{text}", self.dimensions.get(model, DIMENSION))

    def embedded(self) -> list[str]:
        """All texts that were answered with vectors, but the canary text."""
        return [text for one in self.chunk_requests() if one.status == 200 for text in one.texts]

    def chunk_requests(self) -> list[Asked]:
        """The requests for anything but the canary text."""
        return [one for one in self.asked if one.texts != (CANARY,)]

    def answer(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Answer one request: status, headers, body."""
        texts = tuple(body["input"])
        tokens = sum(map(count_tokens, texts))
        with self.lock:
            status, headers, message = self._refusal(key, texts, tokens)
            self.asked.append(Asked(time.monotonic(), path, key, texts, tokens, status))
        if status != 200:
            error = {"message": f"{message}; you sent {key}", "code": "rate" if status == 429 else None}
            return status, headers, json.dumps({"error": error}).encode()
        data = [self._item(body, index, text) for index, text in enumerate(texts)]
        if self.is_shuffled:
            np.random.default_rng(len(texts)).shuffle(data)  # type: ignore[arg-type]
        return 200, {}, json.dumps({"object": "list", "data": data, "usage": {"total_tokens": tokens}}).encode()

    def _refusal(self, key: str, texts: Sequence[str], tokens: int) -> tuple[int, dict[str, str], str]:
        if self.key and key != self.key:
            return 401, {}, "wrong key"
        if tokens > self.max_tokens or len(texts) > self.max_inputs:
            return 400, {}, "too large"
        if self.refused_in and any(self.refused_in in text for text in texts):
            return 400, {}, "too long for the model"
        if self.limited:
            self.limited -= 1
            return 429, {"Retry-After": "1"}, "slow down"
        if self.rate and (wait_s := self._wait_s(tokens)):
            return 429, {"Retry-After": str(math.ceil(wait_s))}, "slow down"
        self.admitted += 1
        if self.error_every and self.admitted % self.error_every == 0:
            return 500, {}, "broken"
        if self.rate:
            self.granted += tokens
        return self.status, {}, "as told"

    def _wait_s(self, tokens: int) -> float:
        """Seconds until the tokens may be had: a bucket that is empty at the first request for more than the canary."""
        if tokens < 100:
            return 0.0
        now = time.monotonic()
        self.since = self.since or now
        capacity = 2 * self.rate
        self.granted = max(self.granted, (now - self.since) * self.rate - capacity)
        return max(0.0, (self.granted + tokens) / self.rate - (now - self.since))

    def _item(self, body: dict[str, Any], index: int, text: str) -> dict[str, Any]:
        vector = self.vector(body["model"], text)
        if self.nan_in and self.nan_in in text:
            vector[3] = np.nan
        if self.other_dimension_in and self.other_dimension_in in text:
            vector = vector[:-1]
        return embedding_item(index, vector, body.get("encoding_format") == "base64" and not self.has_lists)


def embedding_item(index: int, vector: np.ndarray, in_base64: bool) -> dict[str, Any]:
    """One item of an answer."""
    embedding = base64.b64encode(vector.tobytes()).decode() if in_base64 else vector.tolist()
    return {"object": "embedding", "index": index, "embedding": embedding}


def unit_vector(text: str, dimension: int) -> np.ndarray:
    """Make a vector that only this text has."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    made = np.random.default_rng(seed).standard_normal(dimension)
    return (made / np.linalg.norm(made)).astype("<f4")


@lru_cache(maxsize=10_000)
def count_tokens(text: str) -> int:
    """Tokens of a text, special ones included."""
    folder = carried_folder(TOKENIZER)
    assert folder is not None
    return len(load_tokenizer(folder / "tokenizer.json").encode(text).ids)


@contextmanager
def embedding_server(**settings: Any) -> Iterator[EmbeddingServer]:
    """Serve on a free port of this host."""
    served = EmbeddingServer(**settings)

    class Handler(QuietHandler):
        def answer(self) -> None:
            key = self.headers.get("api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, headers, body = served.answer(self.path, key, json.loads(self.body()))
            self.send(status, body, {"Content-Type": "application/json", **headers})

    with http_server(Handler) as port:
        served.uri = f"http://127.0.0.1:{port}/v1"
        yield served
