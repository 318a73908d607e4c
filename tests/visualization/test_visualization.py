"""Pictures have what they should have; headless (conftest.py sets the Agg backend)."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.processes import run_program
from tfp_spn import region_graphs, visualization
from tfp_spn.learning import History
from tfp_spn.visualization.region_graph import region_positions

plt = pytest.importorskip("matplotlib.pyplot")

GRAPHS = {
    "one leaf": region_graphs.RegionGraph([(0,)], []),
    "tree": region_graphs.random_binary_trees(8, depth=2, num_repetitions=3),
    "graph": region_graphs.quad_graph((4, 4)),
    "chain": region_graphs.linear_tree(5),
    "two roots": region_graphs.RegionGraph([(0, 1), (0, 1)], [], roots=[0, 1]),
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def is_written(figure, path: Path) -> bool:
    figure.savefig(path)
    return path.stat().st_size > 500


@pytest.mark.parametrize("name", GRAPHS)
def test_region_graph_is_drawn(name, tmp_path):
    ax = visualization.plot_region_graph(GRAPHS[name], title=name)
    assert ax.get_title() == name
    assert is_written(ax.figure, tmp_path / "graph.png")


def test_region_graph_has_all_regions_and_partitions():
    graph = GRAPHS["graph"]
    ax = visualization.plot_region_graph(graph)
    drawn = [len(marks.get_offsets()) for marks in ax.collections[1:]]
    assert drawn == [graph.num_partitions, graph.num_regions]


def test_region_graph_draws_on_given_axes():
    _, ax = plt.subplots()
    assert visualization.plot_region_graph(GRAPHS["tree"], ax=ax) is ax


def test_thumbnails_replace_circles_and_are_left_out_without_room():
    graph = GRAPHS["graph"]
    ax = visualization.plot_region_graph(graph, shape=(4, 4))
    assert len(ax.artists) == graph.num_regions
    _, tiny = plt.subplots(figsize=(1, 1))
    assert not visualization.plot_region_graph(graph, tiny, shape=(4, 4)).artists


@pytest.mark.parametrize("show", [True, False])
def test_scopes_are_written_if_asked_for(show):
    graph = GRAPHS["tree"]
    ax = visualization.plot_region_graph(graph, show_scopes=show)
    assert len(ax.texts) == show * graph.num_regions


@pytest.mark.parametrize("name", GRAPHS)
def test_regions_do_not_overlap(name):
    positions = region_positions(GRAPHS[name])
    assert len(set(positions)) == GRAPHS[name].num_regions
    assert [y for _, y in positions] == list(GRAPHS[name].heights)


@pytest.mark.parametrize("as_rows", [True, False])
def test_images_have_an_axes_each(as_rows, rng, tmp_path):
    images = rng.uniform(size=[7, 3, 5])
    if as_rows:
        figure = visualization.plot_images(images.reshape(7, 15), (3, 5), num_columns=4)
    else:
        figure = visualization.plot_images(images, num_columns=4)
    assert len(figure.axes) == 7
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), images[2])
    assert is_written(figure, tmp_path / "images.png")


def test_images_take_titles_limits_and_a_scale(rng):
    figure = visualization.plot_images(
        rng.uniform(size=[2, 3, 3]),
        titles=["a", "b"],
        title="both",
        limits=(0, 2),
        show_scale=True,
    )
    assert len(figure.axes) == 3
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a", "b"]
    assert figure.axes[0].images[0].get_clim() == (0, 2)
    assert figure.get_suptitle() == "both"


def test_images_may_have_missing_pixels(tmp_path):
    images = np.full([2, 3, 3], np.nan)
    figure = visualization.plot_images(images)
    assert is_written(figure, tmp_path / "images.png")


def test_completions_have_a_row_per_image(rng, tmp_path):
    x = rng.uniform(size=[4, 6])
    figure = visualization.plot_completions(
        x, np.arange(6) < 3, mode=x, mean=x, samples=np.stack([x, x]), shape=(2, 3)
    )
    assert len(figure.axes) == 4 * 6
    titles = [ax.get_title() for ax in figure.axes[:6]]
    assert titles == [
        "original",
        "visible",
        "max-product\nmode",
        "mean",
        "sample 1",
        "sample 2",
    ]
    assert is_written(figure, tmp_path / "completions.png")


def test_hidden_pixels_are_tinted(rng):
    x = rng.uniform(size=[2, 2, 2])
    observed = rng.uniform(size=x.shape) < 0.5
    figure = visualization.plot_completions(x, observed)
    assert len(figure.axes) == 4
    for row in range(2):
        tint = figure.axes[2 * row + 1].images[1].get_array()
        np.testing.assert_array_equal(tint[..., 3] == 0, observed[row])


def test_standard_deviations_have_colours_of_their_own(rng):
    x = rng.uniform(size=[2, 2, 2])
    figure = visualization.plot_completions(x, x > 0.5, stddev=10 * x)
    assert figure.axes[2].get_title() == "standard\ndeviation"
    (drawn,) = figure.axes[-1].images
    assert drawn.get_clim() == (0, 10 * x.max())
    assert drawn.get_cmap().name == "viridis"


def test_class_posteriors_have_bars_beside_each_image(rng, tmp_path):
    probs = rng.dirichlet([1.0] * 4, size=3)
    figure = visualization.plot_class_posteriors(
        rng.uniform(size=[3, 6]),
        probs,
        (2, 3),
        observed=np.arange(6) < 3,
        labels=[0, 3, 1],
        num_columns=2,
    )
    assert len(figure.axes) == 2 * 3
    bars = figure.axes[3].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], probs[1])
    colors = [bar.get_facecolor() for bar in bars]
    assert colors[3] != colors[0] == colors[1] == colors[2]
    assert is_written(figure, tmp_path / "posteriors.png")


def test_learning_curve_shows_training_and_validation(tmp_path):
    history = History([-9.0, -3.0, -2.0, -1.0], [-9.5, -3.5, -3.0, -3.2])
    ax = visualization.plot_learning_curve(history)
    training, validation, best = ax.lines
    np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(validation.get_ydata(), [-9.5, -3.5, -3.0, -3.2])
    assert best.get_xdata() == [3]
    assert ax.get_ylim()[0] > -9
    assert is_written(ax.figure, tmp_path / "curve.png")


def test_learning_curves_share_axes():
    history = History([-2.0])
    ax = visualization.plot_learning_curve(history, label="one")
    assert visualization.plot_learning_curve(history, ax, label="two") is ax
    assert [line.get_label() for line in ax.lines] == ["one, training", "two, training"]


def test_learning_curves_of_keras():
    history = keras.callbacks.History()
    history.history = {"loss": [9.0, 3.0, 2.0], "val_loss": [9.5, 3.0, 3.2]}
    ax = visualization.plot_learning_curve(history)
    training, validation, best = ax.lines
    np.testing.assert_array_equal(training.get_ydata(), [9.0, 3.0, 2.0])
    np.testing.assert_array_equal(validation.get_ydata(), [9.5, 3.0, 3.2])
    assert (best.get_xdata(), ax.get_ylabel()) == ([2], "loss")
    assert ax.get_ylim()[1] < 9
    logs = {"loss": [9.0], "log_likelihood": [-9.0]}
    for given in (logs, type("History", (), {"history": logs})):
        (line,) = visualization.plot_learning_curve(given).lines
        np.testing.assert_array_equal(line.get_ydata(), [-9.0])


def test_missing_pixels_are_tinted():
    images = np.arange(18.0).reshape(2, 3, 3)
    images[0, 1, 1] = np.nan
    tints = [len(ax.images) for ax in visualization.plot_images(images).axes]
    assert tints == [2, 1]
    observed = np.ones([3, 3], bool)
    observed[0] = False
    figure = visualization.plot_images(images, observed=observed)
    for number, ax in enumerate(figure.axes):
        tint = ax.images[1].get_array()[..., 3] > 0
        np.testing.assert_array_equal(tint, ~observed | np.isnan(images[number]))
    assert figure.axes[0].images[0].get_clim() == (3.0, 17.0)  # of what is visible
    rows = visualization.plot_images(
        images.reshape(2, 9), (3, 3), observed=observed.ravel()
    )
    assert len(rows.axes[0].images) == 2
    with pytest.raises(TypeError, match="`observed` must be bool"):
        visualization.plot_images(images, observed=np.ones([3, 3]))


IMAGES = np.zeros([2, 3, 3])
MASK = np.ones([2, 3, 3], bool)
FAILURES = {
    "rows without a shape": (
        lambda: visualization.plot_images(np.zeros([2, 9])),
        ValueError,
        r"Received shape \(2, 9\); expected \(any, height, width\)",
    ),
    "another number of pixels": (
        lambda: visualization.plot_images(np.zeros([2, 9]), (2, 4)),
        ValueError,
        r"expected \(any, 8\)",
    ),
    "no shape of an image": (
        lambda: visualization.plot_images(np.zeros([2, 9]), (9,)),
        ValueError,
        "must have 2 elements, the height and the width",
    ),
    "no images": (
        lambda: visualization.plot_images(IMAGES[:0]),
        ValueError,
        "at least one image",
    ),
    "too few titles": (
        lambda: visualization.plot_images(IMAGES, titles=["a"]),
        ValueError,
        "1 titles for 2 images",
    ),
    "another number of completions": (
        lambda: visualization.plot_completions(IMAGES, MASK, mode=IMAGES[:1]),
        ValueError,
        r"`mode` .* expected \(2, height, width\)",
    ),
    "samples without a sample axis": (
        lambda: visualization.plot_completions(IMAGES, MASK, samples=IMAGES),
        ValueError,
        "`samples` does not hold images",
    ),
    "no completions": (
        lambda: visualization.plot_completions(IMAGES[:0], MASK[:0]),
        ValueError,
        "at least one image",
    ),
    "a mask of numbers": (
        lambda: visualization.plot_completions(IMAGES, IMAGES),
        TypeError,
        "must be bool",
    ),
    "a mask of other images": (
        lambda: visualization.plot_completions(IMAGES, MASK[:, 1:]),
        ValueError,
        "does not fit `images`",
    ),
    "posteriors of other images": (
        lambda: visualization.plot_class_posteriors(IMAGES, np.ones([3, 10])),
        ValueError,
        r"Received shape \(3, 10\) for 2 images",
    ),
    "labels of other images": (
        lambda: visualization.plot_class_posteriors(
            IMAGES, np.ones([2, 10]), labels=[1, 2, 3]
        ),
        ValueError,
        r"expected \(2,\)",
    ),
    "no graph": (
        lambda: visualization.plot_region_graph([[0, 1], [2]]),
        TypeError,
        "Received list",
    ),
    "a graph of other images": (
        lambda: visualization.plot_region_graph(GRAPHS["graph"], shape=(3, 4)),
        ValueError,
        "12 pixels; expected 16",
    ),
    "no history": (
        lambda: visualization.plot_learning_curve([1.0]),
        TypeError,
        "Received list",
    ),
    "an empty history": (
        lambda: visualization.plot_learning_curve(History()),
        ValueError,
        "at least one epoch",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors_say_what_is_wrong(name):
    call, kind, message = FAILURES[name]
    with pytest.raises(kind, match=message):
        call()


def test_without_matplotlib_the_extra_is_named():
    code = (
        "from tfp_spn import region_graphs, visualization\n"
        "visualization.plot_region_graph(region_graphs.linear_tree(3))"
    )
    done = run_program(code=code, hidden=["matplotlib", "plotly"])
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: tfp_spn.visualization draws with matplotlib")
    assert "tfp_spn[visualization]" in last
