"""Type aliases, and the letters that stand for axes everywhere in the package.

Each letter has one meaning; a prime marks a part of an axis, as in ``V'`` of ``V``.

    A     regions that a downward pass has reached
    B     blocks of examples
    C     classes
    D     dimensions of one variable
    E     coordinates of an event, all dimensions of all variables
    F     features, or functions of a variable, such as sufficient statistics
    G     columns of a table of leaf components, categories among them
    H     partitions of a region
    I     units that go into a sum
    J     rows of an index table, in order
    K     units of a region: components of a leaf region, sums of another one
    L     leaf slots, one for each pair of a leaf region and a variable of it
    M     pairs of a parameter set and an example, in a downward pass
    N     examples
    O     units that come out of sums
    P     leading batch dimensions of parameters, any number
    Q     states of a chain
    R     regions
    S     leading sample dimensions of values, any number
    T     steps in time; ``T'`` transitions, one or ``T - 1``
    U     units of one partition: its products
    V     variables
    W     slots of the widest leaf region
    Z     units of the interface of a chain
    ...   any leading dimensions
    *     any further dimensions

Inside the kernel a value is ``[..., R, K, N]``: units before examples, so that a sum is
one matrix product ``[O, I] x [I, N]`` per region and no tensor is ever transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

TensorLike: TypeAlias = Any
"""Anything that `tf.convert_to_tensor` takes, a `tf.Tensor` or `tf.Variable`."""

Tensor: TypeAlias = Any
"""A `tf.Tensor` (TensorFlow ships no types that mypy can use)."""

Params: TypeAlias = dict[str, Any]
"""Parameters of a circuit by name: tensors or variables."""

Expectations: TypeAlias = dict[str, Any]
"""Tensors that add over batches.

``sums`` by parameter name: counts ``[R, I, O]`` (``[C]`` of the prior); ``leaf``: the
leaf layer's sufficient statistics; ``log_likelihood``: float64 weighted sum;
``num_examples``: float64 sum of the weights.
"""

Seed: TypeAlias = Any
"""`None`, an int, a pair of ints or an int32 tensor of shape [2], as in TFP."""

Config: TypeAlias = dict[str, object]
"""The arguments of a constructor by name, as Keras saves them."""

DTypeLike: TypeAlias = str | type | np.dtype | tf.DType | None
"""A dtype or its name; `None` for a default."""

ShapeLike: TypeAlias = Sequence[int | None] | tf.TensorShape
"""A shape, `None` for a size that is not known."""
