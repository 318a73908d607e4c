"""Arrays that Keras' `fit` is given: what no parameters make possible is refused.

Such an example has an infinite loss, whatever is learned, which says nothing of why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import Data
from tfp_spn.programs.impossible_values import first_impossible, leaf_of_column
from tfp_spn.programs.program import Program

if TYPE_CHECKING:
    from tfp_spn.circuits.circuit import Circuit


def check_possible(circuit: keras.Model, data: Data) -> None:
    """Checks integers against the leaves, and labels against the classes.

    Args:
        circuit: The Keras model that is trained.
        data: What it is given. Only arrays are read; labels only if its loss needs
            some; examples of weight zero may be anything.

    Raises:
        ValueError: A value is impossible under every component, or a label no class.
    """
    x, observed, y, sample_weight = data
    program = getattr(circuit, "program", None)
    if program is None or not isinstance(x, np.ndarray):
        return
    counted: np.ndarray = np.ones(len(x), bool)
    if isinstance(sample_weight, np.ndarray) and sample_weight.shape[:1] == x.shape[:1]:
        counted = np.any(sample_weight.reshape(len(x), -1), -1)
    owner = f'{type(circuit).__name__} "{circuit.name}"'
    _check_labels(owner, circuit, y, counted)
    if x.shape[1:] == tuple(program.event_shape) and x.dtype.kind in "iufb":
        _check_values(owner, program, x, observed, counted)


def _check_labels(owner: str, circuit: Circuit, y: object, counted: np.ndarray) -> None:
    loss, num_classes = getattr(circuit, "loss", None), circuit.program.num_classes
    if not getattr(loss, "needs_labels", False) or not isinstance(y, np.ndarray):
        return
    if y.shape not in (counted.shape, (*counted.shape, 1)) or y.dtype.kind not in "iuf":
        return
    labels = y.reshape(-1)[counted]
    labels = labels[labels != getattr(loss, "unlabelled", None)]
    wrong = labels[~((labels >= 0) & (labels < num_classes))]
    if len(wrong):
        raise ValueError(
            f"{owner}: labels are no classes of the circuit, received {wrong[0]} "
            f"({len(wrong)} such labels), expected 0 to {num_classes - 1}. Renumber "
            "them, build the circuit with more num_classes, or say which label stands "
            "for none, as in HybridGenerativeDiscriminative(unlabelled=-1)."
        )


def _check_values(
    owner: str,
    program: Program,
    x: np.ndarray,
    observed: TensorLike | None,
    counted: np.ndarray,
) -> None:
    step = program.step
    shape = (len(x), -1, step.num_variables)
    seen = np.ones(program.mask_shape, bool) if observed is None else observed
    if np.shape(seen)[-len(program.mask_shape) :] != tuple(program.mask_shape):
        return  # of whole steps, or wrong: others say so
    seen = np.broadcast_to(seen, (len(x), *program.mask_shape)).reshape(shape)
    is_discrete = np.zeros(step.num_variables, bool)
    for part in step.leaf.parts(step.layout):
        is_discrete[part.variables] = part.leaf.is_discrete
    if not is_discrete.any():
        return
    values = x.reshape(len(x), -1, step.num_dims)
    counts = (seen & is_discrete).reshape(values.shape[:2])
    counts &= counted[:, np.newaxis] & ~np.isnan(values).any(-1)  # others tell of NaN
    found = first_impossible(step, values, counts)
    if found is None:
        return
    start, impossible = found
    row, column = map(int, np.argwhere(impossible)[0])
    leaf, value = leaf_of_column(step, column), values[start + row, column]
    raise ValueError(
        f"{owner}: a value has probability zero under every component of "
        f"{leaf.label}, received {value[0] if len(value) == 1 else value} at row "
        f"{start + row}, column {column}, expected a value of the leaf's support: "
        f"{leaf.support}. Correct or recode it, choose another leaf, or hide it by "
        "observed=False."
    )
