"""The picture shows the scopes that the layers have."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.layers.spatial_nodes import make_model, product, side_by_side
from tfp_spn import layers
from tfp_spn.visualization import plot_spatial_scopes

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def pictures(figure):
    return [ax.images[0].get_array() for ax in figure.axes]


def coloured(picture):
    """Where a picture is not grey."""
    return np.ptp(picture, axis=-1) > 0.05


def test_each_level_colours_the_scope_of_one_factor(tmp_path):
    model = make_model("side by side, then overlapping")
    figure = plot_spatial_scopes(model, cell=(0, 0), title="scopes")
    figure.savefig(tmp_path / "scopes.png")
    top, middle, bottom, kernel = pictures(figure)
    assert coloured(top).all()  # a final cell covers everything
    names = [ax.get_title() for ax in figure.axes]
    products = [la.name for la in model.layers if isinstance(la, layers.Conv2DProduct)]
    assert [name.split("\n")[0] for name in names[:-1]] == products[::-1]
    assert names[0].endswith("cell (0, 0) of 2 x 2")
    assert coloured(middle).sum() == 16  # the factor (1, 1), one cell of 3 x 3
    assert coloured(bottom).sum() == 4
    assert kernel.shape == (2, 2, 3)
    parts = {tuple(pixel) for pixel in middle.reshape(-1, 3).round(3).tolist()}
    assert len(parts) == 4


def test_a_corner_has_padding():
    model = make_model("side by side, then overlapping")
    name = [la.name for la in model.layers if isinstance(la, layers.Conv2DProduct)][1]
    corner, *_ = pictures(plot_spatial_scopes(model, name, (0, 2)))
    expected = np.zeros([4, 4], bool)
    expected[:2, 2:] = True
    np.testing.assert_array_equal(coloured(corner), expected)


def test_an_image_lies_behind():
    model = make_model("side by side")
    image = np.arange(16.0).reshape(4, 4, 1)
    picture, *_ = pictures(plot_spatial_scopes(model.layers, cell=(0, 0), image=image))
    plain, *_ = pictures(plot_spatial_scopes(model, cell=(0, 0)))
    assert np.ptp(picture) > np.ptp(plain)
    assert not np.allclose(picture[0, 0], picture[0, 1])


def test_a_cell_of_padding_only():
    model = make_model("cells of padding only")
    name = model.layers[1].name
    picture, *_ = pictures(plot_spatial_scopes(model, name, (2, 2)))
    assert not coloured(picture).any()


def flat_model():
    return keras.Sequential(
        [keras.Input((4,)), layers.FlatToRegions(1), layers.NormalLeaf(2)]
    )


def deep_model():
    head = [keras.Input((4, 4, 1)), layers.NormalLeaf(2)]
    return keras.Sequential([*head, side_by_side(name="p"), product(name="q")])


# name: (call, error, regex)
WRONG = {
    "model": (lambda: plot_spatial_scopes(3), TypeError, r"Received int. Pass the lay"),
    "regions": (
        lambda: plot_spatial_scopes(flat_model()),
        ValueError,
        r"no spatial products. Received layers \['FlatToRegions', 'NormalLeaf'\]; exp",
    ),
    "layer": (
        lambda: plot_spatial_scopes(deep_model(), "r"),
        ValueError,
        r"Received 'r'; expected one of \['p', 'q'\]",
    ),
    "cell": (
        lambda: plot_spatial_scopes(deep_model(), "q", (3, 0)),
        ValueError,
        r"Received \(3, 0\); expected a row below 3 and a column below 3 of Conv2DProd",
    ),
    "image": (
        lambda: plot_spatial_scopes(deep_model(), image=np.zeros([3, 4])),
        ValueError,
        r"Received 3 by 4 pixels; expected 4 by 4",
    ),
}


@pytest.mark.parametrize(("call", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(call, error, regex):
    with pytest.raises(error, match=regex):
        call()
