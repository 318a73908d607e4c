"""The functions of a batch that learning computes; equal circuits share them.

They are bodies of `tfp_spn.programs.traces`: what they know of a circuit is its
program; parameters, tensors or variables, are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.learning.adjustment import SLOT, Adjustment, Update, apply_all
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.e_step import PLAIN, EStep
from tfp_spn.learning.maximization import maximize
from tfp_spn.ops.certainty import Certainty
from tfp_spn.ops.log_space import is_finite, logsumexp
from tfp_spn.programs.labels import log_joint_of_labels
from tfp_spn.programs.program import Program, ProgramTables


def sum_of(_: Program, __: Certainty, ___: Params, a: Tensor, b: Tensor) -> Tensor:
    """Adds what was computed for two batches."""
    return tf.nest.map_structure(tf.add, a, b)


@dataclass(frozen=True)
class Maximization:
    """The M-step, assigned to variables, unless what it is based on lost digits.

    Attributes:
        names: The parameters to change.
        adjustments: What is changed of the expectations before. Their variables are
            among the parameters, under names that begin with `SLOT`.
    """

    names: frozenset[str]
    adjustments: tuple[Adjustment, ...] = ()

    def __call__(
        self,
        program: Program,
        certainty: Certainty,
        params: Params,
        expectations: Expectations,
        step_size: Tensor,
        pseudocount: Tensor,
    ) -> None:
        """Moves `params`, which are variables."""
        own = {n: v for n, v in params.items() if not n.startswith(SLOT)}
        slots = {n[len(SLOT) :]: v for n, v in params.items() if n.startswith(SLOT)}
        update = Update(
            program,
            program.tables(own, certainty) if self.adjustments else None,
            step_size,
            pseudocount,
            pseudocount,
        )
        expectations, changes = apply_all(self.adjustments, update, expectations, slots)
        new = maximize(
            program,
            own,
            expectations,
            step_size,
            update.pseudocount,
            self.names,
            sum_steps=update.sum_steps,
            leaf_pseudocount=update.leaf_pseudocount,
        )
        new = {name: new[name] for name in self.names}
        new.update({SLOT + name: value for name, value in changes.items()})
        for name in sorted(new):
            value = new[name]
            if certainty.flags:
                value = tf.where(certainty.is_lossy, params[name], value)
            params[name].assign(value)


@dataclass(frozen=True)
class OnlineStep:
    """The E-step of a batch and the M-step that follows.

    Attributes:
        names: The parameters to change.
        adjustments: See `Maximization`.
        e_step: What the E-step does besides.
    """

    names: frozenset[str]
    adjustments: tuple[Adjustment, ...] = ()
    e_step: EStep = PLAIN

    def __call__(
        self,
        program: Program,
        certainty: Certainty,
        params: Params,
        batch: Batch,
        step_size: Tensor,
        pseudocount: Tensor,
        *numbers: Tensor,
    ) -> Expectations:
        """Moves `params` and returns scalars: log-likelihood and number of examples."""
        found = self.e_step(program, certainty, params, batch, *numbers)
        move = Maximization(self.names, self.adjustments)
        move(program, certainty, params, found, step_size, pseudocount)
        return {name: found[name] for name in ("log_likelihood", "num_examples")}


@dataclass(frozen=True)
class Slopes:
    """The gradient of the log-likelihood.

    Attributes:
        names: The parameters to differentiate by, in order.
    """

    names: tuple[str, ...]

    def __call__(
        self, program: Program, certainty: Certainty, params: Params, batch: Batch
    ) -> Expectations:
        """Weighted sums, which add over replicas as means would not."""
        params = {name: tf.convert_to_tensor(value) for name, value in params.items()}
        sources = [params[name] for name in self.names]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            log_prob = _log_prob(program, program.tables(params, certainty), batch)
            possible = tf.where(is_finite(log_prob), log_prob, 0.0)
            loss = -tf.reduce_sum(possible * batch.weights)
        log_prob = tf.math.multiply_no_nan(log_prob, batch.weights)
        return {
            "gradients": tape.gradient(loss, sources),
            "log_likelihood": tf.reduce_sum(tf.cast(log_prob, tf.float64)),
            "weight": tf.reduce_sum(batch.weights),
        }


def log_likelihood_of(
    program: Program, certainty: Certainty, params: Params, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Sum of log-likelihoods, and of weights, in double precision."""
    return log_likelihood_under(program, program.tables(params, certainty), batch)


def log_likelihood_under(
    program: Program, tables: ProgramTables, batch: Batch
) -> tuple[Tensor, Tensor]:
    """The same under parameters in the kernel's shapes."""
    log_prob = tf.cast(_log_prob(program, tables, batch), tf.float64)
    weights = tf.cast(batch.weights, tf.float64)
    log_prob = tf.reduce_sum(tf.math.multiply_no_nan(log_prob, weights))
    return log_prob, tf.reduce_sum(weights)


def _log_prob(program: Program, tables: ProgramTables, batch: Batch) -> Tensor:
    """``log p(x)`` or ``log p(x, label)``, ``[N]``."""
    joint = program.log_joint(tables, batch.evidence(program), is_whole=True)
    if batch.labels is None:
        return logsumexp(joint, axis=-2)
    return log_joint_of_labels(joint, batch.labels)
