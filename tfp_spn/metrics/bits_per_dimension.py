"""The mean code length per dimension."""

from __future__ import annotations

import math
from typing import Any

from tfp_spn._arguments import LARGEST_INTEGER, a_count, a_rate, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Tensor
from tfp_spn.metrics._mean_over_examples import MeanOverExamples
from tfp_spn.ops.log_space import logsumexp


@register
class BitsPerDimension(MeanOverExamples):
    """Mean of ``-log2 p(x) / num_dimensions``, comparable between data sets and models.

        bits = -logsumexp_c y_pred[b, c] / (num_dimensions log 2) + log2(scale)

    Args:
        num_dimensions: Dimensions of an example: variables (times their dimensions).
        scale: What the data were divided by before the model saw them, such as 256 for
            grey values brought to [0, 1]: the density is then that of the grey values,
            whose bins have width 1. (A constant shift makes no difference.)
        name: Name of the metric.
        dtype: See `keras.metrics.Metric`.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> import numpy as np, tfp_spn
        >>> metric = tfp_spn.metrics.BitsPerDimension(num_dimensions=2)
        >>> float(metric(np.zeros([1]), np.log([[1 / 64]])))  # 6 bits, 2 dimensions
        3.0
    """

    @reads(num_dimensions=a_count(most=LARGEST_INTEGER), scale=a_rate(above=0))
    def __init__(
        self,
        num_dimensions: int,
        scale: float = 1.0,
        name: str = "bits_per_dimension",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_dimensions = num_dimensions
        self.scale = scale

    def example_values(self, y_true: Any, y_pred: Tensor) -> Tensor:
        """Bits per dimension."""
        nats = -logsumexp(y_pred, axis=-1) / self.num_dimensions
        return (nats + math.log(self.scale)) / math.log(2.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_dimensions": self.num_dimensions,
            "scale": self.scale,
        }
