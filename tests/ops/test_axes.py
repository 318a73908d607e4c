"""Moving, merging and splitting axes keeps values and static shapes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn.ops.axes import gather_rows, merge_axes, move_axis, reshape_axes

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


def test_axes_of_known_and_unknown_sizes():
    operations = {
        "move": (
            lambda x: [move_axis(x, a, b) for a, b in [(0, 2), (-1, 0), (1, -2)]],
            [np.moveaxis(X, a, b) for a, b in [(0, 2), (-1, 0), (1, -2)]],
        ),
        "merge": (
            lambda x: [merge_axes(x, 1, 3), merge_axes(x, -2, 0)],
            [X.reshape(2, 12, 5), X.reshape(2, 3, 20)],
        ),
        "split": (
            lambda x: [reshape_axes(x, 2, 3, [2, 2]), reshape_axes(x, 1, 0, [6, None])],
            [X.reshape(2, 3, 2, 2, 5), X.reshape(2, 6, 10)],
        ),
        "flags": (lambda x: [move_axis(x > 7, 0, -1)], [np.moveaxis(X > 7, 0, -1)]),
    }
    for shape in ([2, 3, 4, 5], [None, 3, 4, 5], [None, None, 4, 5]):
        for operation, wanted in operations.values():

            @tf.function(input_signature=[tf.TensorSpec(shape, tf.int64)])
            def evaluated(x, operation=operation):
                return operation(x)

            for have, want in zip(evaluated(X), wanted, strict=True):
                np.testing.assert_array_equal(have, want)


def test_axes_without_entries():
    @tf.function(input_signature=[tf.TensorSpec([None, 0, None])])
    def evaluated(x):
        return merge_axes(x, 0, 2), reshape_axes(x, 1, 0, [None, 2])

    merged, split = evaluated(tf.zeros([3, 0, 4]))
    assert merged.shape == [0, 4]
    assert split.shape == [3, 0, 2]


def test_rows_of_tables_whose_batches_broadcast():
    index = np.array([[[0, 3]], [[2, 1]]])  # [2, 1, N]
    rows = gather_rows(tf.constant(X[0]), tf.constant(index))  # of [3, G, K]
    assert rows.shape == [2, 3, 2, 5]
    for a in range(2):
        for b in range(3):
            np.testing.assert_array_equal(rows[a, b], X[0, b][index[a, 0]])
