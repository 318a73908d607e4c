"""Fits to examples of which only some have a label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import HARD_RULES, circuit_of, data_of, values_of
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import fit

X = data_of("bernoulli", 40)
RNG = np.random.default_rng(1)
LABELS = np.where(RNG.random(40) < 0.5, -1, RNG.integers(0, 2, 40))
SETTINGS: dict[str, Any] = {
    "verbose": False,
    "epochs": 1,
    "unlabelled": -1,
    "initialize": False,
}


def objective(circuit: Any, labels: np.ndarray = LABELS) -> float:
    """The mean of ``log p(x, y)``, of ``log p(x)`` where there is no y."""
    joint = np.asarray(circuit(X), np.float64)
    of_label = np.take_along_axis(joint, np.maximum(labels, 0)[:, np.newaxis], 1)[:, 0]
    return float(np.mean(np.where(labels < 0, np.logaddexp(*joint.T), of_label)))


def fitted(seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    settings = {"labels": LABELS, **SETTINGS, **settings}
    circuit = circuit_of(num_classes=2, seed=seed)
    return circuit, fit(circuit, settings.pop("x", X), **settings)


@pytest.mark.filterwarnings("ignore:fit. the log-likelihood was still rising")
def test_every_method_maximises_what_is_known() -> None:
    start = objective(circuit_of(num_classes=2))
    for method in ("em", "online_em", "gradient"):
        circuit, history = fitted(method=method, epochs=4, batch_size=16)
        assert objective(circuit) > start + 0.01, method
        if method == "em":
            np.testing.assert_allclose(history.log_likelihood[0], start, rtol=1e-5)
            assert np.diff(history.log_likelihood).min() > -1e-5
            np.testing.assert_allclose(
                SumProductNetwork(circuit).log_prob(X).numpy().mean(),
                np.logaddexp(*np.asarray(circuit(X)).T).mean(),
                rtol=1e-5,
            )


def test_labels_of_any_kind_and_streams_mean_the_same() -> None:
    circuit, history = fitted(validation_data=(X, LABELS))
    want = values_of(circuit)
    held_out = objective(circuit)
    np.testing.assert_allclose(history.validation_log_likelihood, held_out, rtol=1e-5)
    texts = np.array(["?", "eight", "nine"])[LABELS + 1]
    parts = {"x": X, "labels": LABELS}
    kinds = {
        "text": {"labels": texts, "unlabelled": "?"},
        "other numbers": {"labels": np.where(LABELS < 0, 7, LABELS), "unlabelled": 7},
        "NaN": {"labels": np.where(LABELS < 0, np.nan, LABELS), "unlabelled": np.nan},
        "a stream": {
            "x": tf.data.Dataset.from_tensor_slices(parts).batch(20),
            "labels": None,
        },
    }
    for name, settings in kinds.items():
        other, history = fitted(**settings)
        for key, value in values_of(other).items():
            np.testing.assert_allclose(value, want[key], atol=1e-5, err_msg=name)
        if name == "text":
            assert history.classes == ("eight", "nine")


def test_without_any_label_it_is_a_fit_without_labels() -> None:
    circuit, _ = fitted(labels=np.full(40, -1))
    want, _ = fitted(labels=None)
    for key, value in values_of(circuit).items():
        np.testing.assert_allclose(value, values_of(want)[key], atol=1e-5)


@pytest.mark.parametrize("rule", HARD_RULES)
def test_hard_rules_choose_a_class_where_there_is_none(rule: Any) -> None:
    circuit = circuit_of(num_classes=2, sum_op=rule())
    fit(circuit, X, labels=np.full(40, -1), pseudocount=0.0, **SETTINGS)
    want = circuit_of(num_classes=2, sum_op=rule())
    fit(want, X, pseudocount=0.0, **SETTINGS)
    for key, value in values_of(circuit).items():
        np.testing.assert_allclose(value, values_of(want)[key], atol=1e-5)


def test_labels_that_stand_for_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"received -1 to 1.*fit\(unlabelled=-1\)"):
        fit(circuit_of(num_classes=2), X, labels=LABELS, verbose=False)
    with pytest.raises(ValueError, match="labels are out of range, received -1 to 1"):
        fitted(unlabelled=7)
