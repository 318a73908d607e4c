"""What one replica does for all of them, within ``strategy.run``."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Tensor

Nest = TypeVar("Nest")


def sum_over_replicas(values: Nest) -> Nest:
    """Sums tensors over the replicas of a strategy; call it within ``strategy.run``.

    Without a strategy the values are returned as they are.

    Args:
        values: A tensor or a nest of them, equal in structure and shapes on all
            replicas, such as `tfp_spn.learning.expected_statistics`.

    Returns:
        The sums, the same on all replicas.

    Raises:
        RuntimeError: Called outside of ``strategy.run``.

    Example:
        >>> import tensorflow as tf, tfp_spn
        >>> float(tfp_spn.learning.sum_over_replicas(tf.constant(3.0)))
        3.0
    """
    replica = tf.distribute.get_replica_context()
    if replica is None:
        raise RuntimeError(
            "sum_over_replicas: received a call outside of any replica, expected one "
            "within strategy.run, where each replica has values of its own. Move the "
            "call into the function that strategy.run is given."
        )
    if replica.num_replicas_in_sync == 1:
        return values
    # Identity, since what has no device yet, as an argument, cannot be reduced; one
    # type at a time, since TensorFlow concatenates what it sends.
    flat = [tf.identity(value) for value in tf.nest.flatten(values)]
    for dtype in sorted({value.dtype.name for value in flat}):
        places = [n for n, value in enumerate(flat) if value.dtype.name == dtype]
        sums = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, [flat[place] for place in places]
        )
        for place, value in zip(places, sums, strict=True):
            flat[place] = value
    return tf.nest.pack_sequence_as(values, flat)


def assign_in_replica(variables: list[tf.Variable], values: list[Tensor]) -> None:
    """Assigns values that are the same on all replicas, within ``strategy.run`` too."""
    if not tf.distribute.has_strategy():
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return

    def update(strategy: tf.distribute.Strategy, values: list[np.ndarray]) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(
                variable, lambda copy, new: copy.assign(new), args=(value,), group=False
            )

    tf.distribute.get_replica_context().merge_call(update, args=(values,))
