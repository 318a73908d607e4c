"""Means and variances of families of TFP."""

from __future__ import annotations

import math

import tensorflow as tf

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Tensor
from tfp_spn.layers.leaves.support import SUPPORT_OF_FAMILY

_BOUNDED_BELOW = {"GeneralizedPareto", "HalfCauchy", "HalfStudentT", "Pareto"}
"""Besides those whose support does not depend on parameters."""


def moment(components: Distribution, query: str) -> Tensor:
    """A statistic; infinite moments are, where TFP says that they are undefined.

    Values that are bounded below have a mean, be it infinite, and a variance then.

    Args:
        components: The distributions.
        query: ``"mean"``, ``"variance"``, or another method, whose answer stays.
    """
    value = getattr(components, query)()
    name = type(components).__name__
    support = SUPPORT_OF_FAMILY.get(name)
    is_bounded = name in _BOUNDED_BELOW or (
        support is not None and math.isfinite(support.low) and support.name != "circle"
    )
    if query not in ("mean", "variance") or not is_bounded:
        return value
    return tf.where(tf.math.is_nan(value), tf.constant(math.inf, value.dtype), value)
