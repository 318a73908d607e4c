"""Weights drawn from a Dirichlet distribution."""

from __future__ import annotations

import random
from collections.abc import Sequence

import keras

from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, DTypeLike, Tensor


@register
class Dirichlet(keras.initializers.Initializer):
    """Positive weights that sum to one along an axis, ``w ~ Dirichlet(alpha)``.

    Args:
        axis: The axis along which weights sum to one.
        alpha: Concentration. 1 draws uniformly from the simplex; smaller values give
            sparser, larger values more even weights.
        seed: Int or `keras.random.SeedGenerator`; `None` draws one from Keras' global
            generator (`keras.utils.set_random_seed`).

    Example:
        >>> import tfp_spn
        >>> weights = tfp_spn.initializers.Dirichlet(axis=0, seed=1)(shape=(4, 2))
        >>> float(weights[:, 0].numpy().sum().round(5))
        1.0
    """

    def __init__(self, axis: int = -2, alpha: float = 0.1, seed: object = None) -> None:
        if alpha <= 0:
            raise ValueError(f"Dirichlet: alpha must be positive, received {alpha}.")
        self.axis = int(axis)
        self.alpha = float(alpha)
        seed = deserialize(self, "seed", seed, keras.random.SeedGenerator)
        self._given_seed = seed
        # As Keras' own initializers do: Python's generator, which
        # keras.utils.set_random_seed governs.
        self._seed = random.randint(1, 10**9) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
        """Draws weights of this shape."""
        dtype = keras.backend.standardize_dtype(dtype)
        draws = keras.random.gamma(shape, self.alpha, dtype=dtype, seed=self._seed)
        draws = keras.ops.maximum(draws, 1e-20)
        return draws / keras.ops.sum(draws, axis=self.axis, keepdims=True)

    def for_layer(self, number: int) -> Dirichlet:
        """This distribution with draws of its own, as reproducible as these are.

        One instance draws the same numbers again and again; a model with many layers
        gives each layer its own. Layer 0 has the draws of a given int; a generator
        moves on by itself and is shared.
        """
        seed = self._given_seed
        if isinstance(seed, int):
            seed = seed + number
        return Dirichlet(self.axis, self.alpha, seed)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        seed = self._given_seed
        if seed is not None and not isinstance(seed, int):
            seed = serialize(seed)
        return {"axis": self.axis, "alpha": self.alpha, "seed": seed}
