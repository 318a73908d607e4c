"""The classes of a class-rooted circuit as a batch of circuits that share all else."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.circuits.program import Gather, Program, Step, SumSpec
from tfp_spn.ops.log_space import safe_log
from tfp_spn.ops.sum_rules import SumOpGradBackprop

_SELECTOR = "selector"
_cache: weakref.WeakKeyDictionary[Any, ComponentsCircuit] = weakref.WeakKeyDictionary()


class ComponentsCircuit:
    """A circuit whose parameters have a batch dimension ``[num_classes]``.

    One more step selects a class root by weights of zero and one; only this step's
    weights carry the batch dimension, so everything below is computed once.

    Args:
        circuit: A circuit with several classes.
    """

    def __init__(self, circuit: Any) -> None:
        self._circuit = circuit
        self.program = _with_selector(circuit.program)

    def live_params(self) -> Params:
        """The circuit's un-read variables, without the prior, and the selector."""
        params = dict(self._circuit.live_params())
        del params["prior"]
        return {**params, _SELECTOR: self.selector()}

    def selector(self) -> Any:
        """``[C, 1, C, 1]``: log-weights of zero and one."""
        program = self._circuit.program
        eye = tf.eye(program.num_classes, dtype=program.dtype)
        return safe_log(eye)[:, tf.newaxis, :, tf.newaxis]


def components_of(circuit: Any) -> ComponentsCircuit:
    """The circuit's components; the same object for the same circuit."""
    if circuit not in _cache:
        _cache[circuit] = ComponentsCircuit(circuit)
    return _cache[circuit]


def _with_selector(program: Program) -> Program:
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
