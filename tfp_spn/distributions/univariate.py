"""All single-variable posteriors of a circuit, as one batch of distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.distributions import _queries
from tfp_spn.distributions._event import Event, Given
from tfp_spn.distributions.leaf_posteriors import (
    CircularMixture,
    LeafBernoulli,
    LeafCategorical,
    LeafMixture,
)
from tfp_spn.distributions.mixed_univariate import MixedUnivariate
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.programs import moments, posterior
from tfp_spn.programs.tables import Tables


def univariate_posteriors(
    distribution: tfd.Distribution,
    value: TensorLike | None,
    observed: TensorLike | None,
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
        given = event.checked(Given(value, observed))
        _queries.check_broadcasts(event.lead_of(value), distribution)
        evidence = _queries.possible(event, tables, given)
    weights = distribution.ask(
        _leaf_posterior,
        *(() if value is None else (given,)),
        num_examples=1 if evidence is None else evidence.x.shape[-1],
    )
    found, places = [], []
    for part in program.leaf.parts(program.layout):
        place = [n for n, v in enumerate(event.variables) if v in part.variables]
        if place:
            chosen = [event.variables[n] for n in place]
            known = _Known(tables, part, chosen, evidence)
            params = part.params(tables.leaf)
            found.append(_of_part(known, params, part.of_region(weights, -3)))
            places.append(tuple(place))
    if len(found) == 1:
        return found[0]
    return MixedUnivariate(found, places)


def _leaf_posterior(event: Event, tables: Tables, given: Given | None = None) -> Tensor:
    """``[..., R, K, N]``; see `_queries`."""
    evidence = None if given is None else _queries.possible(event, tables, given)
    return moments.leaf_posterior(event.program.step, tables, evidence)


class _Known:
    """Some variables of one leaf layer that are asked for, and the evidence."""

    def __init__(
        self,
        tables: Tables,
        part: LeafPart,
        variables: list[int],
        evidence: Evidence | None,
    ) -> None:
        self.tables = tables
        self.part = part
        self.variables = variables
        self.evidence = evidence
        self.own = np.searchsorted(part.variables, variables)

    def restore(self, value: Tensor) -> Tensor:
        """``[..., V, F, N]`` to ``S + P + [V, F]``."""
        return self.tables.restored(value, 2, self.evidence)

    def mean(self, table: Tensor, weights: Tensor) -> Tensor:
        """Posterior mean ``S + P + [V, F]`` of a table ``[..., L, K, F]``."""
        mean = posterior.expectation_over(self.part.layout, table, weights)
        return _pick(self.restore(mean), self.own, self.part.layout.num_variables)

    def settled(self, probs: Tensor, point_mass: Callable[[Tensor], Tensor]) -> Tensor:
        """Replaces the posterior of an observed variable by a point mass."""
        evidence = self.evidence
        if evidence is None:
            return probs
        total = evidence.x.shape[-3]
        x, known = evidence.restore(evidence.x[..., 0, :]), evidence.observed
        point = point_mass(_pick(x[..., tf.newaxis], self.variables, total)[..., 0])
        if known is None:
            return point + tf.zeros_like(probs)
        known = evidence.restore(known)[..., tf.newaxis]
        return tf.where(_pick(known, self.variables, total), point, probs)


def _of_part(known: _Known, params: Params, weights: Tensor) -> tfd.Distribution:
    """Returns the posteriors of the variables of one leaf layer."""
    table = known.part.leaf.value_probs(params)
    if table is None:
        return _mixture(known, params, weights)
    table = table[..., 0, :]
    num_values = table.shape[-1]
    probs = known.settled(
        known.mean(table, weights),
        lambda x: tf.one_hot(tf.cast(x, tf.int32), num_values, dtype=x.dtype),
    )
    if known.part.leaf.is_binary:
        return LeafBernoulli(probs=tf.clip_by_value(probs[..., 1], 0.0, 1.0))
    return LeafCategorical(probs=probs)


def _mixture(known: _Known, params: Params, weights: Tensor) -> tfd.MixtureSameFamily:
    """Returns a mixture of the components of all slots of each variable."""
    layout, leaf = known.part.layout, known.part.leaf
    slots = _slots_of_variable(layout.slot_variable, layout.num_variables)
    slots = slots[known.own]  # [V', slots], padded by -1
    by_slot = tf.gather(weights, layout.slot_region, axis=-3)  # [..., L, K, N]
    chosen = tf.gather(by_slot, np.maximum(slots, 0), axis=-3)  # [..., V', slots, K, N]
    chosen *= tf.cast(slots >= 0, chosen.dtype)[..., tf.newaxis, tf.newaxis]
    count = slots.shape[1] * leaf.num_components
    probs = known.restore(reshape_axes(chosen, -3, -1, [count]))
    probs = tf.ensure_shape(probs, [None] * (probs.shape.rank - 1) + [count])

    def components(table: Tensor) -> Tensor:
        """``[..., L, K, 1, G]`` to ``[..., V', slots * K, G]``."""
        rows = tf.gather(table[..., 0, :], np.maximum(slots, 0), axis=-3)
        return reshape_axes(rows, -3, -1, [count])

    rows = {k: components(v) for k, v in leaf.component_tables(params).items()}
    kind = LeafMixture if leaf.has_linear_moments else CircularMixture
    return kind(tfd.Categorical(probs=probs), leaf.component_distribution(rows))


def _slots_of_variable(slot_variable: np.ndarray, num_variables: int) -> np.ndarray:
    """Lists the slots of each variable, ``[V, slots]``, filled up with -1."""
    lists = [np.flatnonzero(slot_variable == v) for v in range(num_variables)]
    table = np.full([num_variables, max(map(len, lists))], -1)
    for variable, slots in enumerate(lists):
        table[variable, : len(slots)] = slots
    return table


def _pick(value: Tensor, variables: Sequence[int] | np.ndarray, total: int) -> Tensor:
    """``[..., V, F]`` to ``[..., V', F]``."""
    if np.array_equal(variables, np.arange(total)):
        return value
    return tf.gather(value, variables, axis=-2)
