"""What distributions ask of programs, between the user's shapes and the kernel's.

Each query is a function of an event (the variables that a distribution ranges over), of
parameters made ready and of the user's tensors. `ask` runs it: inside a graph as a part
of that, otherwise as a compiled function, which all circuits of equal structure share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Params, Tensor
from tfp_spn.distributions._event import Event, EventKey, Given
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.axes import merge_axes
from tfp_spn.ops.certainty import Certainty
from tfp_spn.ops.log_space import at_most_zero, logsumexp, minus_infinity
from tfp_spn.programs import moments
from tfp_spn.programs.program import Program, ProgramTables
from tfp_spn.programs.tables import Tables
from tfp_spn.programs.traces import answer

if TYPE_CHECKING:
    from tfp_spn.distributions._circuit_view import CircuitView

T = TypeVar("T")


@dataclass(frozen=True)
class Query:
    """A query of some variables, comparable with others: the key of a trace.

    Attributes:
        function: Of an event, tables and further arguments.
        event: The variables.
        options: Further arguments by name that are not tensors.
    """

    function: Callable[..., Tensor]
    event: EventKey
    options: tuple[tuple[str, object], ...] = ()

    def __call__(
        self, program: Program, certainty: Certainty, params: Params, *arguments: Tensor
    ) -> Tensor:
        """The answer of a program."""
        params = {name: tf.convert_to_tensor(value) for name, value in params.items()}
        tables = program.tables(params, certainty)  # each is read once
        event = self.event.of(program)
        return self.function(event, tables, *arguments, **dict(self.options))


def ask(
    distribution: CircuitView,
    function: Callable[..., T],
    *arguments: Tensor,
    num_examples: int | None = 1,
    **options: object,
) -> T:
    """The answer to a query.

    Args:
        distribution: The view of a circuit that is asked.
        function: One of this module, or like those.
        *arguments: Tensors, or `None`.
        num_examples: How many examples of evidence there are, as far as it is known.
        **options: See `Query`.
    """
    query = Query(function, distribution.event_key, tuple(sorted(options.items())))
    params, program = distribution.params, distribution.program
    is_large = num_examples is None or num_examples > program.max_examples
    return answer(program, query, params, *arguments, is_large=is_large)


def log_joint(event: Event, tables: ProgramTables, given: Given) -> Tensor:
    """``log p(x, c)``, ``S + P + [C]``."""
    evidence = event.evidence(given, tables.batch_rank)
    return evidence.restore(event.program.log_joint(tables, evidence))


def log_prob(event: Event, tables: ProgramTables, given: Given) -> Tensor:
    """``log p(x)``, ``S + P``."""
    return sum_over_classes(log_joint(event, tables, given))


def log_cdf(
    event: Event,
    tables: ProgramTables,
    given: Given,
    can_be_bounded: tuple[bool, ...],
    is_survival: bool = False,
) -> Tensor:
    """``log P(X <= x)``, or ``log P(X <= x, E = e)``, of shape ``S + P``.

    Args:
        event: The event.
        tables: Parameters.
        given: The bounds ``x`` of ``X``, by default of all variables, and values ``e``
            of those that are observed, ``E``; of these it is the density.
        can_be_bounded: Of which variables of the program there may be bounds.
        is_survival: Whether to ask for the contrary, that some ``X > x``.
    """
    if given.bounded is None:
        given = given._replace(bounded=tf.ones(event.mask_shape, tf.bool))
    evidence = event.evidence(given, tables.batch_rank).with_bounds_of(can_be_bounded)
    if is_survival:
        log_joint = _log_joint_above(event.program, tables, evidence, can_be_bounded)
    else:
        log_joint = event.program.log_joint(tables, evidence)
    total = sum_over_classes(evidence.restore(log_joint))
    return at_most_zero(total) if given.observed is None else total


def _log_joint_above(
    program: Program,
    tables: ProgramTables,
    evidence: Evidence,
    can_be_bounded: tuple[bool, ...],
) -> Tensor:
    """``[..., C, N]``: the logarithm of the probability that some bound is exceeded.

    It is the sum over variables that this one is the first to exceed its bound: no
    small probability is a difference of large ones.
    """
    bounded: Tensor = evidence.bounded
    num_axes = bounded.shape.rank - 1 - tables.batch_rank
    shape = bounded.shape[-1 - num_axes : -1].as_list()
    flags = np.broadcast_to(np.asarray(can_be_bounded), shape)
    num_terms = int(flags.sum())
    place = np.full(shape, num_terms)
    place[flags] = np.arange(num_terms)
    term, place = (
        np.arange(num_terms)[:, np.newaxis],
        place[..., np.newaxis, np.newaxis],
    )

    def merged(value: Tensor) -> Tensor:  # [..., term, N] to [..., term N]
        return merge_axes(value, -2, 0)

    def repeated(value: Tensor) -> Tensor:
        return tf.concat([value] * num_terms, axis=-1)

    first = bounded[..., tf.newaxis, :] & (place == term)
    observed = evidence.observed
    by_term = dataclasses.replace(
        evidence,
        x=repeated(evidence.x),
        observed=None if observed is None else repeated(observed),
        bounded=merged(bounded[..., tf.newaxis, :] & (place <= term)),
        exceeded=merged(first),
    )
    joint = program.log_joint(tables, by_term)
    shape = tf.concat([tf.shape(joint)[:-1], [num_terms, tf.shape(bounded)[-1]]], 0)
    joint = tf.reshape(joint, shape)
    is_asked = tf.reduce_any(first, axis=list(range(-2 - num_axes, -2)))
    joint = tf.where(is_asked[..., tf.newaxis, :, :], joint, minus_infinity(joint))
    return logsumexp(joint, axis=-2)


def sample(
    event: Event,
    tables: ProgramTables,
    n: Tensor,
    seed: Tensor,
    given: Given | None = None,
) -> Tensor:
    """``[n] + S + P + event``."""
    evidence = None if given is None else possible(event, tables, given)
    return event.from_kernel(event.program.draw(tables, n, seed, evidence))


def mode(
    event: Event,
    tables: ProgramTables,
    given: Given | None = None,
) -> Tensor:
    """``S + P + event``."""
    evidence = None if given is None else possible(event, tables, given)
    return event.from_kernel(event.program.best(tables, evidence))


def mean_and_variance(
    event: Event,
    tables: ProgramTables,
    given: Given | None = None,
) -> tuple[Tensor, Tensor]:
    """Each ``S + P + event``."""
    evidence = None if given is None else possible(event, tables, given)
    mean, variance = event.program.mean_and_variance(tables, evidence)
    return event.from_kernel(mean), event.from_kernel(variance)


def covariance(
    event: Event,
    tables: Tables,
    given: Given | None = None,
) -> Tensor:
    """``S + P + [V, V]``."""
    evidence = None if given is None else possible(event, tables, given)
    matrix = moments.covariance(event.program.step, tables, evidence)
    if event.is_full:
        return matrix
    rows = tf.gather(matrix, event.variables, axis=-2)
    return tf.gather(rows, event.variables, axis=-1)


def possible(event: Event, tables: ProgramTables, given: Given) -> Evidence:
    """Evidence for queries that are given it: impossible values are hidden.

    A value outside of the support has no conditional distribution; it is treated as
    missing.
    """
    evidence = event.evidence(given, tables.batch_rank)
    log_base = event.program.leaf.log_base(evidence.x)
    return evidence.hidden_unless(log_base > -float("inf"))


def sum_over_classes(joint: Tensor) -> Tensor:
    """``log p(x)`` of ``log p(x, c) [..., C]``."""
    return joint[..., 0] if joint.shape[-1] == 1 else logsumexp(joint, axis=-1)


MAX_TERMS = 32
"""Of more variables a survival function is one less the cdf."""


def check_broadcasts(lead: tf.TensorShape, distribution: tfd.Distribution) -> None:
    """Raises if the leading axes of a value do not fit a distribution's batch."""
    batch = distribution.batch_shape
    if not batch.rank:
        return
    try:
        tf.broadcast_static_shape(lead, batch)
    except ValueError:
        event = [*map(str, distribution.event_shape)]
        ones = ", ".join(["1"] * batch.rank + event)
        raise ValueError(
            f"{type(distribution).__name__}: received a value with leading axes "
            f"{tuple(lead)}, expected ones that broadcast with the batch shape "
            f"{tuple(batch)}. To evaluate each value under all members of the batch, "
            f"reshape it to [..., {ones}]."
        ) from None
