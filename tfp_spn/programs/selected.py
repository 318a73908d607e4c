"""Units that were selected of the regions of one value, by one parent or by all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.programs.examples import Examples, as_columns

INACTIVE = -1


@dataclass(frozen=True, eq=False)
class Selected:
    """Units of some regions of one value, for each example.

    Attributes:
        regions: int ``[A]``, or ``[A, M]`` where examples differ.
        units: int32 ``[A, M]``, or `INACTIVE` where the region is not in the example's
            induced tree. No two active entries of an example have equal regions.
    """

    regions: np.ndarray | Tensor
    units: Tensor

    @property
    def is_static(self) -> bool:
        """Whether all examples have equal regions."""
        return isinstance(self.regions, np.ndarray)


def merged(requests: list[Selected], num_regions: int, examples: Examples) -> Selected:
    """What all parents selected: at most one of them is active for each region."""
    if len(requests) == 1 and not requests[0].is_static:
        if requests[0].units.shape[0] <= num_regions:
            return requests[0]
    elif all(request.is_static for request in requests):
        regions = np.concatenate([request.regions for request in requests])
        units = [request.units for request in requests]
        if len(np.unique(regions)) == len(regions):
            return Selected(
                regions, units[0] if len(units) == 1 else tf.concat(units, 0)
            )
    elif sum(request.units.shape[0] for request in requests) <= num_regions:
        units = tf.concat([request.units for request in requests], 0)
        regions = [
            tf.broadcast_to(as_columns(request.regions), tf.shape(request.units))
            for request in requests
        ]
        return Selected(tf.concat(regions, 0), units)
    return over_all_regions(requests, num_regions, examples)


def over_all_regions(
    requests: list[Selected], num_regions: int, examples: Examples
) -> Selected:
    """Merges selections into one that lists all regions of the value."""
    total = examples.total
    if all(request.is_static for request in requests):
        regions = np.concatenate([request.regions for request in requests])
        units = tf.concat([request.units for request in requests], 0)
        units = tf.math.unsorted_segment_max(units, regions, num_regions)
    else:
        units = tf.concat([tf.reshape(r.units, [-1]) for r in requests], 0)
        example = tf.range(total, dtype=tf.int32)
        cells = [
            tf.reshape(as_columns(r.regions) * total + example, [-1]) for r in requests
        ]
        units = tf.math.unsorted_segment_max(
            units, tf.concat(cells, 0), num_regions * total
        )
        units = tf.reshape(units, [num_regions, total])
    return Selected(np.arange(num_regions), tf.maximum(units, INACTIVE))
