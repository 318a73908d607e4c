"""Leaf parameters from quantiles of the data, as Poon and Domingos began."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfp_spn._serialization import register
from tfp_spn._typing import Config, DTypeLike, Tensor
from tfp_spn.initializers._data import by_cell, collected, standardized, without_data


class _QuantileSplit(keras.initializers.Initializer):
    """Base: sorts each variable's values and splits them into ``K`` equal parts."""

    def __init__(
        self,
        data: object = None,
        samplewise_normalization: bool = False,
        normalization_epsilon: float = 1e-2,
    ) -> None:
        self.samplewise_normalization = bool(samplewise_normalization)
        self.normalization_epsilon = float(normalization_epsilon)
        self._data = collected(type(self).__name__, data)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns values of this shape, ``[..., num_components, dims]``."""
        if self._data is None:
            return without_data(shape, dtype)
        x = self._data
        if self.samplewise_normalization:
            x = standardized(x, self.normalization_epsilon)
        x = by_cell(type(self).__name__, x, tuple(shape))
        values = _of_parts(np.sort(x, axis=0), shape[-2], self._statistic)
        return keras.ops.convert_to_tensor(
            np.moveaxis(values, 0, -2), dtype=keras.backend.standardize_dtype(dtype)
        )

    def _statistic(self, part: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments but for the data."""
        return {
            "samplewise_normalization": self.samplewise_normalization,
            "normalization_epsilon": self.normalization_epsilon,
        }


@register
class PoonDomingosMeanOfQuantileSplit(_QuantileSplit):
    """Locations at the means of the data's quantiles, variable by variable.

    The values of a variable are sorted and split into as many parts as there are
    components, of sizes that differ by one at most; each component starts at the mean
    of a part. With fewer examples than components, neighbours share an example. (In
    LibSPN-Keras the number of parts is often not that of the components, which fails.)

    The data are not saved: a model that is loaded takes its locations from its weights,
    and a copy made from a config alone starts `Equidistant` from -1 to 1.

    Args:
        data: The training data as the leaf layer sees them (after a normalisation
            layer): an array ``[examples, variables]``, ``[examples, variables, dims]``
            or ``[examples, height, width, channels]``, or an iterable of batches, such
            as a `tf.data.Dataset`.
        samplewise_normalization: Whether to take each example's z-scores first, as
            `NormalizeStandardScore` does (LibSPN-Keras 0.5 does by default, 0.6 never).
        normalization_epsilon: Added to the standard deviation of an example.

    Raises:
        TypeError: The data are not numbers.
        ValueError: The data are empty, not finite, or do not fit the leaf layer.

    Example:
        >>> import numpy as np, tfp_spn
        >>> initializer = tfp_spn.initializers.PoonDomingosMeanOfQuantileSplit(
        ...     np.arange(6.0).reshape(6, 1))
        >>> initializer(shape=(1, 3, 1)).numpy().ravel().tolist()
        [0.5, 2.5, 4.5]

    References:
        [1]: Poon, Domingos. Sum-Product Networks: A New Deep Architecture. UAI, 2011.
    """

    def _statistic(self, part: np.ndarray) -> np.ndarray:
        return part.mean(0)


@register
class PoonDomingosStddevOfQuantileSplit(_QuantileSplit):
    """Scales at the standard deviations of the data's quantiles, variable by variable.

    Goes with `PoonDomingosMeanOfQuantileSplit`, which explains the arguments. A part
    without spread has standard deviation 0: the leaf's `min_scale` is its floor.

    Args:
        data: The training data as the leaf layer sees them.
        samplewise_normalization: Whether to take each example's z-scores first.
        normalization_epsilon: Added to the standard deviation of an example.

    Raises:
        TypeError: The data are not numbers.
        ValueError: The data are empty, not finite, or do not fit the leaf layer.

    Example:
        >>> import numpy as np, tfp_spn
        >>> initializer = tfp_spn.initializers.PoonDomingosStddevOfQuantileSplit(
        ...     np.arange(4.0).reshape(4, 1))
        >>> initializer(shape=(1, 2, 1)).numpy().ravel().tolist()
        [0.5, 0.5]
    """

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Returns values of this shape, ``[..., num_components, dims]``."""
        if self._data is None:
            dtype = keras.backend.standardize_dtype(dtype)
            return keras.ops.ones(shape, dtype=dtype)
        return super().__call__(shape, dtype)

    def _statistic(self, part: np.ndarray) -> np.ndarray:
        return part.std(0)


def _of_parts(
    ordered: np.ndarray, num_parts: int, statistic: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The statistic of each part of sorted values, ``[num_parts, ...]``."""
    count = len(ordered)
    if count >= num_parts:
        return np.stack([statistic(p) for p in np.array_split(ordered, num_parts)])
    nearest = ((np.arange(num_parts) + 0.5) * count / num_parts).astype(int)
    return np.stack([statistic(ordered[[row]]) for row in nearest])
