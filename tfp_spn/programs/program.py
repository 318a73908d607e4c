"""What learning and distributions ask of a compiled circuit, whatever its kind.

There are two kinds: a circuit over vectors or images (`CircuitProgram`), and one over
sequences (`DynamicProgram`), which repeats the former in time. A program is structure
only; all of its methods are pure functions of parameters and evidence.
"""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.programs.certainty import CHECKED, Certainty
from tfp_spn.programs.evidence import Evidence
from tfp_spn.programs.folded_program import FoldedProgram, SumSpec
from tfp_spn.programs.traces import Traces


class Program(Protocol):
    """A compiled circuit.

    Attributes:
        leaf: The leaf layer, for its pure functions.
        num_variables: Variables; of sequences, those of a step.
        num_dims: Dimensions of each variable.
        num_classes: Number of roots.
        prior: The weights of the classes, or `None` when there is one root.
        event_shape: Shape of an example.
        mask_shape: Shape of its mask: one flag for each variable.
        mask_shapes: That, and what is spread to it.
        flat_event_ndims: Rank of an event whose pixels are in one axis.
        dtype: Of parameters and log-probabilities.
        event_dtype: Of samples.
        sum_specs: All sums.
        step: The program of one step of a sequence; itself, where there is no time.
        chain_specs: The sums that lead from step to step, if there are steps.
        parameters_in_time: Names of parameters that have an axis of steps.
        num_units: Units of all regions, and of all steps.
        param_event_ndims: Rank of each parameter of one circuit, by name.
        digest: A hash of all that traces depend on.
        traces: Compiled functions, shared with all programs of equal structure.
        max_examples: How many examples queries evaluate at once.
    """

    leaf: BaseLeaf
    num_variables: int
    num_dims: int
    num_classes: int
    prior: SumSpec | None
    event_shape: tuple[int, ...]
    mask_shape: tuple[int, ...]
    mask_shapes: tuple[tuple[int, ...], ...]
    flat_event_ndims: int
    dtype: tf.DType
    event_dtype: tf.DType
    sum_specs: tuple[SumSpec, ...]
    step: FoldedProgram
    chain_specs: tuple[SumSpec, ...]
    parameters_in_time: frozenset[str]
    num_units: int
    param_event_ndims: dict[str, int]
    digest: str
    traces: Traces
    max_examples: int

    def tables(self, params: Params, certainty: Certainty = CHECKED) -> Any:
        """Brings all parameters into the kernel's shapes."""

    def evidence(
        self,
        value: Tensor,
        observed: Tensor | None = None,
        batch_rank: int = 0,
        is_flat: bool = False,
        bounded: Tensor | None = None,
    ) -> Evidence:
        """Brings a value of the event's shape, and its masks, into the kernel's layout.

        Args:
            value: ``S + P + event_shape``, of the program's dtype.
            observed: bool ``S + P + mask_shape``, or `None`: all values count.
            batch_rank: Number of batch dimensions ``P``.
            is_flat: Whether pixels are in one axis.
            bounded: bool of the same shape: which values are upper bounds.
        """

    def log_joint(
        self, tables: Any, evidence: Evidence, is_whole: bool = False
    ) -> Tensor:
        """``log p(evidence, class) [..., C, N]``.

        Many examples are evaluated block by block, unless they are to be kept whole, as
        those of a training step are.
        """

    def can_be(self, tables: Any, evidence: Evidence, part: LeafPart) -> Tensor:
        """Whether some component of a leaf layer's variables can take their values.

        ``P + mask + [N]`` of the variables of `part`.
        """

    def mean_and_variance(
        self, tables: Any, evidence: Evidence | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exact moments, ``S + P + event``, of each coordinate given the evidence."""

    def draw(
        self, tables: Any, n: Tensor, seed: Tensor, evidence: Evidence | None = None
    ) -> Tensor:
        """Samples, ``[n] + S + P + event``, given the evidence."""

    def best(self, tables: Any, evidence: Evidence | None = None) -> Tensor:
        """Max-product completions, ``S + P + event``, of the evidence."""

    def expectations(
        self,
        tables: Any,
        evidence: Evidence,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[dict[str, Any], Tensor]:
        """Expected counts of a batch, and ``log p(x, class) [C, N]``."""
