"""Regularization within `fit`, and annealing: formulas, and what they save."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import assert_same, circuit_of, data_of, values_of
from tests.learning.learning_cases import run as run_in_batches
from tfp_spn import learning, region_graphs
from tfp_spn.circuits import dynamic_from_circuit
from tfp_spn.learning import (
    Adjustment,
    AnnealedExpectationMaximization,
    Batch,
    Batches,
    Data,
    DataSoftening,
    ExpectedCounts,
    InputDropout,
    LogLikelihood,
    MarginalPseudocount,
    Perturbation,
    SumDropout,
    SumEntropy,
)
from tfp_spn.learning.e_step import EStep, Warming
from tfp_spn.learning.mean_parameters import MeanParameters
from tfp_spn.ops.certainty import CHECKED

pytestmark = pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still")

X = data_of("bernoulli", 100)
run = functools.partial(run_in_batches, batch_size=64)
PLAIN = {"epochs": 2, "pseudocount": 0.0}


def mixture() -> Any:
    """One sum over two products of Bernoulli variables."""
    return circuit_of(graph=region_graphs.fully_factorized(4), leaf_sums=False)


def parts_of(circuit: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``[K]`` and probabilities ``[V, K]`` of a mixture."""
    values = MeanParameters(circuit).read()
    (weights,) = (v for name, v in values.items() if name.startswith("sums"))
    logits = values["leaf_logits"].reshape(4, -1)
    return weights.ravel(), 1 / (1 + np.exp(-logits))


def posterior(weights: np.ndarray, probs: np.ndarray, power: float) -> np.ndarray:
    x = X[:, :, np.newaxis]
    likelihood = np.prod(np.where(x == 1, probs, 1 - probs), axis=1)  # [N, K]
    joint = (weights * likelihood) ** power
    return joint / joint.sum(-1, keepdims=True)


def log_likelihood(circuit: Any, x: Any = X) -> float:
    return LogLikelihood(circuit)(Batches(circuit.program, Data(x), 128)())


NEUTRAL = {
    "entropy": SumEntropy(0.0),
    "marginals": MarginalPseudocount(),  # of no pseudocount
    "no examples": ExpectedCounts(0.0),
    "softening": DataSoftening(0.0),
}


def test_neutral_settings_are_plain_em() -> None:
    plain = circuit_of()
    run(plain, **PLAIN)
    for name, regularization in NEUTRAL.items():
        circuit = circuit_of()
        run(circuit, regularization=regularization, **PLAIN)
        for key, value in values_of(plain).items():
            np.testing.assert_allclose(
                values_of(circuit)[key], value, atol=2e-5, err_msg=f"{name} {key}"
            )
    circuit = circuit_of()
    run(circuit, method=AnnealedExpectationMaximization("em", 1.0), **PLAIN)
    assert_same(values_of(plain), values_of(circuit))


def test_tempered_posteriors() -> None:
    circuit = mixture()
    weights, probs = parts_of(circuit)
    method = AnnealedExpectationMaximization("em", start=0.3, part=1.0)
    history = run(circuit, method=method, epochs=1, pseudocount=0.0, batch_size=100)
    share = posterior(weights, probs, 0.3)
    new_weights, new_probs = parts_of(circuit)
    np.testing.assert_allclose(new_weights, share.mean(0), atol=1e-5)
    np.testing.assert_allclose(new_probs, X.T @ share / share.sum(0), atol=1e-5)
    # What is reported is not tempered.
    assert history.log_likelihood[0] == pytest.approx(log_likelihood(mixture()), 1e-5)
    warming = Warming(0.5, 10)
    assert [warming(n) for n in (0, 5, 10, 11)] == [0.5, 0.75, 1.0, 1.0]
    assert EStep(warming=warming).at(10).is_plain
    assert not EStep(warming=warming).at(9).is_plain


def test_an_annealed_fit_ends_as_em() -> None:
    circuit = circuit_of()
    method = AnnealedExpectationMaximization("online_em", start=0.2, part=0.5)
    run(circuit, method=method, num_updates=20, step_size=0.3)
    before = log_likelihood(circuit)
    values = run(circuit, epochs=3, pseudocount=0.0).log_likelihood
    assert values[0] == pytest.approx(before, abs=1e-5)
    assert np.all(np.diff(values) >= -1e-6)
    assert before > log_likelihood(circuit_of()) + 0.1


def test_pseudocounts_look_like_the_columns() -> None:
    circuit = mixture()
    weights, probs = parts_of(circuit)
    run(
        circuit,
        epochs=1,
        pseudocount=30.0,
        batch_size=100,
        regularization=MarginalPseudocount(),
    )
    share = posterior(weights, probs, 1.0)
    want = (X.T @ share + 30 * X.mean(0)[:, np.newaxis]) / (share.sum(0) + 30)
    new_weights, new_probs = parts_of(circuit)
    np.testing.assert_allclose(new_probs, want, atol=1e-5)
    # Sums have the pseudocount as before.
    np.testing.assert_allclose(new_weights, (share.sum(0) + 15) / 130, atol=1e-5)
    # Batch by batch, and of any family: a huge one makes all components the column.
    x = data_of("normal", 64)
    circuit = circuit_of("normal")
    run(circuit, x, epochs=1, pseudocount=1e6, regularization=[MarginalPseudocount()])
    location = values_of(circuit)["leaf_location"]
    slots = circuit.program.layout.slot_variable
    np.testing.assert_allclose(
        location[..., 0], x.mean(0)[slots][:, None].repeat(2, 1), rtol=1e-3
    )


def test_few_values_for_each_parameter_are_smoothed() -> None:
    """By one example of the columns an epoch, unless something is given."""
    rng = np.random.default_rng(0)
    x = (rng.random([4, 4]) < 0.5).astype(np.float32)  # and ten parameters
    plain, told, online = mixture(), mixture(), mixture()
    run(plain, x, epochs=2)
    run(told, x, epochs=2, pseudocount=1.0, regularization=MarginalPseudocount())
    assert_same(values_of(plain), values_of(told))
    weighed, weight = mixture(), np.repeat([1.0, 0.0], [4, 36])  # of weight 0: nothing
    more = np.concatenate([x, np.repeat(x, 9, axis=0)])
    run(weighed, more, epochs=2, sample_weight=weight)
    assert_same(values_of(plain), values_of(weighed))
    run(online, x, method="online_em", epochs=1, batch_size=2)
    told = mixture()
    settings = {"pseudocount": 0.5, "regularization": MarginalPseudocount()}
    run(told, x, method="online_em", epochs=1, batch_size=2, **settings)
    assert_same(values_of(online), values_of(told))
    for own, settings in (
        (np.repeat(x, 10, axis=0), {}),
        (x, {"regularization": ExpectedCounts(0.0)}),
        (x, {"pseudocount": 0.01}),
    ):
        plain, told = mixture(), mixture()
        run(plain, own, epochs=2, **settings)
        run(told, own, epochs=2, **{"pseudocount": 0.01, **settings})
        assert_same(values_of(plain), values_of(told))


def test_entropy_is_rewarded_up_to_its_stationary_point() -> None:
    circuit = mixture()
    settings = {"epochs": 300, "pseudocount": 0.0, "batch_size": 100}
    run(circuit, regularization=SumEntropy(0.2), tolerance=1e-9, **settings)
    weights, probs = parts_of(circuit)
    counts = posterior(weights, probs, 1.0).mean(0)
    slopes = counts / weights - 0.2 * np.log(weights)
    np.testing.assert_allclose(slopes, slopes[0], atol=2e-3)
    plain = mixture()
    run(plain, tolerance=1e-9, **settings)
    assert np.log(weights).sum() > np.log(parts_of(plain)[0]).sum()


def test_expected_counts_are_shared_out_from_the_root() -> None:
    """With very many examples all sums are uniform; with few, low ones yield first."""
    circuit = circuit_of(num_classes=2)
    program = circuit.program
    prior, _ = program.expectations(
        program.tables(circuit.live_params()),
        program.evidence(tf.zeros([1, 4]), tf.zeros([1, 4], tf.bool)),
    )
    names = [name for name in prior["sums"] if name != "prior"]
    run(circuit, epochs=1, pseudocount=7.0, regularization=ExpectedCounts(1e8))
    for name in names:
        weights = MeanParameters(circuit).read()[name]
        np.testing.assert_allclose(weights, 1 / weights.shape[-2], atol=1e-4)
    one = mixture()
    weights, probs = parts_of(one)
    run(one, epochs=1, pseudocount=7.0, regularization=ExpectedCounts(20.0))
    share = posterior(weights, probs, 1.0)
    np.testing.assert_allclose(parts_of(one)[0], (share.sum(0) + 10) / 120, atol=1e-5)


def batch_of(x: np.ndarray, observed: Any = None) -> Batch:
    weights = tf.constant(np.arange(len(x)) < len(x) - 5, tf.float32)
    return Batch(tf.constant(x, tf.float32), observed, None, weights)


def test_softening_and_dropout_of_data() -> None:
    circuit, rng = circuit_of("normal"), np.random.default_rng(0)
    program = circuit.program
    x = np.arange(4000.0).reshape(1000, 4)  # no two are alike; columns tell themselves
    observed = np.arange(4000).reshape(1000, 4) % 3 > 0
    soft = DataSoftening(0.3)(program, batch_of(x, tf.constant(observed)), rng)
    changed = soft.x.numpy() != x
    # 2/3 of values are observed, and 2/3 of their sources: a binomial of sd 0.006.
    assert abs(changed.mean() - 0.3 * 4 / 9) < 0.03
    assert not changed[~observed].any()
    values = soft.x.numpy()[changed]
    np.testing.assert_array_equal(values % 4, np.nonzero(changed)[1])
    assert observed.ravel()[values.astype(int)].all()
    assert values.max() < 4 * 995  # examples of weight zero are nobody's values
    hidden = InputDropout(0.25)(program, batch_of(x, tf.constant(observed)), rng)
    kept = hidden.observed.numpy()
    assert not kept[~observed].any()
    assert abs(kept[observed].mean() - 0.75) < 0.05  # sd 0.0084
    assert InputDropout(0.25)(program, batch_of(x), rng).observed.shape == (1000, 4)


def test_dropout_of_sums_keeps_a_child() -> None:
    circuit = circuit_of(num_components=4)
    program = circuit.program
    tables = program.tables(circuit.live_params(), CHECKED)
    seen = []
    for number in range(20):
        dropped = EStep(sum_dropout=0.5)._dropped(tables, tf.constant(float(number)))
        for name, weights in dropped.weights.items():
            zero = weights.numpy() == 0
            assert (zero == zero[..., :1]).all()
            assert not zero.all(-2).any()
            kept = np.isfinite(dropped.log_weights[name].numpy())
            np.testing.assert_array_equal(kept, ~zero)
            if zero.shape[-2] == 4:
                seen.append(zero.mean())
    # A half of four, but for the one that always stays: (0.5 * 4 - 1/16) / 4.
    assert abs(np.mean(seen) - 0.484) < 0.06
    values = run(circuit, regularization=SumDropout(0.3), epochs=3)
    assert np.isfinite(values.log_likelihood).all()
    assert log_likelihood(circuit) > log_likelihood(circuit_of(num_components=4))


def test_regularization_saves_few_examples() -> None:
    """Ten examples, four components: test likelihood is better with each of them."""
    x, x_test = X[:10], data_of("bernoulli", 2000, seed=5)
    settings = {"epochs": 40, "pseudocount": 0.05, "batch_size": 10}
    plain = circuit_of(num_components=4)
    run(plain, x, **settings)
    before = log_likelihood(plain, x_test)
    for regularization in (
        [DataSoftening(0.1)],
        [InputDropout(0.3)],
        [SumEntropy(0.2)],
        [ExpectedCounts(4.0)],
    ):
        circuit = circuit_of(num_components=4)
        run(circuit, x, regularization=regularization, **settings)
        assert log_likelihood(circuit, x_test) > before, regularization


def test_regularizers_of_keras_are_for_gradients() -> None:
    plain, small = circuit_of(), circuit_of()
    settings = {"method": "gradient", "epochs": 20}
    run(plain, optimizer=keras.optimizers.Adam(0.1), **settings)
    penalty = keras.regularizers.L2(0.1)
    optimizer = keras.optimizers.Adam(0.1)
    run(small, regularization=penalty, optimizer=optimizer, **settings)
    logits = [np.square(values_of(c)["leaf_logits"]).sum() for c in (plain, small)]
    assert logits[1] < 0.5 * logits[0]
    circuit = circuit_of()
    run(circuit, regularization=InputDropout(0.2), method="gradient", epochs=1)


@dataclass(frozen=True)
class Doubled(Adjustment):
    """An adjustment of a user's own: each example counts twice."""

    def __call__(self, update: Any, expectations: Any) -> Any:
        double = {
            key: tf.nest.map_structure(lambda v: 2 * v, expectations[key])
            for key in ("sums", "leaf")
        }
        return {**expectations, **double}


def test_adjustments_of_ones_own() -> None:
    twice, weighted = circuit_of(), circuit_of()
    run(twice, regularization=Doubled(), epochs=2, pseudocount=3.0)
    run(weighted, sample_weight=np.full(100, 2.0), epochs=2, pseudocount=3.0)
    for name, value in values_of(twice).items():
        np.testing.assert_allclose(value, values_of(weighted)[name], atol=1e-4)
    assert issubclass(InputDropout, Perturbation)


def test_a_resumed_fit_has_the_same_noise(tmp_path: Any) -> None:
    settings = {
        "method": "online_em",
        "regularization": [DataSoftening(0.2), SumDropout(0.2)],
    }
    whole, parts = circuit_of(), circuit_of()
    run(whole, epochs=3, **settings)
    path = tmp_path / "fit.npz"
    run(parts, epochs=1, checkpoint=path, **settings)
    fresh = circuit_of()
    run(fresh, epochs=3, checkpoint=path, **settings)
    assert_same(values_of(whole), values_of(fresh))
    settings["regularization"] = []
    with pytest.raises(ValueError, match="another fit, .*DataSoftening"):
        run(circuit_of(), epochs=3, checkpoint=path, **settings)


def test_errors() -> None:
    sequences = dynamic_from_circuit(circuit_of(num_classes=2), 3)
    x = np.zeros([5, 3, 4])
    for make, message in (
        (lambda: InputDropout(1.0), "at least 0 and below 1. Received rate=1.0"),
        (lambda: DataSoftening(-1), "DataSoftening: `strength` must be a finite"),
        (lambda: SumEntropy(-1), "`weight` must be .* at least 0. Received weight=-1"),
        (lambda: run(circuit_of(), regularization=SumDropout), "received a type, exp"),
        (
            lambda: run(circuit_of(), regularization=SumEntropy(), method="gradient"),
            "of another method, received SumEntropy.* for gradients, expected one of K",
        ),
        (
            lambda: run(circuit_of(), regularization=keras.regularizers.L1(1.0)),
            "received <.*L1.*> for EM",
        ),
        (
            lambda: run(circuit_of(), regularization=[SumDropout(), SumDropout()]),
            "SumDropout comes twice",
        ),
        (
            lambda: run(sequences, x, regularization=SumDropout()),
            "sequences have a plain E-step only, received EStep",
        ),
        (
            lambda: run(
                circuit_of(), method=AnnealedExpectationMaximization("gradient")
            ),
            "gradients have no M-step",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            make()


def test_by_default_weights_smooth_as_repeated_rows_do() -> None:
    """Ten rows are few for so many parameters, a hundred times each they are not."""
    rows = data_of("bernoulli", 10).astype(np.float32)
    values = []
    for x, weight in (
        (rows, np.full(10, 100.0)),
        (np.repeat(rows, 100, axis=0), None),
    ):
        circuit = circuit_of()
        learning.fit(
            circuit,
            x,
            method="em",
            sample_weight=weight,
            epochs=2,
            initialize=False,
            verbose=False,
        )
        values.append(values_of(circuit))
    for name, value in values[0].items():
        np.testing.assert_allclose(value, values[1][name], rtol=1e-3, atol=1e-4)
