"""Rows that are counted rather than repeated."""

import numpy as np
import pytest

from tests.structure.structure_cases import dependent_rows
from tfp_spn.structure import distinct_rows


def test_rows_with_their_weights_are_the_table():
    rng = np.random.default_rng(0)
    x = dependent_rows(200).astype(float)
    observed, weight = rng.random(x.shape) < 0.7, rng.uniform(0, 3, 200)
    weight[:5] = 0
    rows, seen, total = distinct_rows(x, observed, weight)
    assert rows.shape == seen.shape
    assert len(rows) < 60
    np.testing.assert_array_equal(rows[~seen], 0)
    together = [tuple(r) for r in np.hstack([rows, seen])]
    assert len(set(together)) == len(together)
    whole = dict.fromkeys(together, 0.0)
    for row, mask, w in zip(x * observed, observed, weight, strict=True):
        if w:
            whole[(*row, *mask)] += w
    assert list(whole) == together
    np.testing.assert_allclose(total, list(whole.values()))
    first = (x * observed)[5]
    np.testing.assert_array_equal(rows[0], first)


def test_a_table_of_different_rows_stays():
    x = np.random.default_rng(0).normal(size=[20, 3])
    x[1] = x[0]
    x[2, 1] = np.nan
    rows, seen, weight = distinct_rows(x)
    np.testing.assert_array_equal(rows, np.nan_to_num(x))
    np.testing.assert_array_equal(seen, ~np.isnan(x))
    np.testing.assert_array_equal(weight, 1)
    with pytest.raises(ValueError, match="`sample_weight` must be finite"):
        distinct_rows(x, sample_weight=np.zeros(20))
