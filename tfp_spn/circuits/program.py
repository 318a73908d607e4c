"""A circuit as a list of folded steps: what is computed, as static index tables.

A program is structure only. Value 0 is the tensor of all leaf regions; step ``s`` makes
value ``s + 1``, one tensor ``[..., R, K, N]`` for all regions that it evaluates:

    1. gather the children of all partitions, one gather per factor,
    2. multiply the factors (`product`), which gives the units of each partition,
    3. weighted sums over the units of all partitions of a region (`sums`), or nothing.

A region with several partitions is one sum over the concatenated units of them all: the
mixing weights are folded into the sum's matrix product. Trees, DAGs and layer stacks
differ in their index tables only; see `tfp_spn.circuits.folding` and
`tfp_spn.circuits.from_layers`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.ops.weights import (
    counted,
    normalized_log_weights,
    normalized_weights,
)

MARGINALIZED = -1
"""Index of a child that is not there: log-value 0 in all units."""


@dataclass(frozen=True, eq=False)
class Gather:
    """Which regions of which values, in order.

    Attributes:
        sources: Indices of the values that are read.
        sizes: Number of regions of each source.
        index: int32 positions in the concatenation of the sources, or `MARGINALIZED`.
    """

    sources: tuple[int, ...]
    sizes: tuple[int, ...]
    index: np.ndarray

    @functools.cached_property
    def bounds(self) -> tuple[int, int] | None:
        """``(start, stop)`` when the index is a range of a single source."""
        start, count = int(self.index[0]), len(self.index)
        if len(self.sources) > 1 or start < 0:
            return None
        is_range = np.array_equal(self.index, np.arange(start, start + count))
        return (start, start + count) if is_range else None

    @functools.cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each source begins in the concatenation."""
        return tuple(int(o) for o in np.cumsum([0, *self.sizes[:-1]]))


@dataclass(frozen=True, eq=False)
class SumSpec:
    """Weighted sums of a step.

    Attributes:
        parameter: Name of the accumulators among the circuit's parameters.
        num_outputs: Sums per region.
        rule: Learning rule.
        logspace: Whether accumulators are logarithms.
        event_ndims: Rank of one circuit's accumulators; they are reshaped to
            ``[R, I, O]``.
        always_exact: Whether to sum term by term in log space from the start: for
            weights of zero and one.
        shared: Whether all regions have the same weights, ``[1, I, O]``.
    """

    parameter: str
    num_outputs: int
    rule: SumRule
    logspace: bool = True
    event_ndims: int = 3
    always_exact: bool = False
    shared: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """All regions of one level and width.

    Attributes:
        factors: One gather of ``num_regions * num_partitions`` regions per factor.
        widths: Units of each factor.
        num_regions: Regions ``R`` that the step evaluates.
        num_partitions: Partitions ``H`` of each region.
        product: How factors are multiplied.
        sums: The sums over the products, or `None` for a bare product.
        factor_units: int32 ``[A, P]``: the unit of each of the ``A`` factors that each
            of the ``P`` units of a partition multiplies; of product ``"chosen"`` only.
    """

    factors: tuple[Gather, ...]
    widths: tuple[int, ...]
    num_regions: int
    num_partitions: int
    product: Literal["hadamard", "kronecker", "chosen"]
    sums: SumSpec | None
    factor_units: np.ndarray | None = None

    @property
    def num_products(self) -> int:
        """Units of one partition."""
        if self.factor_units is not None:
            return self.factor_units.shape[1]
        if self.product == "hadamard":
            return self.widths[0]
        return int(np.prod(self.widths))

    @property
    def num_inputs(self) -> int:
        """Units of all partitions of a region."""
        return self.num_partitions * self.num_products

    @property
    def num_outputs(self) -> int:
        """Units of a region."""
        return self.num_inputs if self.sums is None else self.sums.num_outputs


@dataclass(frozen=True, eq=False)
class Tables:
    """Parameters made ready for evaluation.

    Attributes:
        leaf: Canonical leaf parameters.
        accumulators: Those of each step, ``[..., R, I, O]`` (``[..., 1, I, O]`` where
            regions share them), or `None`.
        specs: The sums that they belong to.
        log_prior: Log-probabilities ``[..., C]`` of the classes, or `None`.
        taps: See `with_taps`.
    """

    leaf: Params
    accumulators: list[Tensor | None]
    specs: list[SumSpec | None]
    log_prior: Tensor | None
    taps: list[Tensor | None] = dataclasses.field(default_factory=list)

    def weights(self, number: int) -> Tensor | None:
        """Normalised weights ``[..., R, I, O]`` of a step."""
        return self._normalized(number, logspace=False)

    def log_weights(self, number: int) -> Tensor | None:
        """Normalised log-weights ``[..., R, I, O]`` of a step."""
        return self._normalized(number, logspace=True)

    def _normalized(self, number: int, logspace: bool) -> Tensor | None:
        spec, accumulators = self.specs[number], self.accumulators[number]
        if spec is None or accumulators is None:
            return None
        normalize = normalized_log_weights if logspace else normalized_weights
        value = normalize(accumulators, spec.rule, spec.logspace)
        tap = self.taps[number] if self.taps else None
        return value if tap is None else counted(value, tap, logspace)

    def batch_shape(self, leaves: Tensor) -> Tensor:
        """Batch of weights and leaf values ``[..., R, K, N]``, broadcast: an int32."""
        shape = tf.shape(leaves)[:-3]
        for accumulators in self.accumulators:
            if accumulators is not None and accumulators.shape.rank > 3:
                batch = tf.shape(accumulators)[:-3]
                shape = tf.broadcast_dynamic_shape(shape, batch)
        if self.log_prior is not None and self.log_prior.shape.rank > 1:
            batch = tf.shape(self.log_prior)[:-1]
            shape = tf.broadcast_dynamic_shape(shape, batch)
        return shape

    def with_taps(self) -> Tables:
        """With a tensor per step whose gradient is that of its *log-weights*.

        Neither weights nor their logarithms need to be computed where the other is
        used; gradients with respect to the latter, expected counts, are had either way.
        """
        taps = [None if a is None else tf.zeros_like(a) for a in self.accumulators]
        return dataclasses.replace(self, taps=taps)


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled circuit.

    Attributes:
        leaf: The leaf layer, for its pure functions.
        layout: Variables of the leaf regions.
        steps: The steps, children before parents.
        root: The regions whose units, in order, are the roots (classes).
        num_classes: Number of roots.
        prior: The weights of the classes, or `None` when there is one root.
        leaf_event_ndims: Rank of each leaf parameter of one circuit.
        grid: Height and width, if the variables are the pixels of an image.
        recompute: Whether gradients evaluate all products again.
    """

    leaf: BaseLeaf
    layout: LeafLayout
    steps: tuple[Step, ...]
    root: Gather
    num_classes: int
    prior: SumSpec | None
    leaf_event_ndims: dict[str, int]
    grid: tuple[int, int] | None = None
    recompute: bool = False

    @property
    def num_variables(self) -> int:
        """Number of variables."""
        return self.layout.num_variables

    @property
    def num_units(self) -> int:
        """Units of all regions, of leaves and sums."""
        units = sum(step.num_regions * step.num_outputs for step in self.steps)
        return units + self.layout.num_regions * self.leaf.num_components

    @property
    def event_shape(self) -> tuple[int, ...]:
        """``[V]``, ``[V, D]`` for variables of several dimensions, ``[*grid, D]``."""
        dims = self.layout.num_dims
        if self.grid is not None:
            return (*self.grid, dims)
        return (self.num_variables,) if dims == 1 else (self.num_variables, dims)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """``[V]``, or `grid`: one flag for each variable."""
        return (self.num_variables,) if self.grid is None else self.grid

    @property
    def flat_event_ndims(self) -> int:
        """Rank of an event whose pixels are in one axis: 1, or 2 with dimensions."""
        return min(2, len(self.event_shape))

    @property
    def dtype(self) -> tf.DType:
        """Dtype of parameters and log-probabilities."""
        return tf.as_dtype(self.leaf.compute_dtype)

    @property
    def event_dtype(self) -> tf.DType:
        """Dtype of samples: int32 for discrete variables."""
        return tf.int32 if self.leaf.is_discrete else self.dtype

    @functools.cached_property
    def sum_specs(self) -> tuple[SumSpec, ...]:
        """The sums of all steps, then the prior."""
        specs = [step.sums for step in self.steps if step.sums is not None]
        return tuple(specs + ([self.prior] if self.prior else []))

    @functools.cached_property
    def param_event_ndims(self) -> dict[str, int]:
        """Rank of each parameter of one circuit; further leading axes are batch."""
        ndims = {f"leaf_{name}": n for name, n in self.leaf_event_ndims.items()}
        ndims.update({spec.parameter: spec.event_ndims for spec in self.sum_specs})
        return dict(sorted(ndims.items()))

    def by_parameter(self, counts: Sequence[Tensor]) -> Params:
        """Counts of the sums of all steps, those that share a parameter added up."""
        totals: Params = {}
        specs = [step.sums for step in self.steps if step.sums is not None]
        for spec, count in zip(specs, counts, strict=True):
            shared = totals.get(spec.parameter)
            totals[spec.parameter] = count if shared is None else shared + count
        return totals

    def tables(self, params: Params) -> Tables:
        """Brings all parameters into the kernel's shapes."""
        leaf = {name: params[f"leaf_{name}"] for name in self.leaf_event_ndims}
        accumulators = [
            None if step.sums is None else _accumulators(params, step.sums, step)
            for step in self.steps
        ]
        specs = [step.sums for step in self.steps]
        log_prior = None
        if self.prior is not None:
            log_prior = _flatten_event(params, self.prior, [self.num_classes])
            log_prior = normalized_log_weights(
                log_prior, self.prior.rule, self.prior.logspace, axis=-1
            )
        return Tables(self.leaf.canonical(leaf), accumulators, specs, log_prior)


def _accumulators(params: Params, spec: SumSpec, step: Step) -> Tensor:
    num_regions = 1 if spec.shared else step.num_regions
    shape = [num_regions, step.num_inputs, spec.num_outputs]
    return _flatten_event(params, spec, shape)


def _flatten_event(params: Params, spec: SumSpec, shape: list[int]) -> Tensor:
    value = tf.convert_to_tensor(params[spec.parameter])
    if spec.event_ndims == len(shape):
        return value
    batch = tf.shape(value)[: value.shape.rank - spec.event_ndims]
    return tf.reshape(value, tf.concat([batch, shape], 0))
