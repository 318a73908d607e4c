"""Whether variables still hold what they began with.

A layer's variables note a checksum of their first values. Whatever changes them later,
training, loading or assigning, changes the checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf


def note_start(variable: keras.Variable) -> None:
    """Notes that a variable has been given its first values."""
    variable.checksum_at_start = _checksum(variable)


def mark_touched(variables: Iterable[keras.Variable]) -> None:
    """Notes that variables were given values from elsewhere."""
    for variable in variables:
        variable.checksum_at_start = None


def are_untouched(variables: Iterable[keras.Variable]) -> bool:
    """Whether all of the variables still hold their first values."""
    return all(
        getattr(variable, "checksum_at_start", None) == _checksum(variable)
        for variable in variables
    )


def _checksum(variable: keras.Variable) -> int:
    with tf.init_scope():  # a layer may be built within a function
        return zlib.crc32(np.ascontiguousarray(variable.numpy()).data)
