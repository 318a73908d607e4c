"""Random permutations of scopes: the structure of random tensorized networks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Unpack

import numpy as np

from tfp_spn._arguments import a_count, a_seed, reads, sequence_of
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register
from tfp_spn._typing import Config
from tfp_spn.layers.regions.base_permutation import BasePermutation


@register
class PermuteAndPadScopesRandom(BasePermutation):
    """Shuffles scopes, in each decomposition differently, and pads them evenly.

    The scopes are padded to the product ``P`` of `factors`, so that every product above
    finds full groups. Padding ``i`` of ``m`` is inserted at position
    ``i * floor(P / m)``; it has log-value 0 in all nodes, as a variable integrated out.
    In contrast to LibSPN-Keras there is a seed, and `factors` are always given.

    Args:
        factors: `num_factors` of every product layer above, bottom to top. `None`: set
            the attribute `factors` before the layer is built.
        seed: Seed of the permutations. `None` draws one from Python's generator
            (`keras.utils.set_random_seed`). The permutations are saved with the
            weights either way.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        ``[batch, scopes, decomps, nodes]``.

    Output shape:
        ``[batch, P, decomps, nodes]``.

    Example:
        >>> import tfp_spn
        >>> layer = tfp_spn.layers.PermuteAndPadScopesRandom(factors=[2, 4], seed=0)
        >>> layer.compute_output_shape((None, 6, 3, 4))
        (None, 8, 3, 4)

    References:
        [1]: Peharz et al. Random Sum-Product Networks: A Simple and Effective Approach
            to Probabilistic Deep Learning. UAI, 2019.
    """

    @reads(seed=a_seed())
    def __init__(
        self,
        factors: Sequence[int] | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.factors = factors
        self.seed = seed
        # As Keras' own initializers do, see tfp_spn.initializers.Dirichlet.
        self._seed = random.randint(1, 10**9) if seed is None else seed

    @property
    def factors(self) -> list[int] | None:
        """Factors of the product layers above, bottom to top."""
        return None if self._factors is None else list(self._factors)

    @factors.setter
    def factors(self, factors: Sequence[int] | None) -> None:
        if self.built:
            raise ValueError(
                f"{self.label}: received factors after the layer was built; expected "
                "them before. Make a new layer."
            )
        if factors is None:
            self._factors = None
            return
        # A tuple: Keras would wrap a list to track it.
        self._factors = sequence_of(a_count())(factors, f"{self.label}: `factors`")

    def generate_factors(self, factors: Sequence[int]) -> None:
        """Sets `factors`, before the layer is built; the name of LibSPN-Keras."""
        self.factors = list(factors)

    set_factors = generate_factors  # its name in other versions of LibSPN-Keras

    def make_table(self, num_scopes: int, num_decomps: int) -> np.ndarray:
        """Draws the permutations."""
        self.num_scopes_out(num_scopes)
        rng = np.random.default_rng(self._seed)
        return random_permutations(num_scopes, num_decomps, self.factors or [], rng)

    def num_scopes_out(self, num_scopes: int) -> int:
        """The product of the factors, if it suits the number of scopes."""
        if self.factors is None:
            raise ValueError(
                f"{self.label}: received no factors, expected num_factors of every "
                "product layer above, bottom to top, before the layer is built. Pass "
                "factors=[2, 2, ...] or set layer.factors."
            )
        total = int(np.prod(self.factors, dtype=np.int64))
        if total < num_scopes:
            raise ValueError(
                f"{self.label}: not enough factors. Received factors={self.factors}, "
                f"whose product is {total}, for {num_scopes} scopes; expected a "
                f"product of at least {num_scopes}. Add product layers or enlarge "
                "num_factors."
            )
        below_last = int(np.prod(self.factors[:-1], dtype=np.int64))
        if len(self.factors) > 1 and below_last >= num_scopes:
            raise ValueError(
                f"{self.label}: too many factors. Received factors={self.factors}, of "
                f"which {self.factors[:-1]} already multiply to {below_last}, for "
                f"{num_scopes} scopes; expected the last factor to be needed. Remove "
                "product layers or reduce num_factors."
            )
        return total

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "factors": self.factors, "seed": self.seed}


def random_permutations(
    num_scopes: int, num_decomps: int, factors: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """One random permutation per decomposition, padded evenly by -1.

    Args:
        num_scopes: Number of scopes.
        num_decomps: Number of decompositions.
        factors: Their product, at least `num_scopes`, is the length of the rows.
        rng: Generator of the permutations.

    Returns:
        int32 ``[num_decomps, prod(factors)]``.
    """
    total = int(np.prod(factors, dtype=np.int64))
    num_padding = total - num_scopes
    rows = []
    for _ in range(num_decomps):
        row = rng.permutation(num_scopes).tolist()
        for i in range(num_padding):
            row.insert(i * (total // num_padding), -1)
        rows.append(row)
    return np.array(rows, np.int32)
