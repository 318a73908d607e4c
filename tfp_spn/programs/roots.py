"""The roots of an upward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import gather_regions, merge_units
from tfp_spn.programs.offsets import total_log_scale
from tfp_spn.programs.products import Value


@dataclass(frozen=True, eq=False)
class Roots:
    """Log-values of the roots, without `log_base`.

    Attributes:
        relative: ``[..., C, N]``: relative to `offset`.
        offset: float64 ``[..., 1, N]``: what decides between classes keeps its digits,
            however many variables they are about.
    """

    relative: Tensor
    offset: Tensor


def roots_of(program: FoldedProgram, values: Sequence[Value]) -> Roots:
    """The units of all root regions, in order, relative to one offset."""
    relative = gather_regions(program.root, lambda n: values[n].relative_log)
    log_scales = [value.log_scale for value in values]
    offset = total_log_scale(program.root_offsets, log_scales)  # [..., R, 1, N]
    largest = tf.reduce_max(offset, axis=-3, keepdims=True)
    if len(program.root.index) > 1:
        relative += tf.cast(offset - largest, relative.dtype)
    return Roots(merge_units(relative), largest[..., 0, :, :])
