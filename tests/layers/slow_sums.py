"""Sums and their learning rules with loops over everything: slow and plain."""

from __future__ import annotations

import numpy as np


def log_sum(log_x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``[N, I]`` and ``[I, O]`` to ``[N, O]``."""
    with np.errstate(divide="ignore"):
        return np.log(np.exp(log_x) @ (weights / weights.sum(0)))


def shares(rule: str, log_x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How the flow of each output is divided, ``[N, I, O]``; no ties."""
    weights = weights / weights.sum(0)
    result = np.zeros((*log_x.shape, weights.shape[1]))
    for n, row in enumerate(log_x):
        for o in range(weights.shape[1]):
            joint = np.exp(row) * weights[:, o]
            if joint.sum() == 0:
                continue
            if rule == "hard_em":
                result[n, np.argmax(joint), o] = 1
            elif rule == "unweighted_hard_em":
                result[n, np.argmax(row), o] = 1
            else:
                result[n, :, o] = joint / joint.sum()
    return result


def gradients(
    rule: str, log_x: np.ndarray, weights: np.ndarray, flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What children and accumulators receive of ``flow [N, O]``."""
    divided = shares(rule, log_x, weights) * flow[:, np.newaxis, :]
    to_children, counts = divided.sum(2), divided.sum(0)
    if rule == "em":
        total = np.abs(counts.sum(0))
        counts = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    elif rule == "grad":  # of logarithms: through the softmax
        counts = counts - weights / weights.sum(0) * counts.sum(0)
    elif rule == "grad_linear":  # through w / sum w
        counts = counts / weights - counts.sum(0) / weights.sum(0)
    return to_children, counts
