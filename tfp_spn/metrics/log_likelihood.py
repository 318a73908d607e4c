"""The mean log-likelihood."""

from __future__ import annotations

from typing import Any

from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.metrics._mean_over_examples import MeanOverExamples
from tfp_spn.ops.log_space import logsumexp


@register
class LogLikelihood(MeanOverExamples):
    """Mean of ``log p(x) = logsumexp_c y_pred[b, c]``, in nats; targets are ignored.

    Args:
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.LogLikelihood()
        >>> y_pred = np.log([[0.25, 0.25], [0.5, 0.5]])
        >>> round(float(metric(np.zeros([2]), y_pred)), 4)  # (log 1/2 + log 1) / 2
        -0.3466
    """

    def __init__(self, name: str = "llh", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def example_values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """``log p(x)``."""
        return logsumexp(y_pred, axis=-1)
