"""Which parameters of a circuit a network predicts, and how it moves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfp_spn._typing import Params, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.layers.leaves.accumulators import NAMES as ACCUMULATORS
from tfp_spn.programs.parameter_names import leaf_name
from tfp_spn.programs.program import Program

_OWNER = "ConditionalSumProductNetwork"


def predicted_names(circuit: Circuit, predicted: str | Sequence[str]) -> list[str]:
    """Names of parameters for words such as ``"leaves"``, in the circuit's order."""
    groups = _groups(circuit)
    live = list(circuit.live_params())
    if isinstance(predicted, str):
        predicted = [predicted]
    if not isinstance(predicted, list | tuple) or not predicted:
        raise ValueError(
            f"{_OWNER}: received predicted={predicted!r}, expected one of "
            f"{list(groups)} or a non-empty list of these and of parameters {live}."
        )
    unknown = [word for word in predicted if word not in (*groups, *live)]
    if unknown:
        raise ValueError(
            f"{_OWNER}: received predicted={list(predicted)}, of which {unknown} is "
            f"unknown. Expected some of {list(groups)}, or parameters of the circuit: "
            f"{live}."
        )
    chosen = {name for word in predicted for name in groups.get(word, [word])}
    stored = sorted(n for n in chosen if n in map(leaf_name, ACCUMULATORS))
    if stored:
        raise ValueError(
            f"{_OWNER}: received predicted={list(predicted)}, but {stored} accumulate "
            "moments and cannot be predicted. Expected a leaf without "
            "use_accumulators=True, or other parameters."
        )
    if not chosen:
        raise ValueError(
            f"{_OWNER}: received predicted={list(predicted)}, but this circuit has no "
            f"such parameters. Expected some of {live}."
        )
    return [name for name in live if name in chosen]


def _groups(circuit: Circuit) -> dict[str, list[str]]:
    """The words for several parameters; constants of leaves are left out."""
    chain = [spec.parameter for spec in circuit.program.chain_specs]
    program = circuit.program.step
    leaves = [
        leaf_name(name)
        for name, variable in program.leaf.parameters.items()
        if variable.trainable or not program.leaf.trainable
    ]
    sums = [step.sums.parameter for step in program.steps if step.sums is not None]
    top = [
        step.sums.parameter
        for number, step in enumerate(program.steps)
        if step.sums is not None and number + 1 in program.root.sources
    ]
    if chain:
        sums, top = [*sums, *chain], chain
    prior = [program.prior.parameter] if program.prior and not chain else []
    prior = [name for name in prior if name not in sums]
    every = dict.fromkeys([*leaves, *sums, *prior])
    return {
        "all": list(every),
        "leaves": leaves,
        "sums": list(dict.fromkeys([*sums, *prior])),
        "root": list(dict.fromkeys([*top, *prior])),
    }


def check_predictions(
    output: TensorLike | Mapping[str, TensorLike], shapes: dict[str, tf.TensorShape]
) -> Params:
    """The network's output as tensors by name, or an error that says what is wrong."""
    if not isinstance(output, Mapping):
        if len(shapes) > 1:
            raise TypeError(
                f"{_OWNER}: the network returned {type(output).__name__}, expected a "
                f"dict of tensors by parameter: {_describe(shapes)}."
            )
        output = {next(iter(shapes)): output}
    if set(output) != set(shapes):
        missing, surplus = set(shapes) - set(output), set(output) - set(shapes)
        raise ValueError(
            f"{_OWNER}: the network returned parameters {sorted(output)}: missing "
            f"{sorted(missing)}, not to be predicted {sorted(surplus)}. Expected "
            f"{_describe(shapes)}."
        )
    return {name: _checked(name, output[name], shapes[name]) for name in shapes}


def _checked(name: str, value: TensorLike, shape: tf.TensorShape) -> Tensor:
    """Returns a prediction as a tensor, or says what is wrong with its shape."""
    try:
        value = tf.convert_to_tensor(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{_OWNER}: the network predicted {type(value).__name__} for parameter "
            f"{name!r}, expected a tensor [*batch, {', '.join(map(str, shape))}]."
        ) from None
    rank = value.shape.rank
    if rank is None or rank < shape.rank or not _ends_in(value.shape, shape):
        received = "unknown rank" if rank is None else f"shape {tuple(value.shape)}"
        raise ValueError(
            f"{_OWNER}: the network predicted parameter {name!r} of {received}, "
            f"expected [*batch, {', '.join(map(str, shape))}]. Reshape the network's "
            "output."
        )
    return tf.ensure_shape(value, [*value.shape[: rank - shape.rank], *shape])


def _ends_in(received: tf.TensorShape, shape: tf.TensorShape) -> bool:
    """Whether the last axes of a shape are those of another one."""
    tail = received[received.rank - shape.rank :]
    return tail.is_compatible_with(shape)


def _describe(shapes: dict[str, tf.TensorShape]) -> str:
    """Lists parameters with their shapes, for messages."""
    return ", ".join(
        f"{name!r}: [*batch, {', '.join(map(str, shape))}]"
        for name, shape in shapes.items()
    )


def moved(program: Program, name: str, parameter: Tensor, change: Tensor) -> Tensor:
    """A parameter moved by what a network predicts: for any numbers a legal one."""
    parameter = tf.convert_to_tensor(parameter)
    change = tf.cast(change, parameter.dtype)
    is_linear = any(s.parameter == name and not s.logspace for s in program.sum_specs)
    return parameter * tf.exp(change) if is_linear else parameter + change
