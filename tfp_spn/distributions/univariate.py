"""All single-variable posteriors of a circuit, as one batch of distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.circuits import posterior
from tfp_spn.circuits.program import Program, Tables
from tfp_spn.distributions import _queries
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.bernoulli_leaf import BernoulliLeaf
from tfp_spn.layers.leaves.binomial_leaf import BinomialLeaf
from tfp_spn.layers.leaves.categorical_leaf import CategoricalLeaf
from tfp_spn.layers.leaves.cauchy_leaf import CauchyLeaf
from tfp_spn.layers.leaves.indicator_leaf import IndicatorLeaf
from tfp_spn.layers.leaves.laplace_leaf import LaplaceLeaf
from tfp_spn.layers.leaves.normal_leaf import NormalLeaf

# Families without finite support: the posterior is a mixture over leaf components.
_FAMILIES: dict[type[BaseLeaf], Callable[[BaseLeaf, Params], tfd.Distribution]] = {
    NormalLeaf: lambda leaf, p: tfd.Normal(p["location"], p["scale"]),
    LaplaceLeaf: lambda leaf, p: tfd.Laplace(p["location"], p["scale"]),
    CauchyLeaf: lambda leaf, p: tfd.Cauchy(p["location"], p["scale"]),
    BinomialLeaf: lambda leaf, p: tfd.Binomial(
        float(leaf.total_count), logits=p["logits"]
    ),
}


def univariate_posteriors(
    distribution: Any, value: TensorLike | None, observed: TensorLike | None
) -> tfd.Distribution:
    """See `SumProductNetwork.univariate_posteriors`."""
    event = distribution._event  # noqa: SLF001
    program, tables = distribution.program, distribution.tables()
    if program.layout.num_dims > 1:
        raise NotImplementedError(
            "univariate_posteriors: defined for variables of one dimension, this "
            f"circuit has num_dims={program.layout.num_dims}."
        )
    evidence = None
    if value is None and observed is not None:
        raise ValueError(
            "univariate_posteriors: received observed without a value, expected both "
            "or neither. Pass the evidence that the mask belongs to."
        )
    if value is not None:
        value = distribution._checked(value, observed)  # noqa: SLF001
        value, observed = event.spread(value, observed)
        evidence = _queries.possible_evidence(distribution, value, observed)
    weights = _queries.leaf_posterior(program, tables, evidence)

    def restored(table: Tensor) -> Tensor:
        """Posterior mean of a component table: ``S + P + [V', F]``."""
        mean = posterior.expectation(program, table, weights)
        return _pick_variables(event, _queries.restore(distribution, mean, 2, evidence))

    def settled(probs: Tensor, point_mass: Callable[[Tensor], Tensor]) -> Tensor:
        """A point mass where the variable is observed."""
        if evidence is None:
            return probs
        x, known = evidence.restore(evidence.x[..., 0, :]), evidence.observed
        point = point_mass(_pick_variables(event, x[..., tf.newaxis])[..., 0])
        if known is None:
            return point + tf.zeros_like(probs)
        known = evidence.restore(known)[..., tf.newaxis]
        return tf.where(_pick_variables(event, known), point, probs)

    leaf = program.leaf
    if isinstance(leaf, CategoricalLeaf | IndicatorLeaf):
        table = _probability_table(leaf, tables, program)
        num_values = table.shape[-1]
        return tfd.Categorical(
            probs=settled(
                restored(table),
                lambda x: tf.one_hot(tf.cast(x, tf.int32), num_values, dtype=x.dtype),
            )
        )
    if isinstance(leaf, BernoulliLeaf):
        probs = restored(leaf.component_mean(tables.leaf))
        probs = settled(probs, lambda x: x[..., tf.newaxis])[..., 0]
        return tfd.Bernoulli(probs=tf.clip_by_value(probs, 0.0, 1.0))
    return _mixture(distribution, program, tables, weights, evidence)


def _probability_table(leaf: BaseLeaf, tables: Tables, program: Program) -> Tensor:
    """``[..., L, K, C]``: probability of each value under each component."""
    if isinstance(leaf, CategoricalLeaf):
        return tf.exp(leaf.component_tables(tables.leaf)["log_probs"][..., 0, :])
    eye = tf.eye(leaf.num_components, dtype=program.dtype)
    return tf.tile(eye[tf.newaxis], [program.layout.num_slots, 1, 1])


def _mixture(
    distribution: Any, program: Program, tables: Tables, weights: Tensor, evidence: Any
) -> tfd.MixtureSameFamily:
    event, layout, leaf = distribution._event, program.layout, program.leaf  # noqa: SLF001
    slots = _slots_of_variable(layout.slot_variable, layout.num_variables)
    slots = slots[list(event.variables)]  # [V', U], padded by -1
    by_slot = tf.gather(weights, layout.slot_region, axis=-3)  # [..., L, K, N]
    chosen = tf.gather(by_slot, np.maximum(slots, 0), axis=-3)  # [..., V', U, K, N]
    chosen *= tf.cast(slots >= 0, chosen.dtype)[..., tf.newaxis, tf.newaxis]
    count = slots.shape[1] * leaf.num_components
    shape = tf.concat([tf.shape(chosen)[:-3], [count], tf.shape(chosen)[-1:]], 0)
    probs = _queries.restore(distribution, tf.reshape(chosen, shape), 2, evidence)
    probs = tf.ensure_shape(probs, [None] * (probs.shape.rank - 1) + [count])

    def components(table: Tensor) -> Tensor:
        rows = tf.gather(table[..., 0, 0], np.maximum(slots, 0), axis=-2)
        batch = tf.shape(rows)[:-2]
        return tf.reshape(rows, tf.concat([batch, [count]], 0))

    params = {k: components(v) for k, v in leaf.component_tables(tables.leaf).items()}
    family = _FAMILIES[type(leaf)](leaf, params)
    return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), family)


def _slots_of_variable(slot_variable: np.ndarray, num_variables: int) -> np.ndarray:
    lists = [np.flatnonzero(slot_variable == v) for v in range(num_variables)]
    table = np.full([num_variables, max(map(len, lists))], -1)
    for variable, slots in enumerate(lists):
        table[variable, : len(slots)] = slots
    return table


def _pick_variables(event: Any, value: Tensor) -> Tensor:
    """``[..., V, F]`` to ``[..., V', F]``."""
    return value if event.is_full else tf.gather(value, event.variables, axis=-2)
