"""A circuit over one step, repeated in time: what a dynamic circuit computes.

    p(x) = sum_{q_1 ... q_T} p(q_1) c_{q_1}(x_1) prod_t p(q_t | q_{t-1}) c_{q_t}(x_t)

``c_k`` are the class roots of any compiled circuit over one step, the template. From
step to step an interface of ``Z`` units carries on what is known of the past:

- ``sum_product=None``: each unit of the interface is a sum over the ``Z`` products of a
  root and the next interface unit of the same index: a hidden Markov model,
- ``"tucker"``: over the products of all combinations of a root and a unit,
- ``"cp"``: over the products of each root with one of as many *sums over units*, so
  that the interface may be narrower than the template.

Products of a step are its hidden states ``q``; time runs forward, so that the first
steps alone, and sequences of unequal length, are marginals.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.ops.axes import move_axis, reshape_axes
from tfp_spn.ops.certainty import CHECKED, Certainty
from tfp_spn.ops.chain import Chain
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weights import normalized_log_weights, normalized_weights
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.parameter_names import INITIAL, INTERFACE, TRANSITION
from tfp_spn.programs.steps import SumSpec
from tfp_spn.programs.tables import Tables, batch_of
from tfp_spn.programs.traces import Traces, traces_of

SumProduct = Literal["cp", "tucker"]


@dataclass(frozen=True, eq=False)
class DynamicTables:
    """Parameters made ready for evaluation.

    Attributes:
        step: Those of the template; an axis of steps may follow the batch.
        initial: Log-weights ``[..., Q]``.
        transition: ``[T', ..., Q, Z]``, ``T'`` is 1 or ``T - 1``.
        interface: ``[T', ..., Z, Q]``, or `None`.
        weights: Normalised weights of all sums, as they are used.
        batch_rank: Number of leading batch dimensions ``P`` of the parameters.
    """

    step: Tables
    initial: Tensor
    transition: Tensor
    interface: Tensor | None
    weights: Params
    batch_rank: int

    @property
    def leaf(self) -> Params:
        """Canonical leaf parameters, those of the template."""
        return self.step.leaf

    @property
    def log_prior(self) -> None:
        """A dynamic circuit has one root."""
        return


@dataclass(frozen=True, eq=False)
class DynamicStructure:
    """What a dynamic program is made of.

    Attributes:
        step: The template, without class prior.
        num_steps: Steps ``T`` of a sequence.
        num_interfaces: Units ``Z`` of the interface.
        sum_product: How template and interface are multiplied; see the module.
        rule: Learning rule of the sums of the interface.
        is_stationary: Whether all transitions share their weights.
        parameters_in_time: Names of template parameters with an axis of steps.
    """

    step: CircuitProgram
    num_steps: int
    num_interfaces: int
    sum_product: SumProduct | None
    rule: SumRule
    is_stationary: bool = True
    parameters_in_time: frozenset[str] = frozenset()

    @property
    def leaf(self) -> BaseLeaf:
        """The template's leaf layer."""
        return self.step.leaf

    @property
    def num_units(self) -> int:
        """Units of all steps."""
        return self.num_steps * self.step.num_units

    @property
    def num_roots(self) -> int:
        """Class roots ``K`` of the template."""
        return self.step.num_classes

    @property
    def num_states(self) -> int:
        """Products ``Q`` of a step."""
        if self.sum_product == "tucker":
            return self.num_roots * self.num_interfaces
        return self.num_roots

    @property
    def num_transitions(self) -> int:
        """Transitions ``T'`` with weights of their own."""
        return 1 if self.is_stationary else max(1, self.num_steps - 1)

    @property
    def num_variables(self) -> int:
        """Variables of one step."""
        return self.step.num_variables

    @property
    def num_dims(self) -> int:
        """Dimensions of each variable."""
        return self.step.num_dims

    @property
    def num_classes(self) -> int:
        """A dynamic circuit has one root."""
        return 1

    @property
    def prior(self) -> None:
        """A dynamic circuit has one root."""
        return

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``[T, *event_shape]`` of the template's."""
        return (self.num_steps, *self.step.event_shape)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """``[T, *mask_shape]`` of the template's."""
        return (self.num_steps, *self.step.mask_shape)

    @property
    def mask_shapes(self) -> tuple[tuple[int, ...], ...]:
        """`mask_shape`, or one flag for each step."""
        ones = [1] * len(self.step.mask_shape)
        return (self.mask_shape, (self.num_steps, *ones))

    @property
    def flat_event_ndims(self) -> int:
        """Rank of an event whose pixels are in one axis."""
        return 1 + self.step.flat_event_ndims

    @property
    def dtype(self) -> tf.DType:
        """Dtype of parameters and log-probabilities."""
        return self.step.dtype

    @property
    def event_dtype(self) -> tf.DType:
        """Dtype of samples: int32 for discrete variables."""
        return self.step.event_dtype

    @functools.cached_property
    def chain_specs(self) -> tuple[SumSpec, ...]:
        """The sums of the interface."""
        specs = [
            SumSpec(INITIAL, 1, self.rule),
            SumSpec(TRANSITION, self.num_interfaces, self.rule),
        ]
        if self.sum_product == "cp":
            specs.append(SumSpec(INTERFACE, self.num_states, self.rule))
        return tuple(specs)

    @functools.cached_property
    def sum_specs(self) -> tuple[SumSpec, ...]:
        """The sums of the template, then those of the interface."""
        return (*self.step.sum_specs, *self.chain_specs)

    @functools.cached_property
    def chain_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Shapes ``[T', inputs, sums]`` of the accumulators of the interface."""
        states, units = self.num_states, self.num_interfaces
        shapes = {
            INITIAL: (1, states, 1),
            TRANSITION: (self.num_transitions, states, units),
            INTERFACE: (self.num_transitions, units, states),
        }
        return {spec.parameter: shapes[spec.parameter] for spec in self.chain_specs}

    @functools.cached_property
    def block_specs(self) -> dict[str, SumSpec]:
        """The sums of all that is used as one, by name."""
        chain = {spec.parameter: spec for spec in self.chain_specs}
        return {**self.step.block_specs, **chain}

    def packed(self, values: Params) -> Params:
        """What is used as one, of values by parameter."""
        chain = {spec.parameter: values[spec.parameter] for spec in self.chain_specs}
        return {**self.step.packed(values), **chain}

    def unpacked(self, values: Params) -> Params:
        """Values by parameter, of what is used as one."""
        chain = {spec.parameter: values[spec.parameter] for spec in self.chain_specs}
        step = {name: values[name] for name in self.step.block_specs}
        return {**self.step.unpacked(step), **chain}

    @functools.cached_property
    def param_event_ndims(self) -> dict[str, int]:
        """Rank of each parameter of one circuit; further leading axes are batch."""
        ndims = dict(self.step.param_event_ndims)
        for name in self.parameters_in_time:
            ndims[name] += 1
        ndims.update({spec.parameter: spec.event_ndims for spec in self.chain_specs})
        return dict(sorted(ndims.items()))

    @functools.cached_property
    def digest(self) -> str:
        """A hash of all that a trace depends on."""
        parts = [
            *(self.step.digest, self.num_steps, self.num_interfaces, self.sum_product),
            *(self.rule, self.is_stationary, sorted(self.parameters_in_time)),
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @functools.cached_property
    def digest_in_version_1(self) -> str:
        """What files of tfp_spn 0.1 tell structures apart by."""
        shape = (self.num_steps, self.sum_product, self.chain_shapes)
        text = f"{self.step.digest_in_version_1} {shape}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @functools.cached_property
    def traces(self) -> Traces:
        """Compiled functions, shared with all programs of equal structure."""
        return traces_of(self, self.digest)

    def tables(self, params: Params, certainty: Certainty = CHECKED) -> DynamicTables:
        """Brings all parameters into the kernel's shapes."""
        chain, weights = {}, {}
        for spec in self.chain_specs:
            value = tf.identity(params[spec.parameter])
            chain[spec.parameter] = normalized_log_weights(
                value, spec.rule, spec.logspace
            )
            fixed = tf.stop_gradient(value)
            weights[spec.parameter] = normalized_weights(fixed, spec.logspace)
        transition = move_axis(chain[TRANSITION], -3, 0)
        interface = chain.get(INTERFACE)
        if interface is not None:
            interface = move_axis(interface, -3, 0)
        if self.sum_product == "tucker":
            interface = self._units_of_states()
        step = self.step.tables(self._step_params(params), certainty)
        return DynamicTables(
            step,
            chain[INITIAL][..., 0, :, 0],
            transition,
            interface,
            {**step.weights, **weights},
            batch_of(params, self.param_event_ndims)[0],
        )

    def _step_params(self, params: Params) -> Params:
        """Those of the template; all with an axis of steps, if one has it."""
        ndims = self.step.param_event_ndims
        chosen = {name: tf.convert_to_tensor(params[name]) for name in ndims}
        if self.parameters_in_time:
            for name, rank in ndims.items():
                value = chosen[name]
                if name not in self.parameters_in_time and value.shape.rank > rank:
                    chosen[name] = tf.expand_dims(value, -rank - 1)
        return chosen

    def _units_of_states(self) -> Tensor:
        """``[1, Z, Q]``: log one where the state holds the unit."""
        unit = np.arange(self.num_states) % self.num_interfaces
        holds = unit == np.arange(self.num_interfaces)[:, np.newaxis]
        return tf.constant(np.where(holds, 0.0, -np.inf)[np.newaxis], self.dtype)

    def chain(
        self, tables: DynamicTables, emission: Tensor, exists: Tensor | None = None
    ) -> Chain:
        """The chain of log-values ``[T, ..., K, N]`` of the template's roots.

        `emission` has all batch dimensions, each of its own size or 1.
        """
        if self.sum_product == "tucker":
            emission = tf.repeat(emission, self.num_interfaces, axis=-2)
            emission = tf.ensure_shape(
                emission,
                [*emission.shape[:-2], self.num_states, emission.shape[-1]],
            )
        rank = emission.shape.rank - 3
        parts = {
            INITIAL: _with_batch_rank(tables.initial, 0, 1, rank),
            TRANSITION: _with_batch_rank(tables.transition, 1, 2, rank),
        }
        if tables.interface is not None:
            parts[INTERFACE] = _with_batch_rank(tables.interface, 1, 2, rank)
        if rank:
            batch = tf.shape(emission)[1:-2]
            static = emission.shape[1:-2]
            for name, value in parts.items():
                lead = 0 if name == INITIAL else 1
                one = slice(lead, lead + rank)
                batch = tf.broadcast_dynamic_shape(batch, tf.shape(value)[one])
                static = tf.broadcast_static_shape(static, value.shape[one])
            shape = tf.concat([[self.num_steps], batch, tf.shape(emission)[-2:]], 0)
            known = [self.num_steps, *static, *emission.shape[-2:]]
            emission = tf.ensure_shape(tf.broadcast_to(emission, shape), known)
        return Chain(emission, exists=exists, **parts)

    def root_of_state(self, state: Tensor) -> Tensor:
        """The template's root that a state holds."""
        if self.sum_product == "tucker":
            return state // self.num_interfaces
        return state

    def roots_of_states(self, probs: Tensor) -> Tensor:
        """``[..., Q, N]`` of states to ``[..., K, N]`` of roots."""
        if self.sum_product != "tucker":
            return probs
        return tf.reduce_sum(self._by_root_and_unit(probs), -2)

    def units_of_states(self, probs: Tensor) -> Tensor:
        """``[..., Q, N]`` of states to ``[..., Z, N]`` of the interface's units.

        Not of ``"cp"``, whose states are roots.
        """
        if self.sum_product is None:
            return probs
        return tf.reduce_sum(self._by_root_and_unit(probs), -3)

    def _by_root_and_unit(self, values: Tensor) -> Tensor:
        """``[..., Q, N]`` to ``[..., K, Z, N]``, of ``"tucker"``."""
        return reshape_axes(values, -2, -1, [self.num_roots, self.num_interfaces])


def _with_batch_rank(value: Tensor, lead: int, event: int, rank: int) -> Tensor:
    """Inserts axes of size 1 after the first `lead` ones."""
    for _ in range(rank - (value.shape.rank - lead - event)):
        value = tf.expand_dims(value, lead)
    return value
