"""Shapes, configs, values, scopes and errors of the layers over images."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers.spatial_nodes import product, side_by_side
from tests.layers.stacks import RULES
from tfp_spn import layers
from tfp_spn.circuits import from_layers
from tfp_spn.layers.spatial.channel_choice import (
    all_combinations,
    random_combinations,
)
from tfp_spn.layers.spatial.grid_scopes import scopes_of
from tfp_spn.ops.windows import AxisWindows, GridWindows

# name: (layer, input shape, output shape)
CASES = {
    "valid": (lambda: side_by_side(), (5, 4, 6, 3), (5, 2, 3, 3)),
    "full": (lambda: product(2), (5, 4, 3, 2), (5, 6, 5, 2)),
    "final": (lambda: product(8, "final"), (5, 14, 13, 2), (5, 8, 8, 2)),
    "final of one row": (
        lambda: product(1, "final", kernel_size=[1, 2], dilations=[1, 2]),
        (5, 3, 4, 2),
        (5, 3, 2, 2),
    ),
    "full with strides": (
        lambda: product(1, strides=[2, 1]),
        (5, 3, 3, 2),
        (5, 2, 4, 2),
    ),
    "all channels": (
        lambda: product(1, "valid", kernel_size=[1, 2], depthwise=False),
        (5, 1, 2, 3),
        (5, 1, 1, 9),
    ),
    "some channels": (
        lambda: side_by_side(depthwise=False, num_channels=7, seed=1),
        (5, 2, 4, 3),
        (5, 1, 2, 7),
    ),
    "few channels": (
        lambda: side_by_side(depthwise=False, num_channels=2, seed=1),
        (5, 2, 4, 3),
        (5, 1, 2, 2),
    ),
    "local sum": (lambda: layers.Local2DSum(4), (5, 3, 2, 6), (5, 3, 2, 4)),
    "local sum by em": (
        lambda: layers.Local2DSum(4, sum_op=RULES["em"]),
        (5, 3, 2, 6),
        (5, 3, 2, 4),
    ),
    "shared sum": (
        lambda: layers.Conv2DSum(4, logspace_accumulators=False),
        (5, 3, 2, 6),
        (5, 3, 2, 4),
    ),
    "to regions": (lambda: layers.SpatialToRegions(), (5, 3, 2, 6), (5, 1, 1, 36)),
    "leaf": (lambda: layers.NormalLeaf(4), (5, 3, 2, 2), (5, 3, 2, 4)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@each_case
@pytest.mark.parametrize("batch", [5, 0])
def test_output_has_the_computed_shape(case, batch):
    make, shape, expected = case
    layer = make()
    symbolic = layer(keras.Input(shape[1:]))
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *expected[1:])
    assert symbolic.shape == (None, *expected[1:])
    assert layer(tf.zeros([batch, *shape[1:]])).shape == (batch, *expected[1:])


@each_case
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dtype_is_the_layers_own(case, dtype):
    make, shape, _ = case
    layer = make()
    layer = type(layer).from_config({**layer.get_config(), "dtype": dtype})
    assert layer(tf.ones(shape, dtype)).dtype == dtype
    assert make().compute_dtype == "float32"


@each_case
def test_config_and_weights_round_trip(case):
    make, shape, _ = case
    layer = make()
    described = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(described)
    assert loaded.get_config() == layer.get_config()
    x = tf.random.normal(shape)
    layer(x)
    loaded(x)
    loaded.set_weights(layer.get_weights())
    np.testing.assert_array_equal(loaded(x), layer(x))


def test_parameters_have_the_shapes_of_libspn_keras():
    local, shared = layers.Local2DSum(4), layers.Conv2DSum(4)
    for layer in (local, shared):
        layer.build((None, 3, 2, 6))
        assert len(layer.variables) == 1
    assert local.accumulators.shape == (3, 2, 6, 4)
    assert shared.accumulators.shape == (1, 1, 6, 4)
    chosen = side_by_side(depthwise=False, num_channels=5)
    chosen.build((None, 2, 2, 3))
    assert chosen.trainable_variables == []
    assert chosen.channel_table.shape == (4, 5)
    assert chosen.combinations.dtype == np.int32


def test_padding_is_one_and_impossible_values_stay_impossible():
    x = np.full([1, 2, 2, 2], -np.inf, "float32")
    x[..., 1] = 1.0
    for layer in (product(), product(depthwise=False, num_channels=3, seed=0)):
        x_tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x_tensor)
            y = layer(x_tensor)
            total = tf.reduce_sum(tf.where(y > -np.inf, y, 0))
        assert not np.any(np.isnan(y))
        assert not np.any(np.isnan(tape.gradient(total, x_tensor)))
    depthwise = product()(x).numpy()
    assert depthwise[0, :, :, 1].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert np.all(depthwise[0, :, :, 0] == -np.inf)


def test_the_first_cell_is_the_fastest_digit():
    x = np.array([[10.0, 20.0], [1.0, 2.0]]).reshape(1, 1, 2, 2)
    layer = product(1, "valid", kernel_size=[1, 2], depthwise=False)
    assert layer(x).numpy().ravel().tolist() == [11, 21, 12, 22]
    assert layer.combinations.T.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_combinations_are_distinct_and_balanced(channels, factors, data):
    count = data.draw(st.integers(1, min(channels**factors, 60)))
    seed = data.draw(st.integers(0, 99))
    table = random_combinations(channels, factors, count, np.random.default_rng(seed))
    assert table.shape == (factors, count)
    assert table.min() >= 0
    assert table.max() < channels
    assert len({*map(tuple, table.T.tolist())}) == count
    for row in table:
        uses = np.bincount(row, minlength=channels)
        assert uses.max() - uses.min() <= 1


def test_combinations_of_many_cells():
    table = random_combinations(32, 16, 96, np.random.default_rng(0))
    assert table.shape == (16, 96)
    assert len({*map(tuple, table.T.tolist())}) == 96
    assert {*map(tuple, all_combinations(3, 2).T.tolist())} == {
        (a, b) for a in range(3) for b in range(3)
    }


@settings(max_examples=60)
@given(st.data())
def test_windows_are_a_naive_loop(data):
    def axis(size):
        kernel, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
        pads = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
        reach = (kernel - 1) * dilation
        before = max(pads[0], reach - size + 1)
        stride = data.draw(st.integers(1, 3))
        return AxisWindows(size, kernel, stride, dilation, before, pads[1])

    size = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    windows = GridWindows(axis(size[0]), axis(size[1]))
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    expected = np.zeros([2, *windows.shape, 3])
    cells = []
    for a in range(windows.rows.kernel_size):
        for b in range(windows.columns.kernel_size):
            cell = np.zeros_like(expected)
            for i, j in np.ndindex(windows.shape):
                row = i * windows.rows.stride + a * windows.rows.dilation
                column = j * windows.columns.stride + b * windows.columns.dilation
                row, column = row - windows.rows.before, column - windows.columns.before
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    cell[:, i, j] = x[:, row, column]
            cells.append(cell)
    expected = np.sum(cells, 0)
    np.testing.assert_allclose(windows.sum(tf.constant(x), 1), expected)
    flat = np.concatenate([x.reshape(2, -1, 3), np.zeros([2, 1, 3])], 1)
    for have, place, want in zip(
        windows.take(tf.constant(x), 1), windows.positions, cells, strict=True
    ):
        np.testing.assert_array_equal(have, want)
        np.testing.assert_array_equal(flat[:, place], want)


def test_scopes_follow_the_symbolic_tensors():
    x = layers.NormalLeaf(2)(keras.Input((4, 4, 1)))
    assert scopes_of(x).pixels(2, 3) == [(2, 3)]
    x = layers.Local2DSum(3)(side_by_side()(x))
    assert scopes_of(x).pixels(1, 0) == [(2, 0), (2, 1), (3, 0), (3, 1)]
    x = product()(x)
    assert scopes_of(x).shape == (3, 3)
    assert scopes_of(x).pixels(0, 0) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(scopes_of(x).pixels(1, 1)) == 16
    x = layers.Conv2DSum(3)(product(2, "final")(x))
    assert all(len(scopes_of(x).pixels(i, j)) == 16 for i, j in np.ndindex(2, 2))
    assert scopes_of(layers.SpatialToRegions()(x)) is None
    assert scopes_of(product()(keras.Input((4, 4, 1)))) is None


# Random draws differ between layers whose tensors do.
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"sample"}))
def test_shared_weights_are_local_ones_that_agree(rule):
    shared = layers.Conv2DSum(3, sum_op=RULES[rule])
    local = layers.Local2DSum(3, sum_op=RULES[rule])
    x = tf.random.normal([4, 2, 3, 5], seed=1)
    shared(x), local(x)
    local.accumulators.assign(np.tile(shared.accumulators, [2, 3, 1, 1]))
    np.testing.assert_allclose(shared(x), local(x), rtol=1e-6, atol=1e-6)
    gradients = []
    for layer in (shared, local):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * tf.range(3.0))
        gradients.append(tape.gradient(loss, [x, layer.accumulators.value]))
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], rtol=1e-4, atol=1e-5)
    summed = np.sum(gradients[1][1], (0, 1), keepdims=True)
    if rule != "em":  # soft EM normalises counts per sum
        np.testing.assert_allclose(gradients[0][1], summed, rtol=1e-4, atol=1e-4)


def stack(*inner, image=(4, 4), top=None):
    head = [keras.Input((*image, 1)), layers.NormalLeaf(2)]
    top = top or [layers.SpatialToRegions(name="t"), layers.RootSum(name="root")]
    return keras.Sequential([*head, *inner, *top])


def built(layer):
    layer.build((None, 2, 2, 3))
    return layer


def assigned_behind_its_back():
    """Layers that never saw symbolic tensors, so that only `from_layers` can check."""
    stack = [
        layers.NormalLeaf(2),
        product(1, name="a"),
        product(1, "valid", name="p"),
        layers.SpatialToRegions(),
        layers.RootSum(),
    ]
    shape = (None, 2, 2, 1)
    for layer in stack:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    from tfp_spn.circuits import LayeredCircuit

    return LayeredCircuit(stack)


# name: (what fails, regex)
WRONG = {
    "strides": (
        lambda: product(strides=[1, 0]),
        r"Conv2DProduct: `strides\[1\]` must be at least 1. Received",
    ),
    "kernel size": (
        lambda: product(kernel_size="ab"),
        "for rows.*Received kernel_size='ab'",
    ),
    "three": (
        lambda: product(dilations=[1, 1, 1]),
        r"have 2.*Received dilations=\[1, 1, 1\]",
    ),
    "padding": (
        lambda: product(1, "same"),
        r"received padding='same', expected one of \['valid', 'full', 'final'\]",
    ),
    "num_channels": (
        lambda: product(num_channels=0),
        "`num_channels` must be at least 1. Received num_channels=0",
    ),
    "kernel larger than the image": (
        lambda: product(3, "valid", name="p").build((None, 8, 3, 1)),
        r'"p": received width 3 with kernel_size 2, dilation 3, stride 1 and padding='
        r"'valid': the kernel spans 4 cells; expected at most 3. Use a smaller",
    ),
    "negative padding": (
        lambda: product(2, "final", name="p").build((None, 8, 8, 1)),
        r'"p": received height 8 with kernel_size 2, dilation 2, stride 1 and padding='
        r"'final', which pads -4 cells; expected twice the reach .* = 2 to be at least "
        r"8. Use a dilation of at least 4",
    ),
    "sizes that do not divide": (
        lambda: side_by_side(name="p").build((None, 8, 7, 1)),
        r'"p": received width 7 .*: the windows leave 1 cells out; expected a size like'
        r" 6 or 8. Resize",
    ),
    "channels beyond reach": (
        lambda: side_by_side(depthwise=False, num_channels=17).build((None, 2, 2, 2)),
        r"received num_channels=17, expected at most 16: as many combinations there "
        r"are of 2 channels in each of 4 cells. Reduce",
    ),
    "too many channels": (
        lambda: side_by_side(depthwise=False).build((None, 2, 2, 32)),
        r"which makes 1048576 channels; expected at most 65536. Pass depthwise=True",
    ),
    "rank": (
        lambda: layers.Local2DSum(2).build((None, 4, 2)),
        r"received input shape \(None, 4, 2\), expected \[batch, height.*keras.Input",
    ),
    "unknown size": (
        lambda: product().build((None, None, 4, 2)),
        r"expected .* with known height, width and channels",
    ),
    "overlap of rows": (
        lambda: stack(product(name="p", strides=[1, 2]), product(name="q")),
        r'Conv2DProduct "q": not decomposable. In the output cell \(1, 0\) the kernel '
        r"positions \(0, 1\) and \(1, 1\) share the pixels \[\(0, 0\)\]; expected fac",
    ),
    "overlap beyond a dense sum": (
        lambda: stack(
            product(name="p", strides=[1, 2]), layers.DenseSum(2), product(name="q")
        ),
        r'Conv2DProduct "q": not decomposable. In the output cell \(1, 0\) the kernel ',
    ),
    "overlap of columns": (
        lambda: stack(
            product(name="p", kernel_size=[1, 2]), product(name="q", kernel_size=[1, 2])
        ),
        r'"q": not decomposable. In the output cell \(0, 1\) the kernel positions '
        r"\(0, 0\) and \(0, 1\) share the pixels \[\(0, 0\)\]",
    ),
    "not smooth": (
        lambda: stack(side_by_side(), product()),
        r'SpatialToRegions "t": not smooth. Received 3 by 3 cells, of which the cell '
        r"\(0, 0\) lacks the pixels \[\(0, 2\), \(0, 3\), .*\(4 more\)\]; expected",
    ),
    "not complete": (
        lambda: stack(product(2, "valid", kernel_size=[1, 2]), image=(1, 3)),
        r'"t": not complete. Received 1 by 1 cells, of which the cell \(0, 0\) lacks '
        r"the pixels \[\(0, 1\)\]; expected that each cell covers all 1 by 3 pixels",
    ),
    "gaps": (
        lambda: stack(product(1, "valid", kernel_size=[1, 4], strides=[3, 1])),
        r'"t": not smooth. Received 2 by 1 cells, of which the cell \(0, 0\) lacks',
    ),
    "checked again by from_layers": (
        assigned_behind_its_back,
        r'Conv2DProduct "p": not decomposable.*share the pixels',
    ),
    "order": (
        lambda: from_layers(
            keras.Sequential(
                [
                    keras.Input((1, 1, 1)),
                    layers.NormalLeaf(2),
                    layers.SpatialToRegions(),
                    layers.Conv2DSum(2),
                    layers.RootSum(),
                ]
            )
        ),
        r"received the stack \[NormalLeaf, SpatialToRegions, Conv2DSum, RootSum\], exp",
    ),
    "no grid": (
        lambda: from_layers(
            keras.Sequential(
                [keras.Input((1, 1, 1)), layers.NormalLeaf(2), layers.RootSum()]
            )
        ),
        r"received the stack \[NormalLeaf, RootSum\], expected .*SpatialToRegions, Den",
    ),
    "data": (
        lambda: from_layers(stack(side_by_side(), side_by_side()))(
            np.zeros([2, 4, 4, 3])
        ),
        r"received data of shape \(2, 4, 4, 3\), expected \[batch, 4, 4, 1\]",
    ),
    "data of other channels": (
        lambda: stack(side_by_side(), side_by_side()).layers[0](np.zeros([2, 4, 4, 3])),
        r'NormalLeaf ".*": received data of shape \(2, 4, 4, 3\), expected \[batch, 4, '
        r"4, 1\], for which the layer was built. Reshape",
    ),
    "images of another size": (
        lambda: built(layers.Local2DSum(2, name="s"))(tf.zeros([1, 3, 2, 3])),
        r'Local2DSum "s": received an input of shape \(1, 3, 2, 3\), expected \[batch, '
        r"2, 2, 3\], for which",
    ),
    "inputs of other channels": (
        lambda: built(layers.Conv2DSum(2, name="s"))(tf.zeros([1, 5, 5, 4])),
        r'Conv2DSum "s": received .* \(1, 5, 5, 4\), expected \[batch, ..., ..., 3\],',
    ),
    "leaf without channels": (
        lambda: layers.NormalLeaf(2).build((None, 4, 4)),
        r"received input shape \(None, 4, 4\), expected .* or \[batch, height, width,",
    ),
}


@pytest.mark.parametrize(("call", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, regex):
    wrong = (TypeError, ValueError)
    with pytest.raises(wrong, match="received|Received|share") as caught:
        call()
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)
