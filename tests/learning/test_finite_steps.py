"""No fit leaves parameters that are NaN or infinite, and messages say what is wrong."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.learning import fit

X = data_of("normal", 32)


def with_value(value: float, x: np.ndarray = X) -> np.ndarray:
    x = x.copy()
    x[5, 2] = value
    return x


class Turning(keras.optimizers.schedules.LearningRateSchedule):
    """NaN from the fifth step on."""

    def __call__(self, step: Any) -> Any:
        return tf.where(tf.cast(step, tf.int32) < 4, 0.01, np.nan)

    def get_config(self) -> dict[str, Any]:
        return {}


def adam(learning_rate: Any) -> dict[str, Any]:
    optimizer = keras.optimizers.Adam(learning_rate)
    return {"method": "gradient", "optimizer": optimizer}


def parts(x: np.ndarray, weights: np.ndarray | None = None) -> tf.data.Dataset:
    data: dict[str, Any] = {"x": x}
    if weights is not None:
        data["sample_weight"] = weights
    return tf.data.Dataset.from_tensor_slices(data).batch(8)


ONES = np.ones(32)
FAR = "received 1e\\+30 at row 5, column 2, expected one .*Correct or recode it"
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a value": (with_value(1e30), {"method": "gradient"}, FAR),
    "a value, EM": (with_value(1e30), {}, FAR),
    "a value, online EM": (with_value(1e30), {"method": "online_em"}, FAR),
    "a value of a dataset": (
        parts(with_value(1e30).astype("float32")),
        {"method": "gradient"},
        FAR,
    ),
    "a square": (
        with_value(1e18),
        {"method": "gradient"},
        "received nan in 'leaf_.*' at .*: NormalLeaf of variable 2, .*the least "
        "probable value is 1e\\+18 at row 5, column 2, of NormalLeaf",
    ),
    "rate": (X, adam(np.nan), "received nan in 'adam.*/learning_rate'.*Nothing was"),
    "infinite rate": (X, adam(np.inf), "received inf in 'adam.*/learning_rate'"),
    "rate of 1e38": (X, adam(1e38), "a step of epoch .* rate was 9.99.*e\\+37"),
    "schedule": (
        X,
        adam(Turning()),
        "epoch 2 .* NormalLeaf of variable .* rate was nan",
    ),
    "step size": (
        X,
        {"method": "online_em", "step_size": lambda n: np.nan if n > 4 else 0.1},
        "received nan after 5 steps, expected a number from 0 to 1. Mend",
    ),
    "step size of two": (
        X,
        {"method": "online_em", "step_size": lambda n: 2.0},
        "received 2.0 after 0 steps",
    ),
    "step size of text": (
        X,
        {"method": "online_em", "step_size": lambda n: "a" if n else 0.1},
        "received 'a' after 1 steps, expected a number from 0 to 1. Mend",
    ),
    "no step size": (
        X,
        {"method": "online_em", "step_size": lambda n: None},
        "received None after 0 steps, expected a number from 0 to 1. Mend",
    ),
    "weights": (
        X,
        {"sample_weight": np.full(32, 1e300)},
        "received weights that add up to 3.2e\\+301, expected at most 3.4e\\+38",
    ),
    "total weight": (X, {"sample_weight": np.full(32, 1e38)}, "add up to 3.2e\\+39"),
    "weights of NaN": (X, {"sample_weight": ONES * np.nan}, "must be finite"),
    "total weight of a dataset": (parts(X, 2e37 * ONES), {}, "add up to .* at most"),
    "weight of a dataset": (parts(X, ONES * np.nan), {}, "must be finite"),
}


@functools.cache
def small_circuit() -> Any:
    """Shared by fits that must not change it."""
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=1)
    return circuit_of("normal", graph=graph)


SLOW = {"a value of a dataset", "infinite rate", "step size of two"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in REFUSED],
)
def test_refused_steps_leave_what_was_there(name) -> None:
    x, arguments, message = REFUSED[name]
    circuit = small_circuit()
    before = values_of(circuit)
    settings = {"initialize": False, "verbose": False, **arguments}
    with pytest.raises(ValueError, match=message):
        fit(circuit, x, batch_size=8, epochs=3, **settings)
    assert_same(before, values_of(circuit))


def test_an_optimizer_is_what_it_was_and_may_go_on() -> None:
    circuit, optimizer = small_circuit(), keras.optimizers.Adam(0.01)
    arguments = {"method": "gradient", "optimizer": optimizer, "verbose": False}
    fit(circuit, X, epochs=1, **arguments)
    before = [variable.numpy() for variable in optimizer.variables]
    with pytest.raises(ValueError, match="was not finite"):
        fit(circuit, with_value(1e18), epochs=1, **arguments)
    for variable, value in zip(optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert np.isfinite(fit(circuit, X, epochs=1, **arguments).log_likelihood[-1])


def test_what_is_not_finite_is_no_start() -> None:
    circuit = circuit_of("normal")
    location = circuit.live_params()["leaf_location"]
    location.assign(tf.fill(location.shape, np.nan))
    with pytest.raises(
        ValueError, match="cannot begin, received nan in 'leaf_location"
    ):
        fit(circuit, X, epochs=1, verbose=False)


def test_a_value_that_parameters_forbid_is_no_error() -> None:
    """As ever: its example counts nothing, until a pseudocount makes it possible."""
    circuit = circuit_of("categorical")
    logits = circuit.live_params()["leaf_logits"]
    value = logits.numpy()
    value[..., 0, :] = -np.inf
    logits.assign(value)
    x = data_of("categorical", 32)
    assert (x == 0).any()
    history = fit(circuit, x, epochs=2, verbose=False)
    assert history.log_likelihood[0] == -np.inf < history.log_likelihood[1]


def test_checkpoints_with_nan_are_refused(tmp_path) -> None:
    circuit, path = small_circuit(), tmp_path / "fit.npz"
    arguments = {"validation_data": X, "verbose": False, "checkpoint": path}
    fit(circuit, X, epochs=1, **arguments)
    before = values_of(circuit)
    with np.load(path) as file:
        arrays = dict(file)
    for part in ("last/params/leaf_location", "best/params/sums_0"):
        changed = arrays[part].copy()
        changed.flat[0] = np.nan
        np.savez(path, **{**arrays, part: changed})
        with pytest.raises(
            ValueError, match="with checkpoint .* received nan in .* No"
        ):
            fit(circuit, X, epochs=2, **arguments)
        assert_same(before, values_of(circuit))


def test_a_failed_epoch_is_not_written(tmp_path) -> None:
    path = tmp_path / "fit.npz"
    arguments = {**adam(Turning()), "checkpoint": path, "verbose": False}
    with pytest.raises(ValueError, match="a step of epoch 2"):
        fit(small_circuit(), X, batch_size=8, epochs=2, **arguments)
    with np.load(path) as file:
        assert len(file["log_likelihood"]) == 1
        for name, values in file.items():
            assert values.dtype.kind != "f" or np.all(np.isfinite(values)), name


def test_messages_know_the_leaf_of_mixed_circuits_and_steps_of_sequences() -> None:
    graph = region_graphs.fully_factorized(2)
    leaf = [(layers.BernoulliLeaf(2), [1]), (layers.NormalLeaf(2), [0])]
    step = circuits.from_region_graph(graph, leaf, 2, num_classes=2)
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=[6, 3]), rng.integers(0, 2, [6, 3])], axis=-1)
    x[4, 1, 0] = 1e30
    settings = {"epochs": 1, "initialize": False, "verbose": False}
    for circuit, data, place in (
        (circuits.dynamic_from_circuit(step, 3), x, "row 4, column 2"),
        (step, x[:, 1], "row 4, column 0"),
    ):
        with pytest.raises(
            ValueError, match=f"of NormalLeaf, received 1e.30 at {place}"
        ):
            fit(circuit, data, method="gradient", **settings)


def test_sums_that_overflow_are_no_basis_of_a_step() -> None:
    """The mean of the values is in range, their sum is not: its inverse would be 0."""
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1), layers.DistributionLeaf("Exponential", 1), 1
    )
    x = np.full([20, 1], 3e37, np.float32)
    with pytest.raises(ValueError, match="not finite, received nan in 'leaf_rate'"):
        fit(circuit, x, epochs=2, initialize=False, verbose=False)
    fit(circuit, x[:5], epochs=2, initialize=False, verbose=False)
