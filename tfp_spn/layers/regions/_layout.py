"""Between the layers' layout and the kernel's.

Layers keep ``[batch, scopes, decomps, nodes]``, the kernel ``[..., R, K, N]``: units
before examples. Scopes go to the leading axes and decompositions are the regions.
Only a layer that is called on its own pays for these two transposes.
"""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor


def to_kernel(x: Tensor) -> Tensor:
    """``[batch, scopes, decomps, nodes]`` to ``[scopes, decomps, nodes, batch]``."""
    return tf.transpose(x, [1, 2, 3, 0])


def from_kernel(x: Tensor) -> Tensor:
    """``[scopes, decomps, nodes, batch]`` to ``[batch, scopes, decomps, nodes]``."""
    return tf.transpose(x, [3, 0, 1, 2])
