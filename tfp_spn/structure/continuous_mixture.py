"""Continuous mixtures of Chow-Liu trees, and the circuits that they become."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.special import logsumexp

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
from tfp_spn.circuits import (
    RegionGraphCircuit,
    assign_log_weights,
    from_region_graph,
)
from tfp_spn.region_graphs import RegionGraph, chow_liu_tree
from tfp_spn.structure.columns import Columns, Kind, Table, read_columns
from tfp_spn.structure.continuous_decoder import IMPOSSIBLE, ContinuousDecoder
from tfp_spn.structure.continuous_ensemble import (
    Member,
    learn_members,
    log_proportions,
    seed_of_member,
)
from tfp_spn.structure.continuous_learner import (
    ContinuousLearner,
    normal_points,
    sobol_points,
)
from tfp_spn.structure.leaf_estimates import Estimate, assign_leaves, leaf_layer
from tfp_spn.structure.tree_mixture_circuit import tree_mixture_circuit
from tfp_spn.structure.validation_rows import ValidationData, split_rows

Structure = Literal["auto", "chow_liu", "factorized"]

_MAX_TABLE = 2**16
"""Entries of all conditional tables of one tree, from which on columns are apart."""

_OF_NETWORK = 0.7
"""Part of the time for the network; what is left is for the points."""

_LEAST_GAIN = 1e-4
"""Nats per column of a held-out row: for less a larger circuit is not worth it."""

_LEAST_LOG_PART = math.log(1e-3)
"""Of a mixture of several: networks that contribute less are left out."""


@dataclass(frozen=True, eq=False)
class ContinuousMixture:
    """A decoder, and points of its latent space with weights.

        p(x) = integral p(z) p(x | z) dz, about sum_m w[m] p(x | z[m])

    Attributes:
        decoder: From points to models; each of its networks maps an equal share of the
            points.
        points: ``[M, latent_dim]``, chosen by learning.
        log_weights: ``[M]``, normalised.
        history: Validation log-likelihood of each epoch, in nats per row, of one
            network after the other.
        validation: That of the result.
        is_interrupted: Whether learning was (Ctrl-C).
    """

    decoder: ContinuousDecoder
    points: npt.NDArray[np.float32]
    log_weights: npt.NDArray[np.float64]
    history: tuple[float, ...]
    validation: float
    is_interrupted: bool = False

    @reads(num_points=a_count())
    def circuit(self, num_points: int | None = None) -> RegionGraphCircuit:
        """The finite mixture as a circuit.

        Args:
            num_points: If given, so many points for each network, spread over the
                prior by a Sobol sequence, of equal weights within a network, in place
                of the learned ones: any size of circuit from one mixture. Powers of two
                are best.
        """
        points, log_weights = self.points, self.log_weights
        if num_points is not None:
            base = sobol_points(num_points, points.shape[1])
            points = np.asarray(normal_points(base, tf.fill([points.shape[1]], 0.5)))
            num_networks = len(self.decoder.networks)
            points = np.tile(points, [num_networks, 1])
            parts = logsumexp(log_weights.reshape([num_networks, -1]), axis=1)
            log_weights = np.repeat(parts - np.log(num_points), num_points)
        parameters = self.decoder.parameters(tf.constant(points), training=False)
        values = {k: v.numpy().astype(np.float64) for k, v in parameters.items()}
        if self.decoder.num_parent_states > 1:
            return _circuit_of_trees(self.decoder, log_weights, values)
        return _circuit_of_columns(self.decoder, log_weights, values)


@reads(
    structure=one_of("auto", "chow_liu", "factorized"),
    latent_dim=a_count(),
    num_points=a_count(),
    num_networks=a_count(),
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
    x: Table,
    *,
    observed: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    validation_data: ValidationData = None,
    kinds: Sequence[Kind] | None = None,
    structure: Structure = "auto",
    latent_dim: int = 4,
    num_points: int = 1024,
    num_networks: int = 1,
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

    Few rows of many columns are soon learned by heart. Then several networks, learned
    independently of each other and mixed in the proportions that suit the held-out rows
    best, are better than a larger one.

    ``structure="factorized"`` is without a tree: all columns depend on ``z`` alone. So
    it is by default if a column is not categorical or a cell is missing, where trees
    were worse in equal time (jester with a fifth missing: -52.69 and -52.38 of held-out
    rows after 80 s), or if the tables of a tree would be very large.

    Args:
        x: ``[N, V]``: binary, categorical (integers from 0 to 31), counts or reals.
            NaN means missing. Or a table of `split_table`.
        observed: bool ``[N, V]``: which values count. Default: all.
        sample_weight: How often each row counts, ``[N]``: the same as rows that are
            repeated so often. Default: once.
        validation_data: Held-out rows like `x`, for stopping; or a dict of them with
            keys ``x``, ``observed``, ``sample_weight``. Default: a tenth of `x`.
        kinds: ``"categorical"``, ``"count"`` or ``"real"`` for each column. Default:
            what the values say.
        structure: ``"chow_liu"``, ``"factorized"``, or ``"auto"``.
        latent_dim: Dimensions of ``z``.
        num_points: Points of a step, and components of the result for each network. A
            power of two.
        num_networks: Networks, one after another, at most: where time is limited, one
            begins only if there is as much left as the longest took.
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
    base = sobol_points(num_points, latent_dim)

    def learn(number: int, ends: float) -> Member:
        start = time.perf_counter()
        own_seed = seed_of_member(seed, number)
        own = decoder if number == 0 else decoder.anew(own_seed)
        learner = ContinuousLearner(
            own, train, valid, batch_size, patience, own_seed, verbose
        )
        turns = start + _OF_NETWORK * (ends - start)
        learner.learn_network(base, epochs, learning_rate, turns)
        now = time.perf_counter()
        if num_networks > 1 and ends < math.inf:  # as much for the next network
            ends = min(ends, now + (now - start))
        points, log_weights = learner.learn_points(
            base, point_epochs, learning_rate, ends
        )
        return Member(
            own,
            points,
            log_weights,
            learner.of_held_out(points, log_weights),
            tuple(learner.history),
            learner.is_interrupted,
        )

    ends = math.inf if max_seconds is None else time.perf_counter() + max_seconds
    least_gain = _LEAST_GAIN * columns.num_variables
    members = learn_members(learn, num_networks, ends, least_gain, valid.weights)
    return _mixed(members, valid.weights)


def _mixed(
    members: list[Member], sample_weight: npt.NDArray[np.float64]
) -> ContinuousMixture:
    """The mixture of all that contribute, in proportions that suit held-out rows."""
    log_parts, _ = log_proportions(members, sample_weight)
    kept = [m for m, p in zip(members, log_parts, strict=True) if p > _LEAST_LOG_PART]
    log_parts, value = log_proportions(kept, sample_weight)
    return ContinuousMixture(
        ContinuousDecoder.joined([member.decoder for member in kept]),
        np.concatenate([member.points for member in kept]),
        np.concatenate(
            [m.log_weights + p for m, p in zip(kept, log_parts, strict=True)]
        ),
        tuple(value for member in members for value in member.history),
        value,
        any(member.is_interrupted for member in members),
    )


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
