"""What may be asked of a `tf.data.Dataset` before it is read."""

from __future__ import annotations

import tensorflow as tf


def is_endless(data: object) -> bool:
    """Whether data are a dataset that says that it never ends."""
    if not isinstance(data, tf.data.Dataset):
        return False
    return bool(data.cardinality() == tf.data.INFINITE_CARDINALITY)
