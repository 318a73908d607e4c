"""Dropout of whole variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import keras
import tensorflow as tf

from tfp_spn._arguments import LARGEST_SEED, a_rate, a_seed, an_axis, reads, sequence_of
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Tensor, TensorLike
from tfp_spn.layers.regions.region_layer import RegionLayer, Shape


@register
class InputDropout(RegionLayer):
    """Integrates random variables out during training.

        y[b, v, :, :] = x[b, v, :, :] with probability 1 - rate, else 0

    Follows the leaf layer. A dropped variable has log-value 0 in all its components and
    all its decompositions, as if it were missing, so that the root's value is the
    log-probability of the variables that are left. Nothing is rescaled. Outside of
    training it does nothing.

    (LibSPN-Keras' examples use `keras.layers.Dropout` here, which drops components one
    by one and multiplies the log-probabilities of the others by ``1 / (1 - rate)``: no
    probability of anything.)

    Args:
        rate: Probability that a variable is dropped, at least 0 and less than 1.
        seed: Seed of the draws.
        variable_axes: The axes that tell variables apart: ``[1]``, the scopes, in a
            stack that begins with `FlatToRegions`; ``[1, 2]``, height and width, for
            images.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]`` or ``[batch, height, width, channels]``.

    Output shape:
        The same.

    Raises:
        ValueError: `rate` is not in [0, 1), or `variable_axes` are not among 1 and 2.

    Example:
        >>> import numpy as np, tfp_spn
        >>> layer = tfp_spn.layers.InputDropout(0.5, seed=1)
        >>> y = layer(np.full([1, 8, 2, 3], -2.0, "float32"), training=True)
        >>> sorted(set(y[0, :, 0, 0].numpy().tolist()))
        [-2.0, 0.0]
        >>> bool((np.ptp(y, axis=(2, 3)) == 0).all())
        True
    """

    keeps_scopes = True

    @reads(
        rate=a_rate(least=0, below=1),
        seed=a_seed(most=LARGEST_SEED),
        variable_axes=sequence_of(an_axis()),
    )
    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        variable_axes: Sequence[int] = (1,),
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.variable_axes = tuple(sorted(variable_axes))
        if self.variable_axes not in ((1,), (1, 2)):
            raise ValueError(
                f"{self.label}: received variable_axes={list(variable_axes)}, "
                "expected [1] for flat data or [1, 2] for images."
            )
        if self.rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """Drops variables, during training."""
        if not training or self.rate == 0:
            return x
        shape = tf.shape(x)
        lengths = [shape[a] if a in self.variable_axes else 1 for a in (1, 2, 3)]
        noise = keras.random.uniform(
            [shape[0], *lengths], dtype=x.dtype, seed=self.seed_generator
        )
        return tf.where(noise < self.rate, tf.zeros_like(x), x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the input."""
        self.check_input_shape(tuple(input_shape))
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
            "seed": self.seed,
            "variable_axes": list(self.variable_axes),
        }
