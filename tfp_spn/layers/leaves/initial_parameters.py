"""How the parameters of leaf layers begin: as variables, and from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.layers.leaves.layout import LeafLayout

if TYPE_CHECKING:
    from tfp_spn.layers.leaves.base_leaf import BaseLeaf

_MAX_EXAMPLES = 1000
_CONCENTRATION = 4.0
_PSEUDOCOUNTS = (0.0, 0.0, 0.0, 0.0, 0.01)
"""Of the M-steps: from afar the first ones find the place, and only then the spread;
pseudocounts are examples of where the component was, so there are none before that."""


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter: its shape behind the leading slot axes, and how it begins.

    Attributes:
        shape: Of one slot.
        initializer: Initializer of the variable.
        trainable: Whether it is learned.
        is_log_weight: Whether it is a logarithm of weights, which may be -inf.
    """

    shape: tuple[int, ...]
    initializer: Any
    trainable: bool = True
    is_log_weight: bool = False


@dataclass(frozen=True, eq=False)
class LeafData:
    """The data of a leaf layer, and an example of its own for each component.

    Attributes:
        layout: The leaf regions ``R``, their slots ``L`` and variables ``V``.
        x: float64 ``[N, V, D]``; observed values stand where none were.
        observed: bool ``[N, V, 1]``: which values count.
        rows: int ``[R, K]``: the examples that the components of a region start from.
        deviation: ``[R, V, D]``: standard deviations within their clusters.
        rng: The source of all randomness.
    """

    layout: LeafLayout
    x: np.ndarray
    observed: np.ndarray
    rows: np.ndarray
    deviation: np.ndarray
    rng: np.random.Generator

    @property
    def location(self) -> np.ndarray:
        """``[L, K, D]``: where the components of each slot start."""
        layout = self.layout
        rows = self.rows[layout.slot_region]
        return self.x[rows, layout.slot_variable[:, np.newaxis]]

    @property
    def scale(self) -> np.ndarray:
        """``[L, K, D]``: how far the components of each slot reach."""
        layout = self.layout
        scale = self.deviation[layout.slot_region, layout.slot_variable]
        return np.broadcast_to(scale[:, np.newaxis], self.location.shape)

    def around(self, probs: np.ndarray) -> np.ndarray:
        """``[L, ...]``: Dirichlet shapes around the probabilities of variables."""
        return _CONCENTRATION * probs[self.layout.slot_variable]

    def log_gamma_draws(self, shape: np.ndarray) -> np.ndarray:
        """Logarithms of gamma draws, of small shapes too: logits of Dirichlet draws."""
        # If G ~ Gamma(a + 1) and U is uniform then G U^(1 / a) ~ Gamma(a).
        log_draws = np.log(self.rng.gamma(shape + 1.0))
        log_draws += np.log(self.rng.random(shape.shape)) / shape
        return np.maximum(log_draws, -12.0)


def by_m_steps(leaf: BaseLeaf, data: LeafData, start: Params | None = None) -> Params:
    """M-steps in which one example weighs as much as all others together.

    Args:
        leaf: The leaf layer.
        data: The data.
        start: Parameters before the first step, in place of the layer's own.

    Returns:
        Parameters; of a leaf without parameters or without an M-step, `start` alone.
    """
    start = start or {}
    if not leaf.parameters:
        return {}
    x, observed = data.x[:_MAX_EXAMPLES], data.observed[:_MAX_EXAMPLES]
    dtype, layout = leaf.compute_dtype, data.layout
    flow = np.full((*data.rows.shape, len(x)), 1 / len(x))
    np.put_along_axis(flow, data.rows[..., np.newaxis], 1.0, axis=-1)
    params = {**leaf.canonical(leaf.live_params()), **start}
    value, mask = tf.constant(x.transpose(1, 2, 0), dtype), observed[..., 0].T
    for pseudocount in _PSEUDOCOUNTS:
        try:
            statistics = leaf.expected_statistics(
                params, value, tf.constant(mask), tf.constant(flow, dtype), layout
            )
        except NotImplementedError:
            return start
        whole = tf.constant(1.0, dtype)
        params = leaf.maximize(params, statistics, whole, pseudocount)
    return params
