"""What learning and distributions ask of a compiled circuit, whatever its kind.

There are two kinds: a circuit over vectors or images (`CircuitProgram`), and one over
sequences (`DynamicProgram`), which repeats the former in time. A program is structure
only; all of its methods are pure functions of parameters and evidence.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar

import tensorflow as tf

from tfp_spn._typing import Expectations, Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.ops.certainty import CHECKED, Certainty
from tfp_spn.programs.dynamic.structure import DynamicTables
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.steps import SumSpec
from tfp_spn.programs.tables import Tables
from tfp_spn.programs.traces import Traces

TablesT = TypeVar("TablesT", Tables, DynamicTables)
"""Parameters in the kernel's shapes, by kind of program."""


ProgramTables: TypeAlias = Tables | DynamicTables
"""Parameters in the kernel's shapes."""


class Program(Protocol[TablesT]):
    """A compiled circuit."""

    @property
    def leaf(self) -> BaseLeaf:
        """The leaf layer, for its pure functions."""

    @property
    def num_variables(self) -> int:
        """Variables; of sequences, those of a step."""

    @property
    def num_dims(self) -> int:
        """Dimensions of each variable."""

    @property
    def num_classes(self) -> int:
        """Number of roots."""

    @property
    def prior(self) -> SumSpec | None:
        """The weights of the classes, or `None` when there is one root."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an example."""

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Shape of its mask: one flag for each variable."""

    @property
    def mask_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that a mask may have: this one, and those spread to it."""

    @property
    def flat_event_ndims(self) -> int:
        """Rank of an event whose pixels are in one axis."""

    @property
    def dtype(self) -> tf.DType:
        """The dtype of parameters and log-probabilities."""

    @property
    def event_dtype(self) -> tf.DType:
        """The dtype of samples."""

    @property
    def sum_specs(self) -> tuple[SumSpec, ...]:
        """All sums."""

    @property
    def step(self) -> FoldedProgram:
        """The program of one step of a sequence; itself if there are no steps."""

    @property
    def chain_specs(self) -> tuple[SumSpec, ...]:
        """The sums that lead from step to step, if there are steps."""

    @property
    def parameters_in_time(self) -> frozenset[str]:
        """Names of parameters that have an axis of steps."""

    @property
    def num_units(self) -> int:
        """Units of all regions, and of all steps."""

    @property
    def param_event_ndims(self) -> dict[str, int]:
        """Rank of each parameter of one circuit, by name."""

    @property
    def digest(self) -> str:
        """A hash of all that traces depend on."""

    @property
    def digest_in_version_1(self) -> str:
        """What files of tfp_spn 0.1 tell structures apart by."""

    @property
    def traces(self) -> Traces:
        """Compiled functions, shared with all programs of equal structure."""

    @property
    def max_examples(self) -> int:
        """How many examples queries evaluate at once."""

    @property
    def block_specs(self) -> dict[str, SumSpec]:
        """The sums of all weights that are used as one, without the prior."""

    def packed(self, values: Params) -> Params:
        """What is used as one, ``[..., regions, I, O]``, of values by parameter."""

    def unpacked(self, values: Params) -> Params:
        """Values ``[..., regions, I, O]`` by parameter, of what is used as one."""

    def tables(self, params: Params, certainty: Certainty = CHECKED) -> TablesT:
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
        self, tables: TablesT, evidence: Evidence, is_whole: bool = False
    ) -> Tensor:
        """``log p(evidence, class) [..., C, N]``.

        Many examples are evaluated block by block, unless they are to be kept whole, as
        those of a training step are.
        """

    def can_be(self, tables: TablesT, evidence: Evidence, part: LeafPart) -> Tensor:
        """Whether some component of a leaf layer's variables can take their values.

        ``P + mask + [N]`` of the variables of `part`.
        """

    def mean_and_variance(
        self, tables: TablesT, evidence: Evidence | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exact moments, ``S + P + event``, of each coordinate given the evidence."""

    def draw(
        self, tables: TablesT, n: Tensor, seed: Tensor, evidence: Evidence | None = None
    ) -> Tensor:
        """Samples, ``[n] + S + P + event``, given the evidence."""

    def best(self, tables: TablesT, evidence: Evidence | None = None) -> Tensor:
        """Max-product completions, ``S + P + event``, of the evidence."""

    def expectations(
        self,
        tables: TablesT,
        evidence: Evidence,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Expectations, Tensor]:
        """Expected counts of a batch, and ``log p(x, class) [C, N]``."""
