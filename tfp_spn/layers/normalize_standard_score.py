"""Data brought to mean 0 and standard deviation 1."""

from __future__ import annotations

import enum
import warnings
from typing import Any, Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_flag, a_rate, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor, TensorLike
from tfp_spn.initializers.array_batches import array_batches
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.layers.known_shapes import KnownShapes
from tfp_spn.layers.running_moments import RunningMoments

Shape = tuple[int | None, ...]


class NormalizeAxes(enum.StrEnum):
    """The axes along which values share a mean and a standard deviation."""

    SAMPLE_WISE = "sample_wise"
    VARIABLE_WISE = "variable_wise"
    GLOBAL = "global"


@register
class NormalizeStandardScore(KnownShapes, FiniteVariables, keras.layers.Layer):
    """z-scores: ``z = (x - mean) / (standard deviation + normalization_epsilon)``.

    The statistics are those of each example (`NormalizeAxes.SAMPLE_WISE`), of each
    variable over the training data (`VARIABLE_WISE`), or of all variables of the
    training data together (`GLOBAL`). For the latter two call `adapt` before training;
    the statistics are then weights of the layer, saved with it.

    A density over z-scores is not one over the data: ``log p(x) = log p(z) +
    forward_log_det_jacobian(x)``. `inverse` brings completions back to the data. Sample
    by sample the map has no inverse, hence no such term: it throws an example's mean
    and deviation away. In contrast to LibSPN-Keras the statistics of an example may
    leave out what is not observed, so that nothing leaks from hidden values.

    Args:
        normalization_epsilon: Added to the standard deviation: constant data have
            z-score 0.
        axes: A `NormalizeAxes`, or its name; or `sample_wise`, which LibSPN-Keras 0.5
            has in this place.
        sample_wise: `True` is `SAMPLE_WISE`, `False` is `VARIABLE_WISE`.
        **kwargs: Passed on to `keras.layers.Layer`; `input_shape` is understood as in
            Keras 2.

    Call arguments:
        x: Data, ``[batch, ...]``.
        observed: bool, of the shape of `x` or broadcasting to it: which values count
            for an example's statistics. Default: all.

    Input shape:
        ``[batch, ...]``, at least one further axis.

    Output shape:
        The same.

    Raises:
        ValueError: An argument is out of range, or the input has unknown axes.

    Example:
        >>> import numpy as np, tfp_spn
        >>> layer = tfp_spn.layers.NormalizeStandardScore()
        >>> layer(np.array([[1.0, 3.0]], "float32")).numpy().tolist()
        [[-1.0, 1.0]]
        >>> layer = tfp_spn.layers.NormalizeStandardScore(axes="variable_wise")
        >>> layer.adapt(np.array([[1.0, 0.0], [3.0, 8.0]]))
        >>> layer(np.array([[1.0, 8.0]], "float32")).numpy().tolist()
        [[-1.0, 1.0]]
        >>> round(float(layer.forward_log_det_jacobian(np.ones([1, 2]))[0]), 4)
        -1.3863

    References:
        [1]: Poon, Domingos. Sum-Product Networks: A New Deep Architecture. UAI, 2011.
    """

    @reads(normalization_epsilon=a_rate(least=0), sample_wise=a_flag())
    def __init__(
        self,
        normalization_epsilon: float = 1e-8,
        axes: NormalizeAxes | str | bool = NormalizeAxes.SAMPLE_WISE,
        sample_wise: bool | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        fill_in_dtype(kwargs)
        with warnings.catch_warnings():  # Keras advises against `input_shape`
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
            super().__init__(**kwargs)
        self.normalization_epsilon = normalization_epsilon
        if isinstance(axes, bool):
            sample_wise = axes
            axes = NormalizeAxes.SAMPLE_WISE
        if sample_wise is not None:
            axes = "sample_wise" if sample_wise else "variable_wise"
        try:
            self.axes = NormalizeAxes(axes)
        except ValueError:
            known = ", ".join(f'"{each.value}"' for each in NormalizeAxes)
            raise ValueError(
                f"NormalizeStandardScore: received axes={axes!r}, expected one of "
                f"{known} (or a member of tfp_spn.layers.NormalizeAxes)."
            ) from None
        self.mean: Any = None
        self.stddev: Any = None

    @property
    def is_sample_wise(self) -> bool:
        """Whether each example has statistics of its own."""
        return self.axes is NormalizeAxes.SAMPLE_WISE

    def build(self, input_shape: Shape) -> None:
        """Creates the statistics: mean 0 and deviation 1 until `adapt` is called."""
        shape = tuple(input_shape)
        if len(shape) < 2 or None in shape[1:]:
            raise ValueError(
                f'NormalizeStandardScore "{self.name}": received input shape {shape}, '
                "expected [batch, ...] with at least one further axis, all known. Give "
                "keras.Input a full shape."
            )
        if not self.is_sample_wise:
            is_global = self.axes is NormalizeAxes.GLOBAL
            statistics = () if is_global else shape[1:]
            for name, start in (("mean", "zeros"), ("stddev", "ones")):
                variable = self.add_weight(
                    name=name,
                    shape=statistics,
                    initializer=start,
                    trainable=False,
                    autocast=False,
                )
                setattr(self, name, variable)
        self.built = True

    def adapt(self, data: object) -> None:
        """Sets the statistics to those of training data, in one pass.

        Args:
            data: An array ``[examples, ...]``, or an iterable of batches, such as a
                `tf.data.Dataset`; of batches that are tuples the first element counts.

        Raises:
            ValueError: The layer is sample-wise, there are no data, or they are not
                finite or have another shape than the layer's input.
        """
        if self.is_sample_wise:
            raise ValueError(
                f'NormalizeStandardScore "{self.name}": received data to adapt to, '
                "expected none: each example has statistics of its own. Use "
                'axes="variable_wise" or "global".'
            )
        moments = RunningMoments(f'NormalizeStandardScore "{self.name}"')
        for batch in array_batches(type(self).__name__, data):
            moments.add(batch)
        mean, variance = moments.result(self.axes is NormalizeAxes.GLOBAL)
        if not self.built:
            self.build((None, *moments.shape))
        elif tuple(self.mean.shape) != mean.shape:
            raise ValueError(
                f'NormalizeStandardScore "{self.name}": received data of shape '
                f"{moments.shape} without the batch, expected "
                f"{tuple(self.mean.shape)}, that of the layer's input."
            )
        stddev = np.sqrt(variance)
        largest = max(float(np.max(np.abs(mean))), float(np.max(stddev)))
        if not largest <= float(np.finfo(self.mean.dtype).max):
            raise ValueError(
                f'NormalizeStandardScore "{self.name}": received data whose mean or '
                f"deviation is {largest}, expected what {self.mean.dtype} can hold. "
                "Correct huge values, or change the unit of the data."
            )
        self.mean.assign(mean)
        self.stddev.assign(stddev)

    def call(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """z-scores."""
        x = tf.cast(x, self.compute_dtype)
        mean, scale = self._mean_and_scale(x, observed)
        return (x - mean) / scale

    def inverse(
        self, z: Tensor, x: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Data from z-scores.

        Args:
            z: z-scores.
            x: The data whose statistics the z-scores were made with; needed if the
                layer is sample-wise.
            observed: As in the call that made the z-scores.

        Returns:
            ``z * scale + mean``.

        Raises:
            ValueError: The layer is sample-wise and `x` was not given.
        """
        z = tf.cast(z, self.compute_dtype)
        if x is None and self.is_sample_wise:
            raise ValueError(
                f'NormalizeStandardScore "{self.name}": received z-scores only, '
                "expected the data too, whose mean and deviation the z-scores leave "
                "out. Pass x=..."
            )
        x = tf.cast(z if x is None else x, z.dtype)
        mean, scale = self._mean_and_scale(x, observed)
        return z * scale + mean

    def forward_log_det_jacobian(
        self, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """The change of variables: ``log p(x) = log p(z) + this``.

        Args:
            x: Data, ``[batch, ...]``.
            observed: bool, of the shape of `x` or broadcasting to it: which values the
                densities are of. Default: all.

        Returns:
            ``-sum log scale``, ``[batch]``.

        Raises:
            NotImplementedError: The layer is sample-wise.
        """
        if self.is_sample_wise:
            raise NotImplementedError(
                f'NormalizeStandardScore "{self.name}": each example is scaled by '
                "statistics of its own, which z-scores leave out; there is no density "
                'of the data. Use axes="variable_wise" or "global".'
            )
        x = tf.cast(x, self.compute_dtype)
        if not self.built:
            self.build(x.shape)
        _, scale = self._mean_and_scale(x, None)
        log_scale = tf.broadcast_to(tf.math.log(scale), tf.shape(x))
        if observed is not None:
            observed = tf.broadcast_to(tf.cast(observed, tf.bool), tf.shape(x))
            log_scale = tf.where(observed, log_scale, tf.zeros_like(log_scale))
        return -tf.reduce_sum(log_scale, axis=list(range(1, x.shape.rank)))

    def _mean_and_scale(
        self, x: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if not self.is_sample_wise:
            return self.mean.value, self.stddev.value + self._epsilon()
        axes = list(range(1, x.shape.rank))
        if observed is None:
            mean = tf.reduce_mean(x, axes, keepdims=True)
            rounding = tf.reduce_mean(x - mean, axes, keepdims=True)
            mean += tf.stop_gradient(rounding)  # exact of constants
            variance = tf.reduce_mean(tf.square(x - mean), axes, keepdims=True)
        else:
            observed = tf.broadcast_to(tf.cast(observed, tf.bool), tf.shape(x))
            x = tf.where(observed, x, tf.zeros_like(x))
            count = tf.reduce_sum(tf.cast(observed, x.dtype), axes, keepdims=True)

            def average(values: Tensor) -> Tensor:
                values = tf.where(observed, values, tf.zeros_like(values))
                total = tf.reduce_sum(values, axes, keepdims=True)
                return tf.math.divide_no_nan(total, count)

            mean = average(x)
            mean += tf.stop_gradient(average(x - mean))  # exact of constants
            variance = average(tf.square(x - mean))
            # Nothing observed: a scale of 1 makes z-scores of its completion.
            variance = tf.where(count > 0, variance, tf.ones_like(variance))
        # The root of zero has no gradient.
        positive = variance > 0
        root = tf.sqrt(tf.where(positive, variance, tf.ones_like(variance)))
        scale = tf.where(positive, root, tf.zeros_like(root)) + self._epsilon()
        return mean, scale

    def _epsilon(self) -> float:
        """At least so much that nothing is divided by zero."""
        tiny = float(np.finfo(self.compute_dtype).tiny)
        return max(self.normalization_epsilon, tiny)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the input."""
        return tuple(input_shape)

    def compute_output_spec(
        self, x: TensorLike, observed: TensorLike = None
    ) -> keras.KerasTensor:
        """Symbolic output: float, also for integer input."""
        return keras.KerasTensor(tuple(x.shape), dtype=self.compute_dtype)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "normalization_epsilon": self.normalization_epsilon,
            "axes": self.axes.value,
        }
