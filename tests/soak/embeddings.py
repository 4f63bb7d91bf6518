"""The model: a server with OpenAI's embeddings API whose vectors follow from the words of a text.

A model in each process would take more memory and processor time than all the rest. Texts that share a rare word, said
often, are near each other, so a search for the key of a document finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from tests.embedding_server import embedding_item, unit_vector
from tests.http_server import QuietHandler, http_server

DIMENSION = 64


@lru_cache(maxsize=10_000)
def _word_vector(word: str) -> np.ndarray:
    return unit_vector(word, DIMENSION)


def vector_of(text: str) -> np.ndarray:
    """Make (64,) float32 of unit length."""
    added = np.sum([_word_vector(word) for word in re.findall(r"\w+", text.lower()) or [""]], axis=0)
    return np.asarray(added / np.linalg.norm(added), dtype="<f4")


class _Handler(QuietHandler):
    def answer(self) -> None:
        asked = json.loads(self.body())
        in_base64 = asked.get("encoding_format") == "base64"
        data = [embedding_item(number, vector_of(text), in_base64) for number, text in enumerate(asked["input"])]
        body = {"object": "list", "data": data, "usage": {"total_tokens": sum(map(len, asked["input"])) // 4}}
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


@contextmanager
def embedding_endpoint() -> Iterator[str]:
    """Serve on a free port of this host: the URL."""
    with http_server(_Handler) as port:
        yield f"http://127.0.0.1:{port}/v1"
