"""What may be changed between the E-step and the M-step.

An adjustment turns the expected counts of a batch (or of all data) into others, of
which the M-step is then taken: averages over batches, priors, penalties. Adjustments
are frozen dataclasses: they become part of a compiled step.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.ops.certainty import CHECKED
from tfp_spn.programs.program import Program


@dataclass(eq=False)
class Update:
    """An M-step before it is taken.

    Attributes:
        program: The circuit.
        tables: Its parameters, ready for evaluation.
        step_size: Of the M-step.
        pseudocount: Of the sums, in the M-step.
        leaf_pseudocount: Of the leaves.
        slots: Variables of the adjustment by name.
        changes: Their new values.
        sum_steps: Step sizes ``[R, 1, O]`` of sums, by what is used as one; of others
            `step_size`.
    """

    program: Program
    tables: Any
    step_size: Tensor
    pseudocount: Tensor
    leaf_pseudocount: Tensor
    slots: Params = field(default_factory=dict)
    changes: Params = field(default_factory=dict)
    sum_steps: Params = field(default_factory=dict)


class Adjustment(abc.ABC):
    """Changes expected counts before an M-step.

    Attributes:
        needs_marginals: Whether it needs leaf statistics of all examples alike.
    """

    needs_marginals = False

    def slots(self, structure: Expectations) -> Params:
        """Initial values of variables that it keeps from step to step.

        Args:
            structure: Shapes of expectations, as `tf.TensorSpec`.
        """
        return {}

    @abc.abstractmethod
    def __call__(self, update: Update, expectations: Expectations) -> Expectations:
        """The expectations that the M-step is to be taken of."""


def structure_of(program: Program, params: Params) -> Expectations:
    """Shapes of the expectations of a circuit, without computing any."""

    @tf.function(autograph=False)
    def of_nothing() -> Expectations:
        return program.expectations(
            program.tables(params, CHECKED), nothing_known(program)
        )[0]

    return of_nothing.get_concrete_function().structured_outputs


def nothing_known(program: Program) -> Evidence:
    """Evidence of one example of which nothing is observed."""
    x = tf.zeros([1, *program.event_shape], program.dtype)
    return program.evidence(x, tf.zeros([1, *program.mask_shape], tf.bool))


def apply_all(
    adjustments: tuple[Adjustment, ...],
    update: Update,
    expectations: Expectations,
    slots: Params,
) -> tuple[Expectations, Params]:
    """The expectations after all of them, and new values of their variables.

    Args:
        adjustments: In order.
        update: The M-step.
        expectations: Of the E-step.
        slots: Variables by name, those of adjustment ``n`` beginning with ``n/``.
    """
    changes: Params = {}
    for number, adjustment in enumerate(adjustments):
        prefix = f"{number}/"
        update.slots = {
            name.removeprefix(prefix): tf.convert_to_tensor(value)
            for name, value in slots.items()
            if name.startswith(prefix)
        }
        update.changes = {}
        expectations = adjustment(update, expectations)
        changes.update({prefix + n: value for n, value in update.changes.items()})
    return expectations, changes


SLOT = "slot/"
"""What the names of slots begin with, among parameters."""


def slots_of(adjustments: tuple[Adjustment, ...], circuit: Circuit) -> Params:
    """Variables of all adjustments, by name."""
    if all(type(a).slots is Adjustment.slots for a in adjustments):
        return {}
    structure = structure_of(circuit.program, circuit.live_params())
    return {
        f"{SLOT}{number}/{name}": tf.Variable(value, trainable=False, name=name)
        for number, adjustment in enumerate(adjustments)
        for name, value in adjustment.slots(structure).items()
    }
