"""Flows of the hard rules: one selected child per reached sum, followed from the root.

Under a hard rule an example's flow stays in one induced tree. Following it with integer
indices does the work of that tree, where a backward pass would route zeros through all
sums of the circuit, one output after another.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import Expectations, Tensor
from tfp_spn.ops.log_space import is_finite, logsumexp, safe_log
from tfp_spn.ops.sum_rules import SumRule, tie_seed
from tfp_spn.programs.evaluation import Evaluation, with_inputs
from tfp_spn.programs.examples import Examples, as_columns
from tfp_spn.programs.folded_program import FoldedProgram, by_block
from tfp_spn.programs.labels import UNLABELLED, log_joint_of_labels
from tfp_spn.programs.selected import Selected
from tfp_spn.programs.selection import (
    Choice,
    by_output,
    follow,
    root_region,
    row_of_sum,
)
from tfp_spn.programs.steps import Step, SumSpec
from tfp_spn.programs.tables import Tables


def is_hard(program: FoldedProgram) -> bool:
    """Whether all sums, and the choice of the class, select one child each."""
    return bool(program.sum_specs) and all(
        spec.rule.is_one_hot for spec in program.sum_specs
    )


def hard_flows(
    program: FoldedProgram,
    tables: Tables,
    leaves: Tensor,
    weights: Tensor,
    labels: Tensor | None,
) -> tuple[Tensor, Expectations]:
    """What a backward pass under the hard rules would give.

    Args:
        program: The circuit; its parameters have no batch dimensions.
        tables: Its parameters.
        leaves: Log-values of the leaf regions, ``[R, K, N]``.
        weights: How often each example counts, ``[N]``.
        labels: Classes, int ``[N]``, or `None`.

    Returns:
        ``log p(x | class) [C, N]`` and flows: ``leaves [R, K, N]``, ``log_weights``
        ``[regions, I, O]`` by parameter, ``log_prior [C]`` (empty without one).
    """
    loops = program.in_scans(tables, leaves)

    def route(evaluation: Evaluation) -> tuple[Tensor, Expectations]:
        return _Routing(*loops, evaluation, weights, labels).flows()

    return with_inputs(*loops, leaves, route)


class _Routing:
    """One pass down."""

    def __init__(
        self,
        program: FoldedProgram,
        tables: Tables,
        evaluation: Evaluation,
        weights: Tensor,
        labels: Tensor | None,
    ) -> None:
        self.program = program
        self.tables = tables
        self.evaluation = evaluation
        self.weights = weights
        self.labels = labels
        self.examples = Examples(tf.zeros([0], tf.int32), 0, tf.shape(weights)[0])
        self.counts: dict[int, Tensor] = {}

    def flows(self) -> tuple[Tensor, Expectations]:
        """Roots and flows, see `hard_flows`."""
        program, log_prior = self.program, self.tables.log_prior
        log_joint = roots = self.evaluation.log_joint
        if self.labels is None:
            log_prob = logsumexp(log_joint, axis=0)
        else:
            log_prob = log_joint_of_labels(log_joint, self.labels)
        possible = is_finite(log_prob)
        self.weights = tf.where(possible, self.weights, tf.zeros_like(self.weights))
        if log_prior is None:
            chosen = tf.zeros([1, self.examples.count], tf.int32)
            prior_counts: list[Tensor] = []
        else:
            roots -= log_prior[:, tf.newaxis]
            chosen = self._class(log_prior)
            prior_counts = tf.math.unsorted_segment_sum(
                self.weights, chosen[0], program.num_classes
            )
        root = root_region(program, chosen)
        leaf = follow(program, self.examples, root, self._choice, self._note)
        steps = enumerate(program.steps)
        counts = [self.counts[n] for n, step in steps if step.sums is not None]
        flows = {
            "leaves": self._leaf_flow(leaf),
            "log_weights": by_block(program.steps, counts),
            "log_prior": prior_counts,
        }
        return roots, flows

    def _class(self, log_prior: Tensor) -> Tensor:
        """int32 ``[1, N]``."""
        likeliest = self._likeliest_class(log_prior)
        if self.labels is None:
            return likeliest
        labels = tf.cast(self.labels, tf.int32)[tf.newaxis]
        known = tf.clip_by_value(labels, 0, self.program.num_classes - 1)
        return tf.where(labels == UNLABELLED, likeliest, known)

    def _likeliest_class(self, log_prior: Tensor) -> Tensor:
        """Returns the class that the rule of the prior selects."""
        log_x = (self.evaluation.relative - log_prior[:, tf.newaxis])[tf.newaxis]
        prior: Any = self.program.prior  # there is one with a `log_prior`
        return _select(prior, log_x, log_prior[:, tf.newaxis])

    def _choice(self, number: int) -> Choice:
        """How a step chooses; see `tfp_spn.programs.selection`."""
        step: Step = self.program.steps[number]
        spec = step.sums
        if spec is None:
            return lambda selected, _: tf.maximum(selected.units, 0)
        table = by_output(self.tables.log_weights_of(number), step)
        inputs = self.evaluation.inputs[number]

        def choose(selected: Selected, _: int | Tensor) -> Tensor:
            children = self.examples.evidence(inputs, selected.regions)
            log_x = children if self.evaluation.is_log else safe_log(children)
            rows = self.examples.rows(table, 2, row_of_sum(step, selected))
            return _select(spec, log_x, tf.linalg.matrix_transpose(rows))

        return choose

    def _note(self, number: int, selected: Selected, child: Tensor) -> None:
        """Counts how often the sums of a step select each child."""
        step = self.program.steps[number]
        if step.sums is None:
            return
        row = row_of_sum(step, selected)
        num_rows = (1 if step.sums.shared else step.num_regions) * step.num_outputs
        cell = tf.where(selected.units >= 0, row * step.num_inputs + child, -1)
        counts = tf.math.unsorted_segment_sum(
            tf.reshape(tf.broadcast_to(self.weights, tf.shape(cell)), [-1]),
            tf.reshape(cell, [-1]),
            num_rows * step.num_inputs,
        )
        shape = [-1, step.num_outputs, step.num_inputs]
        self.counts[number] = tf.linalg.matrix_transpose(tf.reshape(counts, shape))

    def _leaf_flow(self, selected: Selected) -> Tensor:
        """``[R, K, N]``."""
        layout, num_units = self.program.layout, self.program.leaf.num_components
        num_examples = self.examples.count
        cell = as_columns(selected.regions) * num_units + tf.maximum(selected.units, 0)
        cell = cell * num_examples + tf.range(num_examples)
        cell = tf.where(selected.units >= 0, cell, -1)
        flow = tf.math.unsorted_segment_sum(
            tf.reshape(tf.broadcast_to(self.weights, tf.shape(cell)), [-1]),
            tf.reshape(cell, [-1]),
            layout.num_regions * num_units * num_examples,
        )
        return tf.reshape(flow, [layout.num_regions, num_units, num_examples])


def _select(spec: SumSpec, log_x: Tensor, log_w: Tensor) -> Tensor:
    """int32 ``[A, N]``: the child of each sum, ``log_x`` and `log_w` ``[A, I, N]``."""
    rule: SumRule = spec.rule
    log_weighted = log_x if rule.shares_selection else log_x + log_w
    log_sum = logsumexp(log_weighted, -2, keepdims=True)
    selection = rule.select(log_weighted, log_sum, tie_seed(rule, log_x))
    return tf.argmax(selection, axis=-2, output_type=tf.int32)
