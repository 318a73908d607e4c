"""The classes of a class-rooted circuit as a batch of circuits that share all else."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.circuits.from_layers import LayeredCircuit
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.sum_rules import SumOpGradBackprop
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.parameter_names import PRIOR
from tfp_spn.programs.steps import Gather, Step, SumSpec

_SELECTOR = "selector"


class ComponentsCircuit:
    """A circuit whose parameters have a batch dimension ``[num_classes]``.

    One more step selects a class root by weights of zero and one; only this step's
    weights carry the batch dimension, so everything below is computed once.

    Args:
        circuit: A circuit with several classes.
    """

    def __init__(self, circuit: RegionGraphCircuit | LayeredCircuit) -> None:
        self.circuit = circuit
        self.source = circuit.program
        self.program = _with_selector(self.source)

    def __call__(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """``log p(x | class)``, ``[batch, num_classes]``, as circuits are called.

        (Being callable, it is also compared by identity in the `tf.TypeSpec` of a
        distribution.)
        """
        program = self.program
        x = tf.cast(x, program.dtype)[:, tf.newaxis]
        observed = None if observed is None else observed[:, tf.newaxis]
        evidence = program.evidence(x, observed, batch_rank=1)
        tables = program.tables(self.live_params())
        by_class = program.log_joint(tables, evidence)  # [C, 1, N]
        return tf.transpose(by_class[:, 0])

    def live_params(self) -> Params:
        """The circuit's un-read variables, without the prior, and the selector."""
        params = dict(self.circuit.live_params())
        del params[PRIOR]
        return {**params, _SELECTOR: self.selector()}

    def selector(self) -> Tensor:
        """``[C, 1, C, 1]``: log-weights of zero and one."""
        program = self.circuit.program
        eye = tf.eye(program.num_classes, dtype=program.dtype)
        return safe_log(eye)[:, tf.newaxis, :, tf.newaxis]


def components_of(circuit: RegionGraphCircuit | LayeredCircuit) -> ComponentsCircuit:
    """The circuit's components; the same object for the same circuit.

    Kept on the circuit itself, so that they live as long as it does.
    """
    known = getattr(circuit, "_components", None)
    if known is None or known.source is not circuit.program:
        known = ComponentsCircuit(circuit)
        circuit._components = known
    return known


def _with_selector(program: CircuitProgram) -> CircuitProgram:
    num_roots = len(program.root.index)
    step = Step(
        factors=(program.root,),
        widths=(program.num_classes // num_roots,),
        num_regions=1,
        num_partitions=num_roots,
        product="hadamard",
        sums=SumSpec(_SELECTOR, 1, SumOpGradBackprop(), always_exact=True),
    )
    return dataclasses.replace(
        program,
        steps=(*program.steps, step),
        root=Gather((len(program.steps) + 1,), (1,), program.root.index[:1] * 0),
        num_classes=1,
        prior=None,
    )
