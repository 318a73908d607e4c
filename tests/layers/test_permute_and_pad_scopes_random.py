"""The random permutations: each row holds all scopes, padding stands where it must."""

import hypothesis
import keras
import numpy as np
from hypothesis import strategies as st

from tfp_spn import layers
from tfp_spn.layers.regions.permute_and_pad_scopes_random import random_permutations


@st.composite
def problems(draw):
    """Factors, and a number of scopes that needs them all."""
    factors = draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    total = int(np.prod(factors))
    least = total // factors[-1] + 1
    return factors, draw(st.integers(min(least, total), total))


@hypothesis.given(
    problem=problems(), num_decomps=st.integers(1, 3), seed=st.integers(0)
)
def test_rows_are_padded_permutations(problem, num_decomps, seed):
    factors, num_scopes = problem
    rng = np.random.default_rng(seed)
    table = random_permutations(num_scopes, num_decomps, factors, rng)
    total = int(np.prod(factors))
    num_padding = total - num_scopes
    assert table.shape == (num_decomps, total)
    for row in table:
        assert sorted(row[row >= 0]) == list(range(num_scopes))
        padded = np.flatnonzero(row < 0).tolist()
        assert padded == [i * (total // num_padding) for i in range(num_padding)]


@hypothesis.given(problem=problems(), seed=st.integers(0, 2**31))
@hypothesis.settings(max_examples=10)
def test_layer_accepts_what_fits_and_products_consume_it(problem, seed):
    factors, num_scopes = problem
    layer = layers.PermuteAndPadScopesRandom(factors, seed=seed)
    shape = (None, num_scopes, 2, 1)
    layer.build(shape)
    shape = layer.compute_output_shape(shape)
    for num_factors in factors:
        shape = layers.ReduceProduct(num_factors).compute_output_shape(shape)
    assert shape == (None, 1, 2, 1)


def table_of(**arguments):
    layer = layers.PermuteAndPadScopesRandom([4, 4], **arguments)
    layer.build((None, 13, 2, 1))
    return layer.table


def test_equal_seeds_give_equal_permutations():
    assert np.array_equal(table_of(seed=4), table_of(seed=4))
    assert not np.array_equal(table_of(seed=4), table_of(seed=5))
    rows = table_of(seed=4)
    assert not np.array_equal(rows[0], rows[1])


def test_no_seed_follows_keras_and_leaves_numpy_alone():
    keras.utils.set_random_seed(7)
    after_seeding = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = table_of(), table_of()
    assert np.array_equal(np.random.get_state()[1], after_seeding)  # noqa: NPY002
    keras.utils.set_random_seed(7)
    assert np.array_equal(table_of(), first)
    assert not np.array_equal(first, second)


def test_factors_given_later_and_permutations_are_a_weight():
    layer = layers.PermuteAndPadScopesRandom()
    layer.factors = (2, 2)
    layer.build((None, 3, 1, 1))
    assert not layer.trainable_weights
    other = layers.PermuteAndPadScopesRandom([2, 2])
    other.build((None, 3, 1, 1))
    other.set_weights(layer.get_weights())
    assert np.array_equal(other.table, layer.table)
