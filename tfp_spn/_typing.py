"""Type aliases, and the letters that stand for axes everywhere in the package.

``N`` examples or samples, ``V`` variables, ``D`` dimensions of one variable, ``R``
regions, ``K`` units of a region (``I`` going into a sum, ``O`` coming out of it),
``L`` leaf slots (one per pair of leaf region and variable in its scope), ``H``
partitions of a region, ``A`` children of a partition, ``C`` classes, ``P`` leading
batch dimensions of parameters, ``...`` any leading dimensions.

Inside the kernel a value is ``[..., R, K, N]``: units before examples, so that a sum is
one matrix product ``[O, I] x [I, N]`` per region and no tensor is ever transposed.
"""

from __future__ import annotations

from typing import Any, TypeAlias

TensorLike: TypeAlias = Any
"""Anything that `tf.convert_to_tensor` takes, a `tf.Tensor` or `tf.Variable`."""

Tensor: TypeAlias = Any
"""A `tf.Tensor` (TensorFlow ships no types that mypy can use)."""

Params: TypeAlias = dict[str, Any]
"""Parameters of a circuit by name: tensors or variables."""

Seed: TypeAlias = Any
"""`None`, an int, a pair of ints or an int32 tensor of shape [2], as in TFP."""
