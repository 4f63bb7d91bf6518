"""Answers of the embeddings API: matched by index, in both forms, and malformed ones refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from roost.tasks.models.endpoint import Endpoint, check_canary, encode_canary, is_same_model
from roost.tasks.models.endpoint_answer import MalformedAnswerError, defect, read_vectors

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def body(*items: Any) -> bytes:
    return json.dumps({"data": items}).encode()


def item(index: int, vector: Any) -> dict[str, Any]:
    return {"index": index, "embedding": vector}


def test_vectors_come_in_the_order_of_their_index_from_numbers_and_from_base64() -> None:
    coded = base64.b64encode(ROWS[0].tobytes()).decode()
    found = read_vectors(body(item(2, ROWS[2].tolist()), item(0, coded), item(1, ROWS[1].tolist())), 3)
    assert np.array_equal(found, ROWS)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>It works</html>",
        b'{"data": 3}',
        b'{"error": "no"}',
        body(item(0, [1.0])),
        body(item(0, [1.0]), item(0, [1.0])),
        body(item(1, [1.0]), item(2, [1.0])),
        body(item(0, [1.0]), item(True, [1.0])),
        body(item(0, [1.0]), {"embedding": [1.0]}),
        body(item(0, [[1.0]]), item(1, [1.0])),
        body(item(0, ["x"]), item(1, [1.0])),
        body(item(0, "?"), item(1, [1.0])),
    ],
)
def test_what_is_not_one_embedding_for_each_text_is_refused(answer: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        read_vectors(answer, 2)


def test_a_vector_that_cannot_be_stored_is_named() -> None:
    [nothing] = read_vectors(body(item(0, [1.0, None])), 1)
    assert "not finite" in defect(nothing, 2)
    assert "of 4 numbers, not 3" in defect(ROWS[0], 3)
    assert "zeros" in defect(np.zeros(3, np.float32), 3)
    assert defect(ROWS[1], 4) == ""


def test_the_canary_allows_the_noise_of_a_server_and_no_other_model() -> None:
    dice = np.random.default_rng(1)
    vector = dice.standard_normal(384)
    noisy = (vector + 0.01 * dice.standard_normal(384)).astype(np.float16)
    stored = Endpoint("http://x", canary=encode_canary(vector))
    check_canary("m", stored, encode_canary(noisy))
    check_canary("m", Endpoint("http://x"), encode_canary(noisy))  # after an import of an older export
    for other in (dice.standard_normal(384), vector[:-1]):
        assert not is_same_model(stored.canary, encode_canary(other))
        with pytest.raises(Exception, match="roost rebuild --index docs --fresh"):
            check_canary("m", stored, encode_canary(other), "docs")
