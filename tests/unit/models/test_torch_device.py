"""How PyTorch uses a GPU: tested on the CPU, by numbers."""

from __future__ import annotations

import numpy as np
import pytest

from roost.tasks.models.agreement import determination, least_cosine
from roost.tasks.models.torch_device import (
    CPU_LIMITS,
    MAX_LIMITS,
    CallLimits,
    bytes_per_token,
    choose_limits,
    in_half_precision,
    is_cuda,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("tokens_per_call", "free_bytes", "limits"),
    [
        (0, 0, CPU_LIMITS),
        (512, 0, CallLimits(512, CPU_LIMITS.texts)),
        (0, 2 * GIB, CallLimits(GIB // 46_080, MAX_LIMITS.texts)),
        (0, 100 * GIB, MAX_LIMITS),
        (0, 1, CallLimits(CPU_LIMITS.tokens, MAX_LIMITS.texts)),
        (512, 100 * GIB, CallLimits(512, MAX_LIMITS.texts)),
    ],
)
def test_calls_are_sized_to_the_free_memory_of_a_gpu(tokens_per_call: int, free_bytes: int, limits: CallLimits) -> None:
    size = bytes_per_token(768, 512)
    assert size == 46_080
    assert choose_limits(tokens_per_call, free_bytes=free_bytes, bytes_per_token=size) == limits


def test_the_device_that_is_set_decides() -> None:
    assert is_cuda("cuda:1")
    assert not is_cuda("cpu")


@pytest.mark.parametrize(
    ("half", "chosen"), [([0.8, 0.6], "float16"), ([0.7, 0.71], "float32"), ([np.nan, 0.6], "float32")]
)
def test_half_precision_is_kept_only_if_its_results_agree(half: list[float], chosen: str) -> None:
    results = {"float16": np.array([half]), "float32": np.array([[0.8, 0.6]])}
    assert in_half_precision(str, results.__getitem__, least_cosine) == chosen


def test_an_error_of_a_hundredth_of_the_standard_deviation_is_the_most_that_scores_may_have() -> None:
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    assert determination(scores, scores) == 1.0
    assert determination(scores + 0.01 * scores.std(), scores) == pytest.approx(0.9999)
    assert determination(scores[::-1], scores) < 0
