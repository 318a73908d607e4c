"""The probabilities of the classes of a circuit, as an argument."""

from __future__ import annotations

import numpy as np

from tfp_spn._arrays import as_array


def as_class_prior(value: object, num_classes: int) -> str | list[float]:
    """Returns ``"learned"``, ``"uniform"`` or probabilities that add up to 1.

    Args:
        value: What the user gave.
        num_classes: How many classes there are.

    Raises:
        ValueError: It is none of these.
    """
    received = f"received class_prior={value!r}"
    if isinstance(value, str):
        if value in ("learned", "uniform"):
            return value
        raise ValueError(
            f"from_region_graph: the class prior is unknown, {received}, expected "
            '"learned", "uniform" or probabilities. Choose one of these.'
        )
    probs = as_array(value, "from_region_graph", "class_prior").astype(np.float64)
    if probs.shape != (num_classes,):
        raise ValueError(
            "from_region_graph: the class prior does not fit the classes, received "
            f"shape {probs.shape}, expected [{num_classes}]. Pass one probability for "
            "each class root."
        )
    if not (np.all(probs >= 0) and abs(probs.sum() - 1) < 1e-4):
        raise ValueError(
            f"from_region_graph: the class prior is no distribution, {received}, "
            "expected numbers that are not negative and add up to 1. Divide counts by "
            "their sum."
        )
    return (probs / probs.sum()).tolist()
