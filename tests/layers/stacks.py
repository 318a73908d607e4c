"""Stacks of region layers that the tests of layers and circuits share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfp_spn import layers, sum_ops

RULES = {
    "grad": sum_ops.SumOpGradBackprop(),
    "grad_linear": sum_ops.SumOpGradBackprop(logspace_accumulators=False),
    "em": sum_ops.SumOpEMBackprop(),
    "hard_em": sum_ops.SumOpHardEMBackprop(),
    "unweighted_hard_em": sum_ops.SumOpUnweightedHardEMBackprop(),
    "sample": sum_ops.SumOpSampleBackprop(),
}
PLAIN_RULES = [rule for rule in RULES if rule != "sample"]  # no draws but for ties


def make_stack(
    leaf: Callable[..., keras.layers.Layer],
    *,
    num_variables: int = 4,
    factors: tuple[int, ...] = (2, 2),
    num_decomps: int = 1,
    num_dims: int = 1,
    num_root_children: int = 2,
    logits: bool = False,
    permute: bool = True,
    dtype: str = "float32",
    sum_op: Any = None,
) -> keras.Sequential:
    """Products alternate between dense and reduced; a sum follows each of them."""
    shape = (num_variables,) if num_dims == 1 else (num_variables, num_dims)
    stack = [keras.Input(shape, dtype=dtype)]
    stack += [layers.FlatToRegions(num_decomps), leaf(num_components=2, dtype=dtype)]
    if permute:
        stack.append(layers.PermuteAndPadScopesRandom(factors, seed=3))
    for level, num_factors in enumerate(factors):
        kind = layers.ReduceProduct if level % 2 else layers.DenseProduct
        last = level == len(factors) - 1
        num_sums = num_root_children if last else 3
        stack.append(kind(num_factors))
        stack.append(layers.DenseSum(num_sums, sum_op=sum_op, dtype=dtype))
    stack.append(layers.RootSum(logits, sum_op=sum_op, dtype=dtype))
    return keras.Sequential(stack)


def binary_states(num_variables: int, num_dims: int = 1) -> np.ndarray:
    """All states, ``[2 ** (V * D), V]`` or ``[..., V, D]``."""
    count = num_variables * num_dims
    states = np.array(list(itertools.product([0.0, 1.0], repeat=count)), "float32")
    return states if num_dims == 1 else states.reshape(-1, num_variables, num_dims)


def set_accumulators(layer: Any, weights: np.ndarray) -> None:
    """Stores positive weights, or their logarithms."""
    stored = np.log(weights) if layer.logspace_accumulators else weights
    layer.accumulators.assign(stored)
