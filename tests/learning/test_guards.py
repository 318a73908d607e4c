"""What learning refuses, and what it leaves behind when something goes wrong."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import (
    assert_same,
    circuit_of,
    data_of,
    leaf_of,
    values_of,
)
from tfp_spn import initializers, layers, region_graphs
from tfp_spn.circuits.from_layers import from_layers
from tfp_spn.circuits.from_region_graph import from_region_graph
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.learning import (
    NegativeLogJoint,
    NegativeLogLikelihood,
    OnlineExpectationMaximization,
    expected_statistics,
    fit,
)
from tfp_spn.learning.online_expectation_maximization import online_step
from tfp_spn.ops.sum_rules import SumOpEMBackprop

X = data_of("bernoulli", 96)
NORMAL = data_of("normal", 96)


def stack_of(sum_op: Any = None) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(num_decomps=2),
            layers.NormalLeaf(num_components=3),
            layers.DenseProduct(num_factors=2),
            layers.DenseSum(num_sums=2, sum_op=sum_op),
            layers.DenseProduct(num_factors=2),
            layers.RootSum(return_weighted_child_logits=False, sum_op=sum_op),
        ]
    )


@pytest.mark.parametrize("eagerly", [False, True])
def test_online_em_refuses_data_of_another_shape(eagerly) -> None:
    circuit = circuit_of("normal")
    circuit.compile(OnlineExpectationMaximization(0.2), run_eagerly=eagerly)
    before = values_of(circuit)
    wide = np.concatenate([NORMAL, NORMAL], axis=1)
    for x in (wide, NORMAL[:, :3], NORMAL[..., np.newaxis]):
        with pytest.raises(ValueError, match=r"of shape .*, expected \[batch, 4\]. Re"):
            circuit.fit(x, verbose=0)
    mask = np.ones(NORMAL.shape, bool)
    with pytest.raises(ValueError, match="observed does not fit x, received .* Pass"):
        circuit.fit((NORMAL, mask[:, :1]), verbose=0)
    with pytest.raises(TypeError, match="received dtype .*, expected bool: .* Convert"):
        circuit.fit((NORMAL, mask.astype("int32")), verbose=0)
    assert_same(before, values_of(circuit))


def test_shapes_that_no_graph_knows_are_checked_when_it_runs() -> None:
    circuit = circuit_of("normal")
    circuit.compile(OnlineExpectationMaximization(0.2))
    before = values_of(circuit)
    x = np.concatenate([NORMAL, NORMAL], axis=1)
    data = tf.data.Dataset.from_tensors(x.astype("float32")).map(
        lambda x: tf.compat.v1.placeholder_with_default(x, [None, None])
    )
    assert data.element_spec.shape.as_list() == [None, None]
    with pytest.raises(tf.errors.InvalidArgumentError):
        circuit.fit(data, verbose=0)
    assert_same(before, values_of(circuit))


@pytest.mark.parametrize("label", [-1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_label_that_is_no_class_is_impossible(label) -> None:
    circuit = circuit_of(num_classes=2)
    labels = np.arange(96) % 2
    labels[5] = label
    evidence = to_evidence(tf.constant(X, tf.float32), None, 1, 0)

    def expectations(labels: Any, weights: Any = None) -> Any:
        params = circuit.live_params()
        return expected_statistics(circuit.program, params, evidence, weights, labels)

    with pytest.raises(ValueError, match="labels are out of range, received .* Number"):
        expectations(tf.constant(labels))
    optimizer = OnlineExpectationMaximization()
    with pytest.raises(ValueError, match="expected 0 to 1"):
        online_step(circuit, optimizer, tf.constant(X), labels=tf.constant(labels))
    have = tf.function(expectations)(tf.constant(labels))
    weights = np.ones(96, np.float32)
    weights[5] = 0
    want = expectations(tf.constant(np.arange(96) % 2), tf.constant(weights))
    assert float(have["log_likelihood"]) == -np.inf
    for name, count in want["sums"].items():
        np.testing.assert_allclose(have["sums"][name], count, atol=1e-5)


def test_the_loss_of_a_label_that_is_no_class_is_infinite() -> None:
    y_pred = np.log([[0.1, 0.2], [0.3, 0.4]])
    for label in (-1, 2):
        for loss in (NegativeLogJoint(), tf.function(NegativeLogJoint())):
            assert float(loss(np.array([0, label]), y_pred)) == np.inf


def test_online_em_refuses_what_is_no_accumulator() -> None:
    for model, number in ((stack_of(), 3), (stack_of(SumOpEMBackprop()), 1)):
        model.compile(OnlineExpectationMaximization(0.2), NegativeLogLikelihood())
        before = [v.numpy() for v in model.variables]
        with pytest.raises(ValueError, match="received .* expected linear") as error:
            model.fit(NORMAL, NORMAL[:, 0], verbose=0)
        refused = re.search(r"received \[(.*?)\], expected", str(error.value))
        assert refused is not None
        assert len(refused[1].split(",")) == number, refused[1]
        assert "trainable = False" in str(error.value)
        assert "from_layers(model)" in str(error.value)
        for value, variable in zip(before, model.variables, strict=True):
            np.testing.assert_array_equal(value, variable.numpy())


def test_online_em_trains_a_stack_with_frozen_leaves() -> None:
    model = stack_of(SumOpEMBackprop())
    model.layers[1].trainable = False
    model.compile(OnlineExpectationMaximization(0.3), NegativeLogLikelihood())
    losses = model.fit(NORMAL, NORMAL[:, 0], epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("sum_op", "jit_compile"),
    [
        (None, False),
        (SumOpEMBackprop(), False),
        pytest.param(None, True, marks=pytest.mark.slow),
        pytest.param(SumOpEMBackprop(), True, marks=pytest.mark.slow),
    ],
)
def test_online_em_trains_the_circuit_of_a_stack(sum_op, jit_compile) -> None:
    model = stack_of(sum_op)
    circuit = from_layers(model)
    before = values_of(circuit)
    circuit.compile(OnlineExpectationMaximization(0.3), jit_compile=jit_compile)
    values = circuit.fit(NORMAL, epochs=4, verbose=0).history["log_likelihood"]
    assert values[-1] > values[0]
    for name, value in values_of(circuit).items():
        if name != "leaf_scale":  # not trainable by default
            assert not np.array_equal(value, before[name]), name


def test_fit_takes_a_stack() -> None:
    model, twin = stack_of(), stack_of()
    history = fit(model, NORMAL, epochs=4, verbose=False)
    assert history.log_likelihood[-1] > history.log_likelihood[0]
    assert fit(from_layers(twin), NORMAL, epochs=4, verbose=False) == history


@pytest.mark.parametrize("method", ["em", "online_em", "gradient"])
def test_an_error_in_a_pipeline_brings_back_the_start(method) -> None:
    circuit = circuit_of()
    passes = []

    def rows(start: np.int64) -> np.ndarray:
        if start == 0:
            passes.append(None)
        elif len(passes) > 2:
            raise RuntimeError("the disk is gone")
        return X[start : start + 32]

    data = tf.data.Dataset.range(0, 64, 32).map(
        lambda start: tf.ensure_shape(
            tf.numpy_function(rows, [start], tf.int64), [None, 4]
        )
    )
    before = values_of(circuit)
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        fit(circuit, data, method=method, epochs=4, verbose=False)
    assert len(passes) == 3
    assert_same(before, values_of(circuit))


def test_one_optimizer_may_serve_two_circuits() -> None:
    optimizer = OnlineExpectationMaximization(0.5, 2)
    first, second = circuit_of("normal"), circuit_of("bernoulli", num_components=3)
    first.compile(optimizer)
    first.fit(NORMAL, batch_size=32, shuffle=False, verbose=0)  # half a group is left
    second.compile(optimizer)
    second.fit(X[:64], batch_size=32, shuffle=False, verbose=0)
    alone = circuit_of("bernoulli", num_components=3)
    alone.compile(OnlineExpectationMaximization(0.5))
    alone.fit(X[:64], batch_size=64, shuffle=False, verbose=0)
    for name, value in values_of(alone).items():
        np.testing.assert_allclose(values_of(second)[name], value, atol=1e-4)


def test_one_dirichlet_draws_anew_for_each_layer() -> None:
    graph = region_graphs.random_binary_trees(8, 3, num_repetitions=1, seed=0)

    def circuit(seed: int | None) -> Any:
        initializer = initializers.Dirichlet(seed=seed)
        return initializer, from_region_graph(
            graph, leaf_of("bernoulli"), 3, accumulator_initializer=initializer
        )

    for seed in (3, None):
        initializer, built = circuit(seed)
        first = [layer.accumulators.numpy().ravel()[:2] for layer in built.sums]
        assert len({tuple(values) for values in first}) == len(first) > 2
        assert initializer.get_config()["seed"] == seed
        copy = type(built).from_config(built.get_config())
        config = copy.get_config()["accumulator_initializer"]["config"]
        assert config == initializer.get_config()
    once, again = (values_of(circuit(3)[1]) for _ in range(2))
    for name in (name for name in once if name.startswith("sums")):
        np.testing.assert_array_equal(once[name], again[name])


CHANGES = {
    "rows": ({"x": X[::-1]}, "'data'"),
    "shape": ({"x": X[:90]}, "'data'"),
    "labels": ({"labels": np.zeros(96, int)}, "'data'"),
    "weights": ({"sample_weight": np.ones(96)}, "'data'"),
    "observed": ({"observed": np.ones(X.shape, bool)}, "'data'"),
    "dataset": ({"x": tf.data.Dataset.from_tensor_slices(X).batch(32)}, "'data'"),
    "validation": ({"validation_data": X}, "'validation_data'"),
    "step_size": ({"method": "online_em", "step_size": 0.2}, "'step_size'"),
    "schedule": ({"method": "online_em", "step_size": lambda _: 0.1}, "'step_size'"),
    "rate": (
        {"method": "gradient", "optimizer": keras.optimizers.Adam(0.3)},
        "'optimizer'",
    ),
    "optimizer": (
        {"method": "gradient", "optimizer": keras.optimizers.SGD(0.01)},
        "'optimizer'",
    ),
}


@functools.cache
def checkpoint_of(method: str) -> bytes:
    """That of a fit of two epochs, the second of which was resumed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.npz"
        same = {"x": X, "method": method, "checkpoint": path, "verbose": False}
        fit(circuit_of(), **same, epochs=1)
        assert fit(circuit_of(), **same, epochs=2).epochs == 2
        return path.read_bytes()


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_knows_its_data_and_objective(name, tmp_path) -> None:
    change, key = CHANGES[name]
    path = tmp_path / "fit.npz"
    same = {
        "x": X,
        "method": change.get("method", "em"),
        "checkpoint": path,
        "verbose": False,
    }
    path.write_bytes(checkpoint_of(same["method"]))
    circuit = circuit_of()
    before = values_of(circuit)
    with pytest.raises(ValueError, match="another fit, received .* Call fit") as error:
        fit(circuit, **{**same, **change}, epochs=3)
    assert f"received {{{key}: " in str(error.value)
    assert_same(before, values_of(circuit))


def test_a_checkpoint_is_a_path() -> None:
    for wrong in (3, True, b"fit.npz", ["fit.npz"]):
        with pytest.raises(TypeError, match="fit: `checkpoint` is a path, received"):
            fit(circuit_of(), NORMAL, checkpoint=wrong)
