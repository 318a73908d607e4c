"""Which channel of each factor a product channel multiplies.

A product over ``P`` cells of ``C`` channels has ``C ** P`` possible channels. When
fewer are wanted, they are drawn so that none occurs twice and that each cell uses its
channels equally often, up to one: combinations come in classes of ``C``, those that
differ by one shift of all cells' channels, and whole classes are taken.
"""

from __future__ import annotations

import numpy as np

_LARGEST_DRAW = 2**20


def all_combinations(num_channels: int, num_factors: int) -> np.ndarray:
    """int32 ``[factors, channels ** factors]``; the first factor changes fastest."""
    output = np.arange(num_channels**num_factors)
    place = num_channels ** np.arange(num_factors)
    return (output // place[:, np.newaxis] % num_channels).astype(np.int32)


def random_combinations(
    num_channels: int, num_factors: int, num_outputs: int, rng: np.random.Generator
) -> np.ndarray:
    """Distinct combinations, balanced within each factor.

    Args:
        num_channels: Channels ``C`` of each factor.
        num_factors: Factors ``P``.
        num_outputs: How many combinations, at most ``C ** P``.
        rng: Generator of the choice.

    Returns:
        int32 ``[factors, num_outputs]``.
    """
    num_classes = -(-num_outputs // num_channels)
    shifts = _distinct_rows(num_channels, num_factors - 1, num_classes, rng)
    columns = []
    for shift in shifts:
        first = rng.permutation(num_channels)
        others = (first + shift[:, np.newaxis]) % num_channels
        columns.append(np.concatenate([first[np.newaxis], others]))
    return np.concatenate(columns, axis=1)[:, :num_outputs].astype(np.int32)


def _distinct_rows(
    base: int, length: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """`count` different rows of `length` digits below `base`."""
    total = base**length
    if total <= _LARGEST_DRAW:
        numbers = rng.choice(total, count, replace=False)
        return numbers[:, np.newaxis] // base ** np.arange(length) % base
    rows: dict[tuple[int, ...], None] = {}
    while len(rows) < count:  # at least half of all rows are free: few draws are lost
        for row in rng.integers(0, base, [count - len(rows), length]).tolist():
            rows[tuple(row)] = None
    return np.array(list(rows))
