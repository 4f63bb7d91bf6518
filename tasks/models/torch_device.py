"""How PyTorch uses a device: the size of its calls and the precision of its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from roost.tasks.models.agreement import MIN_AGREEMENT

T = TypeVar("T")

#: Share of the free memory of a GPU that one call may fill.
MEMORY_SHARE = 0.5


class CallLimits(NamedTuple):
    """Most padded tokens, and most texts, in one call."""

    tokens: int
    texts: int


#: A CPU gains nothing from larger calls.
CPU_LIMITS = CallLimits(4096, 64)
#: More than this keeps no GPU busier.
MAX_LIMITS = CallLimits(65_536, 1024)


def is_cuda(device: str) -> bool:
    """Whether PyTorch will run on CUDA: the device that the settings name, or the best one here if they name none."""
    import torch

    return device.startswith("cuda") if device else torch.cuda.is_available()


def free_memory() -> int:
    """Give the free memory of the current CUDA device, in bytes."""
    import torch

    return torch.cuda.mem_get_info()[0]


def choose_limits(tokens_per_call: int, *, free_bytes: int = 0, bytes_per_token: int = 1) -> CallLimits:
    """Choose the size of calls.

    Args:
        tokens_per_call: Most padded tokens as set; 0 chooses them here.
        free_bytes: Free memory of the GPU; 0: a CPU.
        bytes_per_token: Memory that a call needs for one padded token.
    """
    most_texts = MAX_LIMITS.texts if free_bytes else CPU_LIMITS.texts
    fitting = int(MEMORY_SHARE * free_bytes) // bytes_per_token
    tokens = min(max(fitting, CPU_LIMITS.tokens), MAX_LIMITS.tokens)
    return CallLimits(tokens_per_call or tokens, most_texts)


def bytes_per_token(dimension: int, window: int) -> int:
    """Estimate the memory that one layer of an encoder needs for one padded token, in half precision.

    Fourteen numbers for each one of the vector (queries, keys, values, both sides of the feed-forward layer, which is
    four times as wide, and what is added to them), and two rows of attention weights for each head of 64 numbers.
    """
    heads = max(1, dimension // 64)
    return 2 * (14 * dimension + 2 * heads * window)


def in_half_precision(
    load: Callable[[str], T], results: Callable[[T], np.ndarray], agreement: Callable[[np.ndarray, np.ndarray], float]
) -> T:
    """Load a model in half precision, or in full precision if the results differ.

    Args:
        load: Loads the model with numbers of a type: `float16` or `float32`.
        results: Runs it on the probes.
        agreement: Says how well results agree with those of full precision: 1.0 if they are equal, else less.
    """
    half, full = load("float16"), load("float32")
    agrees = agreement(results(half), results(full)) >= MIN_AGREEMENT  # not so if a number overflowed and is NaN
    return half if agrees else full
