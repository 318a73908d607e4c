"""Which leaf layer has which variables: the argument of `MixedLeaf`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfp_spn._serialization import deserialize
from tfp_spn.layers.leaves.base_leaf import BaseLeaf


def checked_groups(
    mixed: type[BaseLeaf], leaves: object
) -> list[tuple[BaseLeaf, tuple[int, ...]]]:
    """Reads the pairs of a leaf layer and its variables.

    Args:
        mixed: The class that takes them.
        leaves: The argument as it was given, or as it was saved.

    Raises:
        TypeError: They are no pairs of layers and variables.
        ValueError: A variable has no leaf or several, or a layer is used already.
    """
    expected = (
        "expected pairs of a leaf layer and its variables, such as "
        "[(NormalLeaf(8), [0, 2]), (BernoulliLeaf(8), [1])]."
    )
    if not isinstance(leaves, list | tuple) or not leaves:
        raise TypeError(f"MixedLeaf: received leaves={leaves!r}, {expected}")
    pairs: list[tuple[BaseLeaf, tuple[int, ...]]] = []
    for pair in leaves:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError(f"MixedLeaf: received {pair!r} among leaves, {expected}")
        leaf = deserialize(mixed, "leaves", pair[0], BaseLeaf)
        variables = np.asarray(pair[1])
        if not isinstance(leaf, BaseLeaf) or isinstance(leaf, mixed):
            raise TypeError(
                f"MixedLeaf: received {type(leaf).__name__} among leaves, {expected}"
            )
        if variables.ndim != 1 or not np.issubdtype(variables.dtype, np.integer):
            raise TypeError(
                f"MixedLeaf: received the variables {pair[1]!r} of {leaf.label}, "
                f"{expected}"
            )
        if leaf.num_slots or any(leaf is other for other, _ in pairs):
            raise ValueError(
                f'MixedLeaf: leaf layer "{leaf.name}" already has other variables. '
                "Give it all of its variables at once, and each circuit layers of its "
                "own."
            )
        pairs.append((leaf, tuple(sorted(int(v) for v in variables))))
    found = sorted(v for _, variables in pairs for v in variables)
    if found != list(range(len(found))) or not all(variables for _, variables in pairs):
        raise ValueError(
            f"MixedLeaf: received leaves of the variables {found}, expected each of "
            "them once, from 0 on, and none without. Give each variable one leaf."
        )
    return pairs


def check_agreement(mixed: BaseLeaf, leaves: Sequence[BaseLeaf]) -> None:
    """Checks that leaves have as many components as `mixed`, and its dtype."""
    for attribute in ("num_components", "compute_dtype"):
        own = getattr(mixed, attribute)
        if any(getattr(leaf, attribute) != own for leaf in leaves):
            received = {leaf.name: getattr(leaf, attribute) for leaf in leaves}
            raise ValueError(
                f"MixedLeaf: received leaves of different {attribute}, {received}, "
                f"expected {own} of all: components of equal number are one component "
                "of a region. Construct them alike."
            )
    if not all(isinstance(leaf, keras.layers.Layer) for leaf in leaves):
        raise TypeError("MixedLeaf: received leaves that are no Keras layers.")
