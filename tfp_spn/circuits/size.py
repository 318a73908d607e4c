"""Whether a circuit fits into this machine, asked before anything is made for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tfp_spn._machine import memory_of_machine
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.programs.scans import with_scans
from tfp_spn.programs.steps import Gather, Step

_MAX_STEPS = 5_000
"""Graphs of more take TensorFlow an hour, and some GiB."""

_GIB = 2**30


def check_size(
    steps: Sequence[Step],
    root: Gather,
    sum_shapes: Sequence[tuple[int, ...]],
    leaf: BaseLeaf,
    layout: LeafLayout,
) -> None:
    """Refuses circuits that are too wide or too deep to be built.

    Args:
        steps: Steps of the folded circuit.
        root: Its roots.
        sum_shapes: Shapes of the weights.
        leaf: The leaf layer.
        layout: The leaf regions.

    Raises:
        ValueError: Parameters, or the units of one example, need more memory than there
            is, or there are too many steps for a graph.
    """
    of_sums = sum(math.prod(shape) for shape in sum_shapes)
    of_leaves = layout.num_slots * leaf.num_components * layout.num_dims
    units = sum(step.num_regions * step.num_inputs for step in steps)
    bytes_each = tf.as_dtype(leaf.compute_dtype).size
    needed = 2 * bytes_each * (of_sums + of_leaves) + bytes_each * units
    available = memory_of_machine()
    if available is not None and needed > available:
        raise ValueError(
            f"from_region_graph: the circuit does not fit into memory, received "
            f"{of_sums:,} weights of sums, {of_leaves:,} or more parameters of leaves "
            f"and {units:,} products for each example, which need {needed / _GIB:,.3g} "
            f"GiB; expected less than the {available / _GIB:,.3g} GiB of this machine. "
            "Pass fewer num_sums, num_components or num_classes, or a smaller region "
            'graph; sum_product="cp" has fewer products than "tucker".'
        )
    if len(steps) > _MAX_STEPS:
        scanned = with_scans(steps, root, layout.num_regions)
        count = len(steps if scanned is None else scanned[0])
        if count > _MAX_STEPS:
            raise ValueError(
                f"from_region_graph: the circuit is too deep, received {count:,} steps "
                f"that follow each other, expected {_MAX_STEPS:,} at most. Choose a "
                "balanced region graph."
            )
