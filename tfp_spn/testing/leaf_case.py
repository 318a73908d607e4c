"""A leaf layer over two variables, as checks ask it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.region_graphs import fully_factorized

NUM_DRAWS = 4000


class LeafCase:
    """One leaf layer over two variables, in both precisions."""

    def __init__(
        self, leaf: BaseLeaf, num_dims: int, tolerance: float, seed: int
    ) -> None:
        self.original, self.tolerance = leaf, tolerance
        self.rng = np.random.default_rng(seed)
        self.layout = LeafLayout(((0,), (1,)), 2, num_dims)
        narrow, self.leaf = self.built("float32"), self.built("float64")
        for name, variable in narrow.parameters.items():
            if variable.trainable:
                variable.assign_add(self.rng.normal(scale=0.3, size=variable.shape))
            self.leaf.parameters[name].assign(tf.cast(variable.value, tf.float64))
        self.narrow = narrow
        self.params = self.leaf.canonical(self.leaf.live_params())
        self.draws = self.drawn(self.rng.integers(1 << 30, size=2))  # [n, V, K, D]
        some = self.rng.integers(leaf.num_components, size=64)
        values = self.drawn(np.arange(2), narrow)[np.arange(64), :, some]
        self.x = np.moveaxis(values.astype(np.float64), 0, -1)  # [V, D, N]

    def copy(self, dtype: str) -> BaseLeaf:
        """A layer of the same configuration."""
        config = {**self.original.get_config(), "dtype": dtype}
        return type(self.original).from_config(config)

    def built(self, dtype: str) -> BaseLeaf:
        """A copy with parameters of its own."""
        leaf = self.copy(dtype)
        leaf.add_parameters_of(self.layout)
        return leaf

    def log_prob(
        self,
        x: np.ndarray | Tensor,
        params: Params | None = None,
        observed: np.ndarray | None = None,
        leaf: BaseLeaf | None = None,
    ) -> Tensor:
        """``[..., V, K, N]``, `log_base` included."""
        leaf = leaf or self.leaf
        x = tf.cast(x, leaf.compute_dtype)
        params = self.params if params is None else params
        mask = None if observed is None else tf.constant(observed)
        base = leaf.log_base(x)
        if mask is not None:
            base = tf.where(mask, base, tf.zeros_like(base))
        values = leaf.region_log_prob(params, x, mask, self.layout)
        return values + base[..., tf.newaxis, :]

    def drawn(self, seed: np.ndarray, leaf: BaseLeaf | None = None) -> np.ndarray:
        """Draws ``[n, V, K, D]`` of each component."""
        leaf = leaf or self.leaf
        params = leaf.canonical(leaf.live_params())
        rows = {
            name: tf.repeat(table[tf.newaxis], NUM_DRAWS, axis=0)
            for name, table in leaf.component_tables(params).items()
        }
        return leaf.sample_component(rows, tf.constant(seed, tf.int32)).numpy()

    def expect(
        self, holds: bool | np.bool_ | np.ndarray, what: str, received: object = ""
    ) -> None:
        """Raises unless something holds, of all entries of an array."""
        if not np.all(holds):
            raise AssertionError(
                f"{self.leaf.label}: expected that {what}, received {received}."
            )

    def expect_close(
        self, received: object, expected: object, what: str, tolerance: float
    ) -> None:
        """Raises unless numbers agree, infinite ones included."""
        one, other = np.asarray(received, float), np.asarray(expected, float)
        close = np.isclose(one, other, rtol=tolerance, atol=tolerance)
        worst = np.argmin(close)
        one, other = np.broadcast_arrays(one, other)
        numbers = f"{one.flat[worst]} in place of {other.flat[worst]}"
        self.expect(close, what, numbers)

    def circuit(self) -> RegionGraphCircuit:
        """A circuit over a copy of the layer and of its parameters."""
        leaf, num_dims = self.copy("float32"), self.layout.num_dims
        circuit = RegionGraphCircuit(fully_factorized(2), leaf, 1, num_dims=num_dims)
        for name, variable in leaf.parameters.items():
            variable.assign(self.narrow.parameters[name].value)
        return circuit
