"""Members of the EM family: what each is at its neutral setting, and what it gains."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import (
    assert_same,
    circuit_of,
    data_of,
    run,
    values_of,
)
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import (
    AcceleratedExpectationMaximization,
    AnemoneExpectationMaximization,
    AveragedParameters,
    Batches,
    Data,
    LogLikelihood,
    Method,
    Momentum,
    SharpnessAwareExpectationMaximization,
)
from tfp_spn.learning.adjustment import Update, nothing_known
from tfp_spn.learning.expectations import expected_statistics
from tfp_spn.learning.mean_parameters import MeanParameters
from tfp_spn.learning.sharpness_aware_expectation_maximization import _Flat

pytestmark = pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still")

X = data_of("bernoulli", 100)
X_VALID = data_of("bernoulli", 30, seed=1)
UPDATES = {"num_updates": 6, "pseudocount": 0.0}


def means_of(circuit: Any) -> dict[str, np.ndarray]:
    return MeanParameters(circuit).read()


def log_likelihood(circuit: Any, x: Any = X) -> float:
    return LogLikelihood(circuit)(Batches(circuit.program, Data(x), 128)())


def assert_close(a: Any, b: Any, atol: float = 1e-5) -> None:
    a, b = (
        values if isinstance(values, dict) else means_of(values) for values in (a, b)
    )
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], atol=atol, err_msg=name)


def test_anemone_without_momentum_moves_sums_as_its_formula_says() -> None:
    circuit = circuit_of(num_classes=2)
    program, params, step = circuit.program, circuit.live_params(), 0.3
    before = means_of(circuit)
    found = expected_statistics(
        program, params, program.evidence(tf.cast(X, tf.float32))
    )
    hidden = expected_statistics(program, params, nothing_known(program))
    settings = {"batch_size": 100, "epochs": 1, "pseudocount": 0.0}
    run(circuit, method=AnemoneExpectationMaximization(step, 0.0), **settings)
    after = means_of(circuit)
    for name, counts in found["sums"].items():
        counts = counts.numpy().reshape(before[name].shape) / 100
        top_down = hidden["sums"][name].numpy().reshape(counts.shape)
        axis = -1 if counts.ndim == 1 else -2
        top_down = top_down.sum(axis, keepdims=True)
        want = (1 - step) * top_down * before[name] + step * counts
        want /= want.sum(axis, keepdims=True)
        np.testing.assert_allclose(after[name], want, atol=1e-5, err_msg=name)
    full, plain = circuit_of(), circuit_of()
    run(full, method=AnemoneExpectationMaximization(1.0, 0.0), **settings)
    run(plain, method="em", **settings)
    assert_close(full, plain)


def test_momentum_averages_counts_without_bias() -> None:
    """After equal batches the average is that batch; else it is the weighted mean."""
    rule = Momentum(0.9)
    slots = {"steps": 0.0, "average_0": 0.0, "average_1": 0.0, "average_2": 0.0}
    seen = []
    for value in (2.0, 4.0, 7.0):
        state = {n: tf.constant(v, tf.float64) for n, v in slots.items()}
        update = Update(None, None, 0.1, 0.0, 0.0, slots=state)
        one = tf.constant(1.0, tf.float64)
        expectations = {
            "sums": value * one,
            "leaf": 3 * value * one,
            "num_examples": one,
        }
        result = rule(update, expectations)
        slots = {name: float(v) for name, v in update.changes.items()}
        seen.append(float(result["sums"]))
        assert float(result["leaf"]) == pytest.approx(3 * seen[-1])
        assert float(result["num_examples"]) == pytest.approx(1.0)
    weights = np.array([[1, 0, 0], [0.9, 1, 0], [0.81, 0.9, 1]])
    want = weights @ [2, 4, 7] / weights.sum(1)
    np.testing.assert_allclose(seen, want, rtol=1e-12)


def test_momentum_steadies_small_batches() -> None:
    """With batches of four examples and large steps, averages are far better."""
    settings = {"batch_size": 4, "num_updates": 60, "pseudocount": 0.01}
    plain, steady = circuit_of(), circuit_of()
    run(plain, method=AnemoneExpectationMaximization(0.4, 0.0), **settings)
    run(steady, method=AnemoneExpectationMaximization(0.4, 0.9), **settings)
    assert log_likelihood(steady) > log_likelihood(plain) + 0.05


def test_a_fit_with_momentum_goes_on_where_it_stopped(tmp_path: Any) -> None:
    method = AnemoneExpectationMaximization(0.2, 0.8)
    whole, parts = circuit_of(), circuit_of()
    run(whole, method=method, epochs=3)
    path = tmp_path / "fit.npz"
    run(parts, method=method, epochs=1, checkpoint=path)
    fresh = circuit_of()
    run(fresh, method=method, epochs=3, checkpoint=path)
    assert_same(values_of(whole), values_of(fresh))
    with pytest.raises(ValueError, match="another fit, .*momentum=0.8"):
        run(fresh, method=AnemoneExpectationMaximization(0.2), checkpoint=path)


@pytest.mark.parametrize("family", ["bernoulli", "normal"])
def test_acceleration_is_monotone_and_faster(family: str) -> None:
    x = data_of(family, 60)
    settings = {"pseudocount": 0.0, "batch_size": 60}
    plain, fast, neutral = (circuit_of(family, num_components=4) for _ in range(3))
    run(plain, x, epochs=24, **settings)
    method = AcceleratedExpectationMaximization()
    values = run(fast, x, epochs=12, method=method, **settings).log_likelihood
    values.append(log_likelihood(fast, x))
    assert np.all(np.diff(values) >= -1e-5)
    assert values[-1] > log_likelihood(plain, x) + 1e-3
    run(
        neutral,
        x,
        epochs=12,
        method=AcceleratedExpectationMaximization(1.0),
        **settings,
    )
    assert_same(values_of(plain), values_of(neutral))


def test_sharpness_aware_weights_solve_their_equation() -> None:
    counts = np.random.default_rng(0).gamma(0.3, size=[3, 5, 2]) * 40
    counts[0, 2] = 0.0
    found = _Flat(0.05)._flat(tf.constant(counts), -2).numpy()
    np.testing.assert_allclose(found.sum(-2), counts.sum(-2), rtol=1e-9)
    w, n = found / found.sum(-2, keepdims=True), counts / counts.sum(-2, keepdims=True)
    assert np.all(w[0, 2] == 0)
    with np.errstate(all="ignore"):
        slope = n / w + 0.05 * n / w**2  # equal for all weights of a sum
    np.testing.assert_allclose(
        slope[1:], np.broadcast_to(slope[1:, :1], slope[1:].shape), rtol=1e-6
    )
    zero = _Flat(0.05)._flat(tf.zeros([1, 3, 1]), -2)
    np.testing.assert_array_equal(zero, np.zeros([1, 3, 1]))


def test_sharpness_aware_em_is_flatter_and_em_without_strength() -> None:
    x = X[:12]
    plain, neutral, flat = (circuit_of(num_components=4) for _ in range(3))
    settings = {"epochs": 20, "pseudocount": 0.0}
    run(plain, x, **settings)
    run(neutral, x, method=SharpnessAwareExpectationMaximization("em", 0.0), **settings)
    assert_same(values_of(plain), values_of(neutral))
    run(flat, x, method=SharpnessAwareExpectationMaximization("em", 0.05), **settings)

    def sharpness(circuit: Any) -> float:
        total = 0.0
        for row in x.astype(np.float32):
            program, params = circuit.program, circuit.live_params()
            counts = expected_statistics(
                program, params, program.evidence(tf.constant(row[None]))
            )
            for name, weights in means_of(circuit).items():
                if name in counts["sums"]:
                    own = counts["sums"][name].numpy().reshape(weights.shape)
                    total += np.sum((own / np.maximum(weights, 1e-12)) ** 2)
        return total

    assert sharpness(flat) < 0.8 * sharpness(plain)
    assert log_likelihood(flat, X) > log_likelihood(plain, X)


def test_averages_are_those_of_the_last_updates() -> None:
    settings = {"method": "online_em", "step_size": 0.5, **UPDATES}
    seen = []
    for count in (4, 5, 6):
        circuit = circuit_of()
        run(circuit, **{**settings, "num_updates": count})
        seen.append(means_of(circuit))
    want = {name: np.mean([s[name] for s in seen], axis=0) for name in seen[0]}
    averaged, plain = circuit_of(), circuit_of()
    run(averaged, **{**settings, "method": AveragedParameters("online_em", 0.5)})
    for name, value in means_of(averaged).items():
        np.testing.assert_allclose(value, want[name], atol=1e-6, err_msg=name)
    run(plain, **{**settings, "method": AveragedParameters("online_em", 0.0)})
    assert_close(seen[-1], plain, atol=0)


def test_an_average_is_taken_only_if_validation_agrees() -> None:
    for settings, is_better in (
        ({"step_size": 0.3, "batch_size": 4}, True),  # in a cloud: the middle is better
        ({"step_size": 0.01}, False),  # still rising: the average lags behind
    ):
        circuit = circuit_of()
        history = run(
            circuit,
            method=AveragedParameters("online_em", 0.5),
            num_updates=100,
            validation_data=X,
            **settings,
        )
        best = max(history.validation_log_likelihood)
        after = log_likelihood(circuit)
        assert (after > best + 1e-3) == is_better
        assert after >= best - 1e-5


def test_methods_with_an_optimizer_or_by_epoch_are_averaged_too() -> None:
    circuit = circuit_of()
    run(
        circuit,
        method=AveragedParameters("gradient"),
        optimizer=keras.optimizers.RMSprop(0.1),
        num_updates=8,
    )
    before = log_likelihood(circuit_of())
    assert log_likelihood(circuit) > before
    em, averaged = circuit_of(), circuit_of()
    run(em, epochs=2)
    second = means_of(em)
    run(em, epochs=1)
    third = means_of(em)
    run(averaged, epochs=3, method=AveragedParameters("em", 0.7))
    assert_close({n: (second[n] + third[n]) / 2 for n in second}, averaged)


def test_errors_of_methods() -> None:
    for make, message in (
        (
            lambda: AnemoneExpectationMaximization(momentum=1.0),
            "below 1. Received momentum=1.0",
        ),
        (
            lambda: AnemoneExpectationMaximization(2.0),
            "of at most 1. Received step_size=2.0",
        ),
        (
            lambda: AcceleratedExpectationMaximization(0.5),
            "at least 1. Received max_step=0.5",
        ),
        (
            lambda: SharpnessAwareExpectationMaximization("em", -1),
            "Received strength=-1",
        ),
        (lambda: AveragedParameters("em", 2), "of at most 1. Received last=2"),
        (
            lambda: AveragedParameters("newton"),
            "method='newton', expected 'em'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    for kwargs, message in (
        (
            {"method": SharpnessAwareExpectationMaximization("gradient")},
            "gradients have no M-step, received method='gradient' with _Flat",
        ),
        (
            {"method": AnemoneExpectationMaximization(), "step_size": 0.1},
            "a step size of its own, received step_size=0.1 with method=Anemone",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run(circuit_of(), **kwargs)
    assert issubclass(AveragedParameters, Method)
    assert SumProductNetwork(circuit_of()).event_shape == [4]
