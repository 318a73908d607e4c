"""Circuits over images by name: structures, leaves, channels and messages."""

from __future__ import annotations

import numpy as np
import pytest

from tfp_spn import (
    circuits,
    distributions,
    layers,
    learning,
    losses,
    region_graphs,
)

RNG = np.random.default_rng(0)


def build(shape=(2, 3), **arguments):
    arguments = {"num_leaf_units": 2, "num_sum_units": 2, **arguments}
    return circuits.image_circuit(shape, **arguments)


def test_region_graphs_by_name():
    expected = {
        "quad-graph": region_graphs.quad_graph((9, 7)),
        "quad-tree-2": region_graphs.quad_tree((9, 7)),
        "quad-tree-4": region_graphs.quad_tree((9, 7), num_splits=4),
        "random-binary-tree": region_graphs.random_binary_trees(63, 5, 1, seed=3),
        "poon-domingos": region_graphs.poon_domingos((9, 7), delta=2),
    }
    for name, graph in expected.items():
        assert build((9, 7), region_graph=name, seed=3).region_graph == graph
    graph = region_graphs.random_quad_tree((2, 3))
    assert build(region_graph=graph).region_graph is graph


def test_leaves_by_name_are_over_all_channels_of_a_pixel():
    x = RNG.integers(0, 256, [4, 6, 3])
    for name, kind in {
        "categorical": layers.CategoricalLeaf,
        "binomial": layers.BinomialLeaf,
        "normal": layers.NormalLeaf,
        "discretized-logistic": layers.DiscretizedLogisticLeaf,
    }.items():
        circuit = build(leaf=name, channels=3, num_classes=2)
        assert type(circuit.leaf) is kind
        assert circuit.program.event_shape == (6, 3)
        assert len(circuit.region_graph.leaves) == 6
        assert np.all(np.isfinite(circuit(x / 255 if name == "normal" else x)))
    leaf = layers.CategoricalLeaf(5, num_categories=17)
    circuit = circuits.image_circuit((2, 3), leaf=leaf)
    assert circuit.leaf is leaf
    assert circuits.image_circuit((1, 2)).leaf.num_components == 16


@pytest.mark.parametrize("sum_product", ["cp", "cp-t", "tucker"])
def test_equal_seeds_equal_circuits(sum_product):
    first, second, other = (
        build(sum_product=sum_product, region_graph="random-binary-tree", seed=seed)
        for seed in (1, 1, 2)
    )
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        np.any(np.array(a) != np.array(b))
        for a, b in zip(first.weights, other.weights, strict=True)
    )


def test_arguments_are_passed_on():
    circuit = build(num_classes=2, class_prior="uniform", leaf_sums="per-partition")
    config = circuit.get_config()
    assert config["class_prior"] == "uniform"
    assert config["leaf_sums"] == "per-partition"


WRONG = {
    "graph": (
        {"region_graph": "quadgraph"},
        ValueError,
        r"received 'quadgraph', expected one of \"quad-graph\", \"quad-tree-2\", "
        r"\"quad-tree-4\", \"random-binary-tree\", \"poon-domingos\"\. Or pass",
    ),
    "no graph": ({"region_graph": None}, TypeError, r"received NoneType. Known names"),
    "graph of another size": (
        {"region_graph": region_graphs.quad_graph((3, 3))},
        ValueError,
        r"over 9 variables and shape=\(2, 3\), expected 6. Build it for",
    ),
    "leaf": (
        {"leaf": "logistic"},
        ValueError,
        r"received 'logistic', expected one of .*\"discretized-logistic\". Or pass",
    ),
    "no leaf": ({"leaf": 3}, TypeError, r"leaf must be a name.*received int"),
    "units": (
        {"leaf": layers.NormalLeaf(3)},
        ValueError,
        r"num_leaf_units=2 and num_components=3, expected equal ones",
    ),
    "channels": ({"channels": 0}, ValueError, r"`channels` must be at least 1"),
    "product": ({"sum_product": "em"}, ValueError, r"\"cp\", \"cp-t\" or \"tucker\""),
}


@pytest.mark.parametrize(("arguments", "error", "regex"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(arguments, error, regex):
    with pytest.raises(error, match=regex):
        build(**arguments)


def test_shape_with_channels():
    with pytest.raises(ValueError, match="Drop the channels"):
        build((1, 2, 3))


WRONG_DATA = {
    "another size": (RNG.integers(0, 256, [4, 9]), None, r"shape \(4, 9\).*expected"),
    "channels": (RNG.integers(0, 256, [4, 6, 3]), None, r"shape \(4, 6, 3\)"),
    "a value": (np.full([4, 6], 256), None, r"received 256.*integers from 0 to 255"),
    "a label": (np.zeros([4, 6], int), np.array([0, 1, 2, 0]), r"labels.*2"),
}


@pytest.mark.parametrize(("x", "labels", "regex"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_wrong_data_are_refused_before_training(x, labels, regex):
    circuit = build(num_classes=2)
    before = [np.array(w) for w in circuit.weights]
    with pytest.raises(ValueError, match=regex):
        learning.fit(circuit, x, labels=labels, epochs=1, verbose=False)
    loss = losses.HybridGenerativeDiscriminative(0.5, 6, "conditional")
    circuit.compile("adam", loss)
    with pytest.raises(ValueError, match=r"of shape .*expected|received 256 at|2 \(1 "):
        circuit.fit(x, np.zeros(4, int) if labels is None else labels, verbose=0)
    for a, b in zip(before, circuit.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_count_may_be_anything():
    """Hidden pixels, and labels that stand for none."""
    circuit = build(num_classes=2)
    loss = losses.HybridGenerativeDiscriminative(0.5, 6, "conditional", unlabelled=-1)
    circuit.compile("adam", loss)
    x, y = RNG.integers(0, 256, [4, 6]), np.array([0, 1, -1, 0])
    x[0, 2] = 999
    observed = np.ones([4, 6], bool)
    observed[0, 2] = False
    for data in ((x, observed), {"x": x, "observed": observed}):
        history = circuit.fit(data, y, epochs=1, verbose=0)
        assert np.isfinite(history.history["loss"][0])
    with pytest.raises(ValueError, match="received 999 at row 0, column 2, expected"):
        circuit.fit(x, y, verbose=0)


def test_classes_one_by_one():
    """``components_distribution[k]`` is ``p(x | y = k)``, whatever the class prior."""
    x = RNG.integers(0, 256, [5, 6])
    for class_prior, log_prior in (
        ("uniform", np.log([1 / 3] * 3)),
        ([0.2, 0.5, 0.3], np.log([0.2, 0.5, 0.3])),
    ):
        circuit = build(num_classes=3, class_prior=class_prior)
        spn = distributions.SumProductNetwork(circuit)
        conditional = np.asarray(circuit(x)) - log_prior
        for k in range(3):
            component = spn.components_distribution[k]
            assert component.batch_shape == []
            log_prob = component.log_prob(x)
            np.testing.assert_allclose(log_prob, conditional[:, k], rtol=1e-5)
        assert component.sample(2, seed=1).shape == [2, 6]
