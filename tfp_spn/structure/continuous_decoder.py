"""Networks from a continuous latent variable to the parameters of a simple model."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.structure.columns import Columns

IMPOSSIBLE = -1e9
"""The logit of states that do not exist; finite, so that it multiplies zeros."""

_MIN_SCALE = 0.02
"""Of reals that are standardised: components do not collapse on a row."""

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows as the decoder reads them; where a cell is missing all is zero.

    Attributes:
        state: int32 ``[B, C]``: of each categorical column; -1 where missing.
        real: ``[B, R, 2]``: standardised values, and whether they are there.
        count: ``[B, P, 2]``: counts likewise.
        weight: ``[B]``: how often each row counts.
    """

    state: Tensor
    real: Tensor
    count: Tensor
    weight: Tensor

    def rows(self, index: Tensor) -> Batch:
        """Some of the rows."""
        return Batch(*(each[index] for each in self.arrays))

    @property
    def arrays(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All of it."""
        return self.state, self.real, self.count, self.weight


class ContinuousDecoder:
    """Maps points ``[M, latent_dim]`` to as many models of the columns.

    Categorical columns depend on their parents in a tree, all others on the point
    alone. Log-likelihoods are matrix products of what a row is and what a point says:

        log p(x | z) = features(x) . parameters(z)

    Missing cells are integrated out: those of a tree by messages from the leaves up,
    which take longer. Of several networks each maps an equal share of the points.

    Args:
        columns: The table.
        parents: ``[V]``: of each column, or -1. Parents are categorical.
        latent_dim: Dimensions of points.
        num_layers: Of the network; widths grow linearly to that of the output.
        max_units: Of hidden layers.
        seed: Of its initial weights.
        has_missing: Whether states of columns in a tree may be missing.
    """

    def __init__(
        self,
        columns: Columns,
        parents: npt.NDArray[np.int64],
        latent_dim: int,
        num_layers: int,
        max_units: int,
        seed: int,
        has_missing: bool = False,
    ) -> None:
        kinds = np.array(columns.kinds)
        self.columns, self.parents = columns, parents
        self.categorical = np.flatnonzero(kinds == "categorical")
        self.real = np.flatnonzero(kinds == "real")
        self.count = np.flatnonzero(kinds == "count")
        sizes = columns.num_categories
        self.num_states = int(sizes.max()) if len(self.categorical) else 1
        place = np.zeros([columns.num_variables], np.int64)
        place[self.categorical] = np.arange(len(self.categorical))
        above = parents[self.categorical]
        self._place_above = np.where(above >= 0, place[above], -1)  # [C]
        self._passes_messages = has_missing and bool((above >= 0).any())
        sizes_of_parents = np.where(parents >= 0, sizes[parents], 1)
        self.num_parent_states = int(sizes_of_parents.max())
        own = np.arange(self.num_states) < sizes[self.categorical][:, np.newaxis]
        self._exists = own[:, np.newaxis, :]  # [C, 1, S]
        shape = (len(self.categorical), self.num_parent_states, self.num_states - 1)
        self._shape = shape
        num_outputs = math.prod(shape) + 2 * len(self.real) + len(self.count)
        self.center, self.scale = columns.center, columns.scale
        self._new_network = functools.partial(
            _network,
            latent_dim,
            num_outputs,
            self._initial_outputs(),
            num_layers,
            max_units,
        )
        self.networks = (self._new_network(seed),)

    def anew(self, seed: int) -> ContinuousDecoder:
        """One like it, with a network of its own."""
        return self._with((self._new_network(seed),))

    @staticmethod
    def joined(decoders: Sequence[ContinuousDecoder]) -> ContinuousDecoder:
        """One decoder of the networks of several that are like each other."""
        networks = [network for each in decoders for network in each.networks]
        return decoders[0]._with(tuple(networks))

    def _with(self, networks: tuple[keras.Sequential, ...]) -> ContinuousDecoder:
        found = copy.copy(self)
        found.networks = networks
        return found

    def read(self, columns: Columns) -> Batch:
        """Rows of a table of the same columns."""
        state = np.where(columns.observed, columns.values, -1)[:, self.categorical]
        standard = (columns.values - self.center) / self.scale

        def flagged(values: np.ndarray, index: np.ndarray) -> np.ndarray:
            seen = columns.observed[:, index]
            both = np.stack([values[:, index] * seen, seen], axis=-1)
            return both.astype(np.float32)

        real, count = flagged(standard, self.real), flagged(columns.values, self.count)
        weight = columns.weights.astype(np.float32)
        return Batch(state.astype(np.int32), real, count, weight)

    def parameters(self, z: Tensor, training: bool) -> dict[str, Tensor]:
        """``log_tables [M, C, S', S]``, ``location``, ``scale`` and ``log_rate``.

        Reals are standardised.
        """
        shares = tf.split(z, len(self.networks))
        outputs = [
            network(share, training=training)
            for network, share in zip(self.networks, shares, strict=True)
        ]
        output = tf.concat(outputs, axis=0)
        num_pairs, num_reals = math.prod(self._shape), len(self.real)
        logits = tf.reshape(output[:, :num_pairs], [-1, *self._shape])
        logits = tf.concat([tf.zeros_like(logits[..., :1]), logits], axis=-1)
        logits = logits[..., : self.num_states]
        logits = tf.where(self._exists, logits, IMPOSSIBLE)
        rest = output[:, num_pairs:]
        return {
            "log_tables": tf.nn.log_softmax(logits),
            "location": rest[:, :num_reals],
            "scale": _MIN_SCALE + tf.nn.softplus(rest[:, num_reals : 2 * num_reals]),
            "log_rate": rest[:, 2 * num_reals :],
        }

    def log_prob(self, batch: Batch, z: Tensor, training: bool) -> Tensor:
        """``log p(x | z)``, ``[B, M]``."""
        parameters = self.parameters(z, training)
        total = tf.zeros([], z.dtype)
        if len(self.categorical):
            of_states = self._by_messages if self._passes_messages else self._by_pairs
            total += of_states(batch.state, parameters["log_tables"])
        if len(self.real):
            x, seen = batch.real[..., 0], batch.real[..., 1]
            location = parameters["location"]
            precision = tf.math.reciprocal(tf.square(parameters["scale"]))
            constant = -0.5 * location**2 * precision - _LOG_SQRT_2PI
            constant -= tf.math.log(parameters["scale"])
            total += tf.matmul(x, location * precision, transpose_b=True)
            total -= 0.5 * tf.matmul(tf.square(x), precision, transpose_b=True)
            total += tf.matmul(seen, constant, transpose_b=True)
            log_scale = tf.constant(np.log(self.scale[self.real]), z.dtype)
            total -= tf.linalg.matvec(seen, log_scale)[:, tf.newaxis]
        if len(self.count):
            x, seen = batch.count[..., 0], batch.count[..., 1]
            log_rate = parameters["log_rate"]
            total += tf.matmul(x, log_rate, transpose_b=True)
            total -= tf.matmul(seen, tf.exp(log_rate), transpose_b=True)
            constant = tf.reduce_sum(tf.math.lgamma(x + 1), axis=-1, keepdims=True)
            total -= constant
        return total

    def _by_pairs(self, state: Tensor, log_tables: Tensor) -> Tensor:
        """``[B, M]``: of rows whose states are known, or columns without parents."""
        has_parent = self._place_above >= 0
        above = tf.gather(state, np.maximum(self._place_above, 0), axis=1)
        above = tf.where(has_parent, above, 0)
        is_known = (state >= 0) & (above >= 0)
        pair = tf.where(is_known, above * self.num_states + state, -1)
        num_pairs = self.num_parent_states * self.num_states
        size = len(self.categorical) * num_pairs
        features = tf.one_hot(pair, num_pairs, dtype=log_tables.dtype)  # [B, C, S' S]
        features = tf.reshape(features, [-1, size])
        return tf.matmul(features, tf.reshape(log_tables, [-1, size]), transpose_b=True)

    def _by_messages(self, state: Tensor, log_tables: Tensor) -> Tensor:
        """``[B, M]``: sums over missing states, from the ends of the tree to its root.

        A column tells its parent ``log p(what is known below | parent's state)``.
        """
        tables = tf.exp(tf.transpose(log_tables, [1, 0, 2, 3]))  # [C, M, S', S]
        states = tf.range(self.num_states, dtype=state.dtype)
        state = tf.transpose(state)[..., tf.newaxis]  # [C, B, 1]
        is_possible = ((state < 0) | (state == states)) & self._exists
        evidence = tf.where(is_possible, 0.0, tf.cast(IMPOSSIBLE, tables.dtype))
        padding = [[0, 0]] * 3 + [[0, self.num_states - self.num_parent_states]]
        message = tf.zeros([0], tables.dtype)
        for places, below, above in reversed(self._levels()):
            value = tf.gather(evidence, places)[:, tf.newaxis]  # [n, 1, B, S]
            if len(below):
                message = tf.pad(message, padding, constant_values=IMPOSSIBLE)
                value += tf.math.unsorted_segment_sum(message, above, len(places))
            top = tf.stop_gradient(tf.reduce_max(value, axis=-1, keepdims=True))
            table = tf.gather(tables, places)
            prob = tf.matmul(tf.exp(value - top), table, transpose_b=True)
            message = tf.math.log(tf.maximum(prob, 1e-37)) + top  # [n, M, B, S']
        return tf.transpose(tf.reduce_sum(message[..., 0], axis=0))

    def _levels(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """From the root on: columns, those below, and which of them each is below."""
        places = np.flatnonzero(self._place_above < 0)
        levels = []
        while len(places):
            below = np.flatnonzero(np.isin(self._place_above, places))
            above = np.searchsorted(places, self._place_above[below])
            levels.append((places, below, above))
            places = below
        return levels

    def _initial_outputs(self) -> npt.NDArray[np.float64]:
        """What the tree, or the columns alone, say of the table."""
        columns, size = self.columns, self.num_states
        outputs = []
        for v in self.categorical.tolist():
            parent = int(self.parents[v])
            counts = np.zeros([self.num_parent_states, size])
            seen = columns.observed[:, v].copy()
            above = np.zeros(len(seen), np.int64)
            if parent >= 0:
                seen &= columns.observed[:, parent]
                above = columns.values[:, parent].astype(np.int64)
            own = columns.values[:, v].astype(np.int64)
            np.add.at(counts, (above[seen], own[seen]), columns.weights[seen])
            whole = counts.sum(0) + 0.5
            counts += whole / whole.sum()
            outputs.append(np.log(counts[:, 1:]) - np.log(counts[:, :1]))
        flat = [np.ravel(table) for table in outputs]
        flat.append(np.zeros(len(self.real)))
        flat.append(np.full(len(self.real), math.log(math.expm1(1 - _MIN_SCALE))))
        flat.append(np.log(self.center[self.count] + 1e-2))
        return np.concatenate(flat)


def _network(
    latent_dim: int,
    num_outputs: int,
    start: npt.NDArray[np.float64],
    num_layers: int,
    max_units: int,
    seed: int,
) -> keras.Sequential:
    """Dense layers, leaky rectifiers and batch normalisation."""
    widths = np.linspace(latent_dim, max(num_outputs, latent_dim), num_layers + 1)
    layers: list[keras.layers.Layer] = [keras.Input([latent_dim])]
    fan_in = latent_dim
    for number, width in enumerate(widths[1:-1].astype(int)):
        units = int(min(max(width, 8), max_units))
        bound = 1 / math.sqrt(fan_in)
        layers += [
            keras.layers.Dense(
                units,
                kernel_initializer=keras.initializers.RandomUniform(
                    -bound, bound, seed=seed + 2 * number
                ),
                bias_initializer=keras.initializers.RandomUniform(
                    -bound, bound, seed=seed + 2 * number + 1
                ),
            ),
            keras.layers.LeakyReLU(0.01),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        ]
        fan_in = units
    bound = 1 / math.sqrt(fan_in)
    last = keras.layers.Dense(
        num_outputs,
        kernel_initializer=keras.initializers.RandomUniform(
            -bound, bound, seed=seed + 2 * num_layers
        ),
    )
    network = keras.Sequential([*layers, last])
    last.bias.assign(start)
    return network
