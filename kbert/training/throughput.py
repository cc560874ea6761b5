"""How fast a training runs, and how fast the machine could."""

from __future__ import annotations

import functools
import time

import numpy as np
from keras import ops

# A measurement shorter than this, in seconds, is mostly overhead.
LONG_ENOUGH = 0.05


@functools.cache
def matmul_ceiling(dtype: str) -> float:
    """The machine's FLOP/s in multiplying large square matrices, measured.

    It takes about a second, once a process.

    Args:
        dtype: of the matrices, such as `"float32"` or `"bfloat16"`.
    """
    size = 1024
    while True:
        x = ops.cast(ops.ones((size, size)), dtype)
        _multiply(x)  # The first one may compile.
        seconds = min(_multiply(x) for _ in range(3))
        if seconds >= LONG_ENOUGH or size >= 16384:
            return 2 * size**3 / seconds
        size *= 2


def _multiply(x) -> float:
    started = time.perf_counter()
    # One number is fetched, or an accelerator would still be computing.
    np.asarray(ops.cast(ops.matmul(x, x)[0, 0], "float32"))
    return time.perf_counter() - started


def training_flops(config: dict, length: float, mask_rate: float) -> float:
    """FLOPs that training spends on one token of a row of `length` tokens.

    Multiply-adds of the matrices count as two, the backward pass as twice
    the forward one; embeddings, norms and the optimizer are left out.

    Reference: Chowdhery et al. 2022, PaLM, appendix B (model FLOPs
    utilization).

    Args:
        config: arguments of `kbert.Backbone`.
        length: mean number of tokens in a row.
        mask_rate: part of the tokens that meet the vocabulary; 0 without it.
    """
    hidden = config["hidden_dim"]
    layer = (
        4 * hidden**2  # query, key, value, output
        + 2 * hidden * config["intermediate_dim"]
        + 2 * length * hidden  # scores, and the mix of values
    )
    vocabulary = hidden**2 + hidden * config["vocabulary_size"]
    forward = 2 * (config["num_layers"] * layer + mask_rate * vocabulary)
    return 3 * forward
