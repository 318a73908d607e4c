"""A circuit as a list of folded steps: what is computed, as static index tables.

A program is structure only. Value 0 is the tensor of all leaf regions; step ``s`` makes
value ``s + 1``, one tensor ``[..., R, K, N]`` for all regions that it evaluates:

    1. gather the children of all partitions, one gather per factor,
    2. multiply the factors (`product`), which gives the units of each partition,
    3. weighted sums over the units of all partitions of a region (`sums`), or nothing.

A region with several partitions is one sum over the concatenated units of them all: the
mixing weights are folded into the sum's matrix product. Trees, DAGs and layer stacks
differ in their index tables only; see `tfp_spn.programs.folding` and
`tfp_spn.circuits.from_layers`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.certainty import CHECKED, Certainty
from tfp_spn.ops.weights import normalized_log_weights, normalized_weights
from tfp_spn.programs.parameter_names import leaf_name
from tfp_spn.programs.routing import (
    ROOT,
    OffsetTable,
    Place,
    Route,
    flow_routes,
    offset_table,
)
from tfp_spn.programs.scans import with_scans
from tfp_spn.programs.steps import MARGINALIZED, Gather, Step, SumSpec
from tfp_spn.programs.storage import Block
from tfp_spn.programs.sums_over_leaves import cut_steps
from tfp_spn.programs.tables import Slice, Tables, batch_of
from tfp_spn.programs.traces import Traces, traces_of


@dataclass(frozen=True, eq=False)
class FoldedProgram:
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
        blocks: Weights that are used as one, by name. Other names are of parameters.
        stored_shapes: ``[regions, I, O]`` of the parameters in blocks.
        stored_digest: A hash of the structure in the order of the parameters, if it is
            another one than that of the steps.
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
    blocks: dict[str, Block] = field(default_factory=dict)
    stored_shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    stored_digest: str = ""

    @functools.cached_property
    def scanned(self) -> FoldedProgram:
        """The same with long chains as loops; itself if there are none."""
        found = with_scans(self.steps, self.root, self.layout.num_regions)
        if found is None:
            return self
        steps, root = found
        return replace(self, steps=steps, root=root)

    @functools.cached_property
    def halves(self) -> tuple[FoldedProgram, FoldedProgram]:
        """Sums over leaf regions, and what reads these.

        The leaf regions of the latter are the roots of the former.
        """
        cut = cut_steps(self.steps, self.root, self.layout.scopes)
        size = len(cut.scopes)
        whole = Gather((len(cut.below),), (size,), np.arange(size, dtype=np.int32))
        layout = replace(self.layout, scopes=cut.scopes)
        return (
            replace(self, steps=cut.below, root=whole),
            replace(self, steps=cut.above, root=cut.root, layout=layout),
        )

    def in_scans(
        self, tables: Tables, leaves: Tensor | None = None
    ) -> tuple[FoldedProgram, Tables]:
        """The program with long chains as loops, unless there is a batch; its tables.

        `leaves` are log-values of the leaf regions, if the circuit is evaluated.
        """
        ranks = [3 + tables.batch_rank] if leaves is None else [leaves.shape.rank]
        ranks += [weights.shape.rank for weights in tables.log_weights.values()]
        if max(ranks) > 3:
            return self, tables
        return self.scanned, tables.replaced(slices=self.scanned.slices)

    @property
    def num_variables(self) -> int:
        """Number of variables."""
        return self.layout.num_variables

    @property
    def step(self) -> FoldedProgram:
        """The program of one step, which is this one."""
        return self

    @property
    def parameters_in_time(self) -> frozenset[str]:
        """Names of parameters that have an axis of steps: none."""
        return frozenset()

    @property
    def chain_specs(self) -> tuple[SumSpec, ...]:
        """The sums that lead from step to step: none."""
        return ()

    @property
    def num_dims(self) -> int:
        """Dimensions of each variable."""
        return self.layout.num_dims

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
    def mask_shapes(self) -> tuple[tuple[int, ...], ...]:
        """`mask_shape` alone."""
        return (self.mask_shape,)

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
        """Dtype of samples: integers that hold all values of discrete variables."""
        return tf.as_dtype(self.leaf.event_dtype)

    @functools.cached_property
    def sum_specs(self) -> tuple[SumSpec, ...]:
        """The sums of all parameters, then the prior."""
        specs: dict[str, SumSpec] = {}
        for step in self.steps:
            if step.sums is not None:
                for name in self._block(step.sums.parameter).parts:
                    specs[name] = replace(step.sums, parameter=name, start=0)
        names = dict.fromkeys([*self.stored_shapes, *specs])  # as they are stored
        prior = [self.prior] if self.prior else []
        return tuple([specs[name] for name in names] + prior)

    def _block(self, name: str) -> Block:
        """Returns the block of a name; a parameter by itself is one, too."""
        return self.blocks.get(name) or Block((name,), self.block_shapes[name][:1])

    @property
    def sum_shapes(self) -> dict[str, tuple[int, int, int]]:
        """``[regions, I, O]`` of each parameter of sums."""
        names = self.blocks.keys()
        others = {n: shape for n, shape in self.block_shapes.items() if n not in names}
        return {**self.stored_shapes, **others}

    @functools.cached_property
    def block_shapes(self) -> dict[str, tuple[int, int, int]]:
        """``[regions, I, O]`` of all that is used as one, in the order of the steps."""
        shapes: dict[str, tuple[int, int, int]] = {}
        for step in self.steps:
            spec = step.sums
            if spec is not None:
                stop = spec.start + step.num_weighted
                regions = max(stop, *shapes.get(spec.parameter, (0,))[:1])
                shapes[spec.parameter] = (regions, step.num_inputs, spec.num_outputs)
        return shapes

    @functools.cached_property
    def param_event_ndims(self) -> dict[str, int]:
        """Rank of each parameter of one circuit; further leading axes are batch."""
        ndims = {leaf_name(name): n for name, n in self.leaf_event_ndims.items()}
        ndims.update({spec.parameter: spec.event_ndims for spec in self.sum_specs})
        return dict(sorted(ndims.items()))

    @functools.cached_property
    def slices(self) -> tuple[Slice | None, ...]:
        """What each step has of the weights that are used as one."""
        return tuple(
            None
            if step.sums is None
            else (
                step.sums.parameter,
                step.sums.start,
                step.sums.start + step.num_weighted,
            )
            for step in self.steps
        )

    def tables(self, params: Params, certainty: Certainty = CHECKED) -> Tables:
        """Brings all parameters into the kernel's shapes."""
        leaf = {name: params[leaf_name(name)] for name in self.leaf_event_ndims}
        log_weights, weights = {}, {}
        specs = self.block_specs
        for name, accumulators in self.packed(params).items():
            spec = specs[name]
            log_weights[name] = normalized_log_weights(
                accumulators, spec.rule, spec.logspace
            )
            # Not the exponentials of those, which nobody computes unless they are used.
            fixed = tf.stop_gradient(accumulators)
            weights[name] = normalized_weights(fixed, spec.logspace)
        log_prior = None
        if self.prior is not None:
            accumulators = _flat_event(
                params[self.prior.parameter], self.prior, [self.num_classes]
            )
            log_prior = normalized_log_weights(
                accumulators, self.prior.rule, self.prior.logspace, axis=-1
            )
        return Tables(
            self.leaf.canonical(leaf),
            log_weights,
            weights,
            log_prior,
            self.slices,
            *batch_of(params, self.param_event_ndims),
            certainty,
        )

    def leaf_values(self, tables: Tables, evidence: Evidence) -> Tensor:
        """``[..., R, K, N]``: what the leaf regions hold, without `log_base`."""
        return self.leaf.region_log_values(tables.leaf, evidence, self.layout)

    @functools.cached_property
    def block_specs(self) -> dict[str, SumSpec]:
        """The sums of all that is used as one, by name; without the prior."""
        return {s.sums.parameter: s.sums for s in self.steps if s.sums is not None}

    def packed(self, values: Params) -> Params:
        """What is used as one, ``[..., regions, I, O]``, of values by parameter."""
        result = {}
        for name, spec in self.block_specs.items():
            block, shape = self._block(name), self.block_shapes[name]
            sizes = zip(block.parts, block.sizes, strict=True)
            flat = [
                _flat_event(values[part], spec, [size, *shape[1:]])
                for part, size in sizes
            ]
            result[name] = block.pack(flat)
        return result

    def unpacked(self, values: Params) -> Params:
        """``[..., regions, I, O]`` of each parameter, of what is used as one."""
        found: Params = {}
        for name, value in values.items():
            found.update(self._block(name).unpack(value))
        return {name: found[name] for name in self.sum_shapes}

    def tables_of_sums(self, log_weights: Params) -> Tables:
        """Tables of normalised log-weights alone."""
        return Tables({}, log_weights, {}, None, self.slices)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of all that a trace depends on: structure, leaf layer and rules."""
        parts = [
            *(self.leaf.digest, self.layout.scopes, self.layout.num_variables),
            *(self.layout.num_dims, self.num_classes, self.prior, self.grid),
            *(self.recompute, sorted(self.leaf_event_ndims.items())),
        ]
        found = hashlib.sha256(repr(parts).encode())
        for step in self.steps:
            rest = (step.widths, step.num_regions, step.num_partitions, step.product)
            found.update(repr((*rest, step.sums)).encode())
            if step.factor_units is not None:
                found.update(step.factor_units.astype(np.int64).tobytes())
        for gather in [*(g for s in self.steps for g in s.factors), self.root]:
            found.update(repr((gather.sources, gather.sizes)).encode())
            found.update(gather.index.astype(np.int64).tobytes())
        for name, block in self.blocks.items():
            found.update(repr((name, block.parts, block.sizes)).encode())
            if block.rows is not None:
                found.update(block.rows.tobytes())
        return found.hexdigest()

    @functools.cached_property
    def digest_in_version_1(self) -> str:
        """What files of tfp_spn 0.1 tell structures apart by."""
        if self.stored_digest:
            return self.stored_digest
        found = hashlib.sha256(repr(self.layout.scopes).encode())
        for gather in [*(g for s in self.steps for g in s.factors), self.root]:
            found.update(repr((gather.sources, gather.index.tolist())).encode())
        return found.hexdigest()[:16]

    @functools.cached_property
    def traces(self) -> Traces:
        """Compiled functions, shared with all programs of equal structure."""
        return traces_of(self, self.digest)

    @functools.cached_property
    def flow_routes(self) -> tuple[Route, ...]:
        """How the flows of each value's regions come together."""
        sizes = [self.layout.num_regions, *(step.num_regions for step in self.steps)]
        reads = [
            (
                (number, None if step.product == "hadamard" else factor),
                # What a step reads of its own value it gives back by itself.
                [p if p[0] <= number else (MARGINALIZED, 0) for p in gather.places],
            )
            for number, step in enumerate(self.steps)
            for factor, gather in enumerate(step.factors)
        ]
        return flow_routes(sizes, [*reads, ((ROOT, None), self.root.places)])

    @functools.cached_property
    def partition_offsets(self) -> tuple[OffsetTable | None, ...]:
        """What lies below the partitions of each step; `None` of single ones."""
        return tuple(
            offset_table(
                zip(*(gather.places for gather in step.factors), strict=True),
                self._summed_children,
            )
            if step.num_partitions > 1
            else None
            for step in self.steps
        )

    @functools.cached_property
    def root_offsets(self) -> OffsetTable:
        """What lies below each root region, itself included."""
        rows = [[place] for place in self.root.places]
        return offset_table(rows, self._summed_children)

    def _summed_children(self, place: Place) -> list[Place]:
        """Returns the factors of a region's only partition; none if it has several."""
        value, region = place
        if not value or self.steps[value - 1].num_partitions > 1:
            return []
        return [gather.places[region] for gather in self.steps[value - 1].factors]


def by_block(steps: Sequence[Step], counts: Sequence[Tensor]) -> Params:
    """Counts ``[..., R, I, O]`` of the steps that have sums, as they are used.

    Counts of steps that share weights are added, those of others are put together.
    """
    parts: dict[str, dict[int, Tensor]] = {}
    specs = [step.sums for step in steps if step.sums is not None]
    for spec, count in zip(specs, counts, strict=True):
        of_parameter = parts.setdefault(spec.parameter, {})
        same = of_parameter.get(spec.start)
        of_parameter[spec.start] = count if same is None else same + count
    return {
        name: _concatenated([found[start] for start in sorted(found)])
        for name, found in parts.items()
    }


def _flat_event(value: Tensor, spec: SumSpec, shape: list[int]) -> Tensor:
    """Reshapes weights of one circuit, ``[..., *stored]``, to ``[..., *shape]``."""
    # `tf.custom_gradient` takes no tensors that were made outside of a graph.
    value = tf.identity(value)
    if value.shape.rank == 3 or spec.event_ndims == len(shape):
        return value
    return reshape_axes(value, -spec.event_ndims, 0, shape)


def _concatenated(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-3)
