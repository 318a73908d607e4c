"""Continuous mixtures of Chow-Liu trees, and the circuits that they become."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfp_spn._arguments import (
    LARGEST_INTEGER,
    LARGEST_SIZE,
    a_count,
    a_flag,
    a_rate,
    a_seed,
    one_of,
    reads,
)
from tfp_spn._typing import Tensor
from tfp_spn.circuits import (
    RegionGraphCircuit,
    assign_log_weights,
    from_region_graph,
)
from tfp_spn.region_graphs import RegionGraph, chow_liu_tree
from tfp_spn.structure.columns import Columns, Kind, read_columns
from tfp_spn.structure.continuous_decoder import IMPOSSIBLE, Batch, ContinuousDecoder
from tfp_spn.structure.leaf_estimates import Estimate, assign_leaves, leaf_layer
from tfp_spn.structure.tree_mixture_circuit import tree_mixture_circuit
from tfp_spn.structure.validation_rows import ValidationData, split_rows

Structure = Literal["auto", "chow_liu", "factorized"]

_MAX_TABLE = 2**16
"""Entries of all conditional tables of one tree, from which on columns are apart."""

_OF_NETWORK = 0.7
"""Part of the time for the network; what is left is for the points."""

_MANY_STEPS = 2000
"""From so many steps on they are compiled by XLA."""

_BLOCK = 1024
"""Rows that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class ContinuousMixture:
    """A decoder, and points of its latent space with weights.

        p(x) = integral p(z) p(x | z) dz, about sum_m w[m] p(x | z[m])

    Attributes:
        decoder: From points to models.
        points: ``[M, latent_dim]``, chosen by learning.
        log_weights: ``[M]``, normalised.
        history: Validation log-likelihood of each epoch, in nats per row.
        is_interrupted: Whether learning was (Ctrl-C).
    """

    decoder: ContinuousDecoder
    points: npt.NDArray[np.float32]
    log_weights: npt.NDArray[np.float64]
    history: tuple[float, ...]
    is_interrupted: bool = False

    @reads(num_points=a_count())
    def circuit(self, num_points: int | None = None) -> RegionGraphCircuit:
        """The finite mixture as a circuit.

        Args:
            num_points: If given, so many points spread over the prior by a Sobol
                sequence, all of equal weight, in place of the learned ones: any size
                of circuit from one mixture. Powers of two are best.
        """
        points, log_weights = self.points, self.log_weights
        if num_points is not None:
            base = sobol_points(num_points, points.shape[1])
            points = np.asarray(normal_points(base, tf.fill([points.shape[1]], 0.5)))
            log_weights = np.full([num_points], -np.log(num_points))
        parameters = self.decoder.parameters(tf.constant(points), training=False)
        values = {k: v.numpy().astype(np.float64) for k, v in parameters.items()}
        if self.decoder.num_parent_states > 1:
            return _circuit_of_trees(self.decoder, log_weights, values)
        return _circuit_of_columns(self.decoder, log_weights, values)


@reads(
    structure=one_of("auto", "chow_liu", "factorized"),
    latent_dim=a_count(),
    num_points=a_count(),
    num_layers=a_count(),
    max_units=a_count(),
    epochs=a_count(least=0),
    point_epochs=a_count(least=0),
    batch_size=a_count(),
    learning_rate=a_rate(above=0),
    patience=a_count(most=LARGEST_INTEGER),
    max_seconds=a_rate(least=0),
    seed=a_seed(most=LARGEST_SIZE),
    verbose=a_flag(),
)
def continuous_mixture(
    x: npt.ArrayLike,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    validation_data: ValidationData = None,
    kinds: Sequence[Kind] | None = None,
    structure: Structure = "auto",
    latent_dim: int = 4,
    num_points: int = 1024,
    num_layers: int = 6,
    max_units: int = 512,
    epochs: int = 200,
    point_epochs: int = 150,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    patience: int = 15,
    max_seconds: float | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> ContinuousMixture:
    """Learns a mixture of infinitely many trees, to be made a circuit of any size.

        p(x) = integral Normal(z; 0, I) prod_v p(x[v] | x[parent(v)], z) dz

    The tree is the Chow-Liu tree of the categorical columns, of any numbers of
    categories; a network maps ``z`` to its tables, and to a normal or a Poisson
    distribution of each other column. Missing cells are integrated out. The
    integral is estimated by randomised quasi-Monte Carlo, anew in each step. Then the
    network is kept and the points and their weights are learned: the result is a finite
    mixture of trees. `ContinuousMixture.circuit` builds the circuit, which answers
    every query and can be learned on by EM.

    ``structure="factorized"`` is without a tree: all columns depend on ``z`` alone. So
    it is by default if a column is not categorical or a cell is missing, where trees
    were worse in equal time (jester with a fifth missing: -52.69 and -52.38 of held-out
    rows after 80 s), or if the tables of a tree would be very large.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        validation_data: Held-out rows like `x`, for stopping; or a dict of them with
            keys ``x``, ``observed``, ``sample_weight``. Default: a tenth of `x`.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        structure: ``"chow_liu"``, ``"factorized"``, or ``"auto"``.
        latent_dim: Dimensions of ``z``.
        num_points: Points of a step, and components of the result. A power of two.
        num_layers: Of the network.
        max_units: Of its hidden layers at most.
        epochs: Passes over the data at most.
        point_epochs: Passes in which points and weights are learned, at most.
        batch_size: Rows of a step.
        learning_rate: Of Adam.
        patience: Epochs without a better validation log-likelihood before the end.
        max_seconds: Time for all of it; the best so far is kept, as it is after an
            interruption (Ctrl-C). Default: no limit.
        seed: Of the network, the order of rows and the points.
        verbose: Whether to show a progress bar.

    Raises:
        TypeError: The data are not numbers, or `observed` is not boolean.
        ValueError: Shapes do not fit, or a tree is asked for where there can be none.

    Example:
        >>> import numpy as np, tfp_spn
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> mixture = tfp_spn.structure.continuous_mixture(
        ...     x, num_points=8, epochs=1, point_epochs=1)
        >>> spn = tfp_spn.distributions.SumProductNetwork(mixture.circuit())
        >>> spn.log_prob(x).shape
        TensorShape([100])

    References:
        [1]: Correia, Gala, Quaeghebeur, de Campos and Peharz. Continuous Mixtures of
            Tractable Probabilistic Models. AAAI, 2023.
            https://arxiv.org/abs/2209.10584
    """
    owner = "continuous_mixture"
    columns = read_columns(x, observed, owner, kinds, sample_weight)
    train, valid = split_rows(columns, validation_data, owner, seed)
    parents = _parents(train, structure)
    decoder = ContinuousDecoder(
        train,
        parents,
        latent_dim,
        num_layers,
        max_units,
        seed,
        has_missing=not (train.is_complete and valid.is_complete),
    )
    now = time.perf_counter()
    ends = math.inf if max_seconds is None else now + max_seconds
    turns = math.inf if max_seconds is None else now + _OF_NETWORK * max_seconds
    base = sobol_points(num_points, latent_dim)
    learner = _Learner(decoder, train, valid, batch_size, patience, seed, verbose)
    learner.learn_network(base, epochs, learning_rate, turns)
    points, log_weights = learner.learn_points(base, point_epochs, learning_rate, ends)
    return ContinuousMixture(
        decoder, points, log_weights, tuple(learner.history), learner.is_interrupted
    )


def sobol_points(num_points: int, num_dims: int) -> npt.NDArray[np.float32]:
    """``[M, num_dims]`` in the unit cube, evenly spread."""
    from scipy.stats import qmc

    exponent = max(0, int(np.ceil(np.log2(num_points))))
    points = qmc.Sobol(num_dims, scramble=False).random_base2(exponent)
    return points[:num_points].astype(np.float32)


def normal_points(base: Any, shift: Tensor) -> Tensor:
    """Points of the unit cube, shifted around it, as points of a standard normal."""
    u = tf.math.floormod(tf.convert_to_tensor(base) + shift, 1.0)
    return tf.math.ndtri(tf.clip_by_value(u, 1e-5, 1 - 1e-5))


def _parents(columns: Columns, structure: Structure) -> npt.NDArray[np.int64]:
    parents = np.full([columns.num_variables], -1, np.int64)
    own = np.flatnonzero(np.array(columns.kinds) == "categorical")
    if structure == "chow_liu" and len(own) < 2:
        raise ValueError(
            "continuous_mixture: structure='chow_liu' needs two categorical columns at "
            f"least, received kinds {columns.kinds}. Pass structure='factorized', or "
            "bin some columns."
        )
    size = len(own) * int(columns.num_categories.max()) ** 2
    is_quick = columns.is_categorical and columns.is_complete and size <= _MAX_TABLE
    if structure == "auto" and not is_quick:
        structure = "factorized"
    if structure == "factorized" or len(own) < 2:
        return parents
    tree = chow_liu_tree(
        columns.values[:, own].astype(np.int64),
        data_type="discrete",
        observed=columns.observed[:, own],
        sample_weight=columns.weights,
    )
    parents[own] = np.where(tree >= 0, own[tree], -1)
    return parents


class _Learner:
    """Steps, validation, and the best so far."""

    def __init__(
        self,
        decoder: ContinuousDecoder,
        train: Columns,
        valid: Columns,
        batch_size: int,
        patience: int,
        seed: int,
        verbose: bool,
    ) -> None:
        self.decoder = decoder
        self.train, self.valid = decoder.read(train), decoder.read(valid)
        self.train.weight[:] /= self.train.weight.mean(dtype=np.float64)
        self.num_rows, self.num_valid = len(train.values), len(valid.values)
        self.weight_of_valid = float(valid.weights.sum())
        self.batch_size = min(batch_size, self.num_rows)
        self.patience = patience
        self.rng = np.random.default_rng(seed)
        self.rng_of_points = np.random.default_rng([seed, 1])
        self.verbose = verbose
        self.history: list[float] = []
        self.is_interrupted = False

    def learn_network(
        self, base: np.ndarray, epochs: int, learning_rate: float, ends: float
    ) -> None:
        """Gradient steps on the network; each has points of its own."""
        decoder, num_points = self.decoder, len(base)
        variables = decoder.network.trainable_variables
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build(variables)
        log_weights = tf.fill([num_points], -float(np.log(num_points)))
        center = normal_points(base, tf.fill([base.shape[1]], 0.5))

        @tf.function(jit_compile=self._is_worth_compiling(epochs))
        def step(arrays: tuple[Tensor, ...], shift: Tensor) -> None:
            z, batch = normal_points(base, shift), Batch(*arrays)
            with tf.GradientTape() as tape:
                value = decoder.log_prob(batch, z, training=True)
                loss = -_total(value, log_weights, batch) / self.batch_size
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)

        def of_rows(rows: Batch) -> None:
            shift = self.rng_of_points.random(base.shape[1], dtype=np.float32)
            step(rows.arrays, tf.constant(shift))

        weights = decoder.network.weights
        self._until_worse(
            of_rows, lambda: (center, log_weights), weights, epochs, ends, "network"
        )

    def learn_points(
        self, base: np.ndarray, epochs: int, learning_rate: float, ends: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Gradient steps on points and weights; the network is kept."""
        decoder = self.decoder
        start = normal_points(base, tf.fill([base.shape[1]], 0.5))
        points = keras.Variable(start, name="points")
        logits = keras.Variable(tf.zeros([len(base)]), name="logits")
        variables = [points, logits]
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build(variables)

        @tf.function(jit_compile=self._is_worth_compiling(epochs))
        def step(arrays: tuple[Tensor, ...]) -> None:
            batch = Batch(*arrays)
            with tf.GradientTape() as tape:
                z = tf.convert_to_tensor(points.value)
                value = decoder.log_prob(batch, z, training=False)
                log_weights = tf.nn.log_softmax(logits.value)
                loss = -_total(value, log_weights, batch) / self.batch_size
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)

        def state() -> tuple[Tensor, Tensor]:
            return tf.convert_to_tensor(points), tf.nn.log_softmax(logits.value)

        self._until_worse(
            lambda rows: step(rows.arrays),
            state,
            variables,
            epochs,
            ends,
            "points",
        )
        z, log_weights = state()
        return z.numpy(), np.asarray(log_weights, np.float64)

    def _until_worse(
        self,
        step: Callable[[Batch], None],
        state: Callable[[], tuple[Tensor, Tensor]],
        variables: list[Any],
        epochs: int,
        ends: float,
        name: str,
    ) -> None:
        """Epochs until validation says that it gets worse; keeps the best."""
        if self.is_interrupted:
            return
        evaluate = tf.function(self._log_likelihood)
        best_values: list[np.ndarray] = []
        bar = tqdm(range(epochs), desc=name, disable=not self.verbose, leave=False)
        try:
            best, waited = self._validate(evaluate, state), 0
            best_values = [v.numpy() for v in variables]
            for _ in bar:
                if not self._epoch(step, ends):
                    break
                value = self._validate(evaluate, state)
                self.history.append(value)
                bar.set_postfix(validation=f"{value:.3f}")
                waited += 1
                if value > best:
                    best, waited = value, 0
                    best_values = [v.numpy() for v in variables]
                if waited >= self.patience:
                    break
        except KeyboardInterrupt:
            self.is_interrupted = True
        finally:
            for variable, kept in zip(variables, best_values, strict=False):
                variable.assign(kept)

    def _is_worth_compiling(self, epochs: int) -> bool:
        """Whether XLA, which takes seconds to compile, saves more."""
        return epochs * (self.num_rows // self.batch_size) > _MANY_STEPS

    def _epoch(self, step: Callable[[Batch], None], ends: float) -> bool:
        """Whether there is time for another epoch behind it."""
        order = self.rng.permutation(self.num_rows)
        last = self.num_rows - self.num_rows % self.batch_size
        for start in range(0, last, self.batch_size):
            if time.perf_counter() > ends:
                return False
            step(self.train.rows(order[start : start + self.batch_size]))
        return True

    def _validate(self, evaluate: Any, state: Callable) -> float:
        z, log_weights = state()
        total = 0.0
        for start in range(0, self.num_valid, _BLOCK):
            rows = self.valid.rows(slice(start, start + _BLOCK))
            total += float(evaluate(rows.arrays, z, log_weights))
        return total / self.weight_of_valid

    def _log_likelihood(
        self, arrays: tuple[Tensor, ...], z: Tensor, log_weights: Tensor
    ) -> Tensor:
        batch = Batch(*arrays)
        value = self.decoder.log_prob(batch, z, training=False)
        return _total(value, log_weights, batch)


def _total(value: Tensor, log_weights: Tensor, batch: Batch) -> Tensor:
    log_prob = tf.reduce_logsumexp(value + log_weights, axis=-1)
    return tf.tensordot(log_prob, batch.weight, 1)


def _circuit_of_trees(
    decoder: ContinuousDecoder,
    log_weights: npt.NDArray[np.float64],
    values: dict[str, npt.NDArray[np.float64]],
) -> RegionGraphCircuit:
    """Of categorical columns in a tree, and others beside it."""
    found = _estimates(decoder, values)
    of_tree = dict(zip(decoder.categorical.tolist(), _tables(values), strict=True))
    others = {v: own for v, own in found.items() if v not in of_tree}
    return tree_mixture_circuit(
        decoder.columns, decoder.parents, log_weights, of_tree, others
    )


def _circuit_of_columns(
    decoder: ContinuousDecoder,
    log_weights: npt.NDArray[np.float64],
    values: dict[str, npt.NDArray[np.float64]],
) -> RegionGraphCircuit:
    """A mixture whose components are independent columns: one leaf region."""
    columns = decoder.columns
    leaf = leaf_layer(columns, len(log_weights))
    graph = RegionGraph([tuple(range(columns.num_variables))], [])
    circuit = from_region_graph(graph, leaf, num_sums=1)
    assign_log_weights(circuit, {0: log_weights[np.newaxis, :, np.newaxis]})
    found = _estimates(decoder, values)
    assign_leaves(circuit, lambda _, variable: found[variable])
    return circuit


def _tables(values: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """``[C, M, S', S]``, -inf where a state does not exist."""
    log_tables = values["log_tables"].swapaxes(0, 1)
    return np.where(log_tables < 0.1 * IMPOSSIBLE, -np.inf, log_tables)


def _estimates(
    decoder: ContinuousDecoder, values: dict[str, npt.NDArray[np.float64]]
) -> dict[int, Estimate]:
    """By column, what it is like without regard to others, for all points."""
    found: dict[int, Estimate] = {}
    for v, table in zip(decoder.categorical.tolist(), _tables(values), strict=True):
        found[v] = {"log_probs": table[:, 0]}
    for number, v in enumerate(decoder.real.tolist()):
        center, scale = decoder.center[v], decoder.scale[v]
        location = values["location"][:, number] * scale + center
        found[v] = {"location": location, "scale": values["scale"][:, number] * scale}
    for number, v in enumerate(decoder.count.tolist()):
        found[v] = {"log_rate": values["log_rate"][:, number]}
    return found
