"""The M-step: from expected counts to new parameters.

    w_new = (1 - step) w + step (n + a / I) / (sum n + a)

for the ``I`` weights of a sum with counts ``n`` and pseudocount ``a``; leaves move
their mean parameters alike (`BaseLeaf.maximize`). A sum or component that received no
count at all keeps its parameters, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection

import keras
import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_layers import from_layers
from tfp_spn.programs.parameter_names import leaf_name
from tfp_spn.programs.program import Program
from tfp_spn.programs.steps import SumSpec

MIN_WEIGHT = 1e-12
"""Floor of new weights: none is ever exactly zero, or EM could not revive it."""


def maximize(
    program: Program,
    params: Params,
    expectations: Expectations,
    step_size: TensorLike = 1.0,
    pseudocount: TensorLike = 0.01,
    trainable: Collection[str] | None = None,
    *,
    sum_steps: Params | None = None,
    leaf_pseudocount: TensorLike | None = None,
) -> Params:
    """Parameters that maximise the expected log-likelihood, or a step towards them.

    With ``step_size=1`` and ``pseudocount=0`` on the expectations of all data this is
    a step of EM, which never lowers the likelihood. Weights below `MIN_WEIGHT` (1e-12)
    are raised to it, but those whose logarithm is ``-inf``: such edges are pruned.

    Args:
        program: The circuit.
        params: The parameters that the expectations were taken under.
        expectations: Results of `expected_statistics`, summed over batches.
        step_size: How far to go, from 0 to 1.
        pseudocount: Examples added to every sum, spread evenly over its children, and
            to every leaf component (what those look like is the family's choice).
        trainable: Names of the parameters to change. Default: all.
        sum_steps: Step sizes ``[R, 1, O]`` of some sums, by name in
            ``program.block_specs``.
        leaf_pseudocount: Another pseudocount of leaves.

    Returns:
        New values of all parameters, in the shapes and the parametrisation of `params`.
    """
    tables = program.tables(params)
    new = {name: tf.convert_to_tensor(value) for name, value in params.items()}
    counts, old = program.packed(expectations["sums"]), program.packed(new)
    step, added = tf.cast(step_size, program.dtype), tf.cast(pseudocount, tf.float64)
    step_of = {} if sum_steps is None else sum_steps
    moved = {
        name: _moved_sum(
            old[name],
            spec,
            tables.weights[name],
            counts[name],
            tf.cast(step_of.get(name, step), program.dtype),
            added,
        )
        for name, spec in program.block_specs.items()
    }
    moved = program.unpacked(moved)
    if program.prior is not None:
        name = program.prior.parameter
        columns = (new[name], tf.exp(tables.log_prior), expectations["sums"][name])
        old, weights, count = (value[:, tf.newaxis] for value in columns)
        moved[name] = _moved_sum(old, program.prior, weights, count, step, added)
    for name, value in moved.items():
        new[name] = tf.reshape(value, tf.shape(new[name]))
    statistics = tf.nest.map_structure(
        lambda value: tf.cast(value, program.dtype), expectations["leaf"]
    )
    of_leaf = pseudocount if leaf_pseudocount is None else leaf_pseudocount
    of_leaf = tf.cast(of_leaf, program.dtype)
    leaf = program.leaf.maximize(tables.leaf, statistics, step, of_leaf)
    for name, value in leaf.items():
        name = leaf_name(name)
        new[name] = tf.reshape(value, tf.shape(new[name]))
    return _frozen(new, params, trainable)


def _frozen(new: Params, params: Params, trainable: Collection[str] | None) -> Params:
    """`new`, but what may not be trained as it was."""
    if trainable is None:
        return new
    return {
        name: value if name in trainable else tf.convert_to_tensor(params[name])
        for name, value in new.items()
    }


def trainable_names(circuit: Circuit) -> frozenset[str]:
    """Names of the parameters whose Keras variable is trainable.

    Keras freezes its own variable, never the `tf.Variable` that it wraps.
    """
    trainable = {id(variable.value) for variable in circuit.trainable_variables}
    params = circuit.live_params()
    return frozenset(name for name, value in params.items() if id(value) in trainable)


def as_circuit(spn: object) -> Circuit:
    """The circuit itself, that of a stack of layers, or that of a distribution."""
    if isinstance(spn, keras.Sequential):
        return from_layers(spn)
    circuit = getattr(spn, "circuit", spn)
    if not isinstance(circuit, Circuit):
        raise TypeError(
            "tfp_spn.learning: there is nothing to train in an object of type "
            f"{type(spn).__name__}; expected a circuit, a keras.Sequential of "
            "tfp_spn.layers, or a SumProductNetwork over a circuit. Build a "
            "circuit with tfp_spn.circuits.from_region_graph."
        )
    if circuit is spn:
        return circuit
    live = circuit.live_params()
    params = getattr(spn, "params", live)
    if any(params[name] is not value for name, value in live.items()):
        raise ValueError(
            "tfp_spn.learning: the distribution has parameters of its own, received "
            f"{spn!r}, expected a view of its circuit's variables. Fit the circuit, or "
            "maximise log_prob over what the parameters are computed from."
        )
    for what, (chosen, total) in getattr(spn, "chosen_of_event", {}).items():
        if chosen != tuple(range(total)):
            raise ValueError(
                f"tfp_spn.learning: the distribution is a marginal, received {what} "
                f"{chosen}, expected all {total} of the circuit. Fit the circuit, with "
                f"observed=False for the other {what}."
            )
    return circuit


def _moved_sum(
    old: Tensor,
    spec: SumSpec,
    weights: Tensor,
    count: Tensor,
    step: Tensor,
    pseudocount: Tensor,
) -> Tensor:
    """New accumulators ``[..., I, O]``."""
    num_inputs = tf.cast(tf.shape(count)[-2], count.dtype)
    total = tf.reduce_sum(count, axis=-2, keepdims=True)
    added = tf.cast(pseudocount, count.dtype)
    target = tf.math.divide_no_nan(count + added / num_inputs, total + added)
    weights = (1 - step) * weights + step * tf.cast(target, weights.dtype)
    weights = tf.maximum(weights, tf.cast(MIN_WEIGHT, weights.dtype))
    if spec.logspace:
        is_pruned = tf.equal(old, -float("inf"))
        weights = tf.where(is_pruned, old, tf.math.log(weights))
    return tf.where(total > 0, weights, old)
