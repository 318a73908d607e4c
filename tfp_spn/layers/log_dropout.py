"""Dropout of the children of sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import keras
import tensorflow as tf

from tfp_spn._arguments import LARGEST_SEED, a_rate, a_seed, an_axis, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor, TensorLike
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape
from tfp_spn.ops.log_space import minus_infinity


@register
class LogDropout(RegionLayer):
    """Drops children of sums during training: their log-values become ``-inf``.

        y = x with probability 1 - rate, else -inf

    Nothing is rescaled: the sum above is over the children that are left. Put it before
    sums, not before products, which an impossible factor makes impossible. Outside of
    training it does nothing.

    Along `axis_at_least_one` one child always stays: of those that are possible
    (greater than ``-inf``) the one with the largest draw. In contrast to LibSPN-Keras
    that is so by default (for the last axis, the children), and the axis is in the
    config.

    Args:
        rate: Probability that a child is dropped, from 0 to 1.
        noise_shape: Shape of the draws without the batch, such as ``[1, 1, 16]`` or
            ``[None, None, 1]``: an axis of length 1 shares its draws, `None` stands for
            the input's length. Default: each child by itself.
        seed: Seed of the draws.
        axis_at_least_one: The axis along which one child is always kept; the batch has
            axis 0. Default: the last axis that does not share its draws.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]`` or ``[batch, height, width, channels]``.

    Output shape:
        The same.

    Raises:
        ValueError: `rate` is not in [0, 1), or another argument does not fit the input.

    Example:
        >>> import numpy as np, tfp_spn
        >>> layer = tfp_spn.layers.LogDropout(0.5, seed=1)
        >>> y = layer(np.zeros([2, 1, 1, 8], "float32"), training=True)
        >>> bool(np.isneginf(y).any()), bool((np.max(y, -1) == 0).all())
        (True, True)
    """

    keeps_scopes = True

    @reads(
        rate=a_rate(least=0, below=1),
        seed=a_seed(most=LARGEST_SEED),
        axis_at_least_one=an_axis(),
    )
    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        axis_at_least_one: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self._noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self.axis_at_least_one = axis_at_least_one
        if self.rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def noise_shape(self) -> list[int | None] | None:
        """Shape of the draws without the batch."""
        return None if self._noise_shape is None else list(self._noise_shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Drops children, during training."""
        if not training or self.rate == 0:
            return x
        shape = tf.shape(x)
        noise_shape = [shape[0], *self._lengths(x.shape)]
        noise = keras.random.uniform(
            noise_shape, dtype=x.dtype, seed=self.seed_generator
        )
        possible = x > minus_infinity(x)
        score = tf.where(possible, noise, tf.constant(-1, x.dtype))
        best = tf.reduce_max(score, axis=self._kept_axis(x.shape), keepdims=True)
        kept = (noise > self.rate) | (score == best)
        return tf.where(kept, x, minus_infinity(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the input, and checks that the arguments fit it."""
        self._lengths(input_shape)
        self._kept_axis(input_shape)
        return tuple(input_shape)

    def compute_output_spec(
        self, x: TensorLike, training: bool = False
    ) -> keras.KerasTensor:
        """Symbolic output."""
        return keras.KerasTensor(self.compute_output_shape(x.shape), dtype=x.dtype)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "noise_shape": self.noise_shape,
            "seed": self.seed,
            "axis_at_least_one": self.axis_at_least_one,
        }

    def _lengths(self, input_shape: Shape) -> list[int]:
        lengths = list(self.check_input_shape(tuple(input_shape)))
        if self._noise_shape is None:
            return lengths
        if len(self._noise_shape) != len(lengths) or any(
            have not in (None, 1, want)
            for have, want in zip(self._noise_shape, lengths, strict=True)
        ):
            raise ValueError(
                f"{self.label}: received noise_shape={self.noise_shape} for an input "
                f"of shape {tuple(input_shape)}, expected {lengths} without the batch, "
                "with 1 for axes that share their draws. Leave noise_shape out to draw "
                "for each child."
            )
        return [
            want if have is None else have
            for have, want in zip(self._noise_shape, lengths, strict=True)
        ]

    def _kept_axis(self, input_shape: Shape) -> int:
        axis = self.axis_at_least_one
        lengths = self._lengths(input_shape)
        shared = [
            drawn == 1 and have != 1
            for drawn, have in zip(lengths, input_shape[1:], strict=True)
        ]
        if axis is None:  # the last one along which not all share a draw
            free = [n for n, is_shared in enumerate(shared, 1) if not is_shared]
            axis = free[-1] if free else -1
        if not -3 <= axis <= 3 or axis == 0:
            raise ValueError(
                f"{self.label}: received axis_at_least_one={axis} for an input of "
                f"shape {tuple(input_shape)}, expected an axis other than the batch. "
                "Use -1, the children of sums."
            )
        if shared[axis - 1 if axis > 0 else axis]:
            raise ValueError(
                f"{self.label}: received noise_shape={self.noise_shape} and "
                f"axis_at_least_one={self.axis_at_least_one} for an input of shape "
                f"{tuple(input_shape)}, expected draws of its own along that axis: "
                "shared ones keep all or nothing. Choose another axis, or None in the "
                "noise shape."
            )
        return axis
