"""Spatial stacks against the dense circuits they stand for, node by node."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chi2

from tests.layers.spatial_nodes import (
    STACKS,
    as_rows,
    examples,
    make_model,
    nodes_of_model,
)
from tests.layers.stacks import RULES, binary_states
from tests.reference import evaluate
from tests.reference.learning import hard_counts
from tfp_spn import layers
from tfp_spn.circuits import from_layers
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.learning import expected_statistics, fit, maximize

each_stack = pytest.mark.parametrize("name", STACKS)
METHODS = ["online_em", "gradient"]
close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)  # noqa: E731


def rows_of(mask):
    return mask.reshape(len(mask), -1)


@pytest.mark.parametrize(
    ("name", "top"),
    [
        *((name, "classes") for name in STACKS),
        ("overlapping", "root"),
        ("some channels", "cells as classes"),
    ],
)
def test_value(name, top):
    model = make_model(name, top)
    x, observed = examples(model)
    root, classes, weights, _ = nodes_of_model(model)
    rows, mask = as_rows(x), rows_of(observed)
    spn = SumProductNetwork(model)
    assert spn.event_shape == x.shape[1:]
    log_prob = evaluate.batch(evaluate.log_prob, root, rows)
    close(spn.log_prob(x), log_prob)
    close(tf.reduce_logsumexp(model(x), -1), log_prob)
    close(from_layers(model)(x), model(x))
    masked = evaluate.batch(evaluate.log_prob, root, rows, mask)
    close(
        spn.log_prob(np.where(observed[..., None], x, np.nan), observed=observed),
        masked,
    )
    if top != "root":
        by_class = [evaluate.batch(evaluate.log_prob, c, rows, mask) for c in classes]
        joint = np.stack(by_class, -1) + np.log(weights)
        close(spn.log_joint(x, observed), joint)
        posterior = np.exp(joint - masked[:, None])
        close(spn.posterior_marginal(x, observed).probs_parameter(), posterior)


@pytest.mark.parametrize(
    ("name", "leaf"),
    [
        ("three overlapping", "bernoulli"),
        ("side by side, then overlapping", "bernoulli"),
        ("overlapping", "indicator"),
        ("some channels", "indicator"),
    ],
)
def test_float32_and_impossible_values(name, leaf):
    model = make_model(name, leaf=leaf, dtype="float32")
    root, *_ = nodes_of_model(model)
    x, observed = examples(model)
    if leaf == "indicator" and x.shape[-1] == 1:
        x[0, 0, 0] = 7  # no such state: impossible unless it is hidden
    with np.errstate(divide="ignore"):
        expected = evaluate.batch(
            evaluate.log_prob, root, as_rows(x), rows_of(observed)
        )
    spn = SumProductNetwork(model)
    actual = spn.log_prob(x, observed=observed)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x))
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert not np.any(np.isnan(gradient))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, "grad") for name in STACKS),
        *(
            ("three overlapping", rule)
            for rule in RULES
            if rule not in ("grad", "sample")
        ),
    ],
)
def test_gradient_of_layers_is_that_of_the_circuit(name, rule):
    model = make_model(name, "classes", sum_op=RULES[rule])
    x, _ = examples(model)
    gradients = []
    for function in (model, from_layers(model)):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.reduce_logsumexp(function(x), -1))
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for have, want in zip(*gradients, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, "em") for name in STACKS),
        ("overlapping", "hard_em"),
        ("some channels", "hard_em"),
        ("side by side, then overlapping", "hard_em"),
        ("three overlapping", "unweighted_hard_em"),
        ("side by side, then overlapping", "unweighted_hard_em"),
    ],
)
def test_counts_of_the_rules(name, rule):
    model = make_model(name, sum_op=RULES[rule])
    root, _, _, sums = nodes_of_model(model)
    x, observed = examples(model)
    if rule == "unweighted_hard_em":
        observed[:] = True  # children of hidden pixels would tie
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 3, 0)
    circuit = from_layers(model)
    got = expected_statistics(circuit.program, circuit.live_params(), evidence)
    kind = {"hard_em": "hard", "unweighted_hard_em": "unweighted"}.get(rule)
    edges: dict = {}
    for row, mask in zip(as_rows(x), rows_of(observed), strict=True):
        if kind is None:
            _, own = evaluate.gradient(root, row, mask)
        else:
            own, _ = hard_counts(root, row, mask, kind)
        for edge, count in own.items():
            edges[edge] = edges.get(edge, 0.0) + count
    with_weights = [layer for layer in model.layers if hasattr(layer, "accumulators")]
    for number, layer in enumerate(with_weights):
        grid = sums[layer.name]
        counts = np.zeros(layer.accumulators.shape)
        for i, j, o in np.ndindex(grid.shape):
            if grid[i, j, o] is not None:
                place = (0, 0) if isinstance(layer, layers.Conv2DSum) else (i, j)
                for k in range(counts.shape[2]):
                    counts[(*place, k, o)] += edges.get((id(grid[i, j, o]), k), 0.0)
        have = np.array(got["sums"][f"sums_{number}"]).reshape(counts.shape)
        padding = counts.sum(-2, keepdims=True) == 0  # cells without any pixel
        close(np.where(padding, 0, have), counts)


@pytest.mark.parametrize(
    "name", ["side by side", "overlapping", "cells of padding only", "one cell"]
)
def test_a_step_of_em_is_that_of_the_reference(name):
    model = make_model(name, sum_op=RULES["em"])
    x, observed = examples(model, count=12)
    root, *_ = nodes_of_model(model)
    new = evaluate.em_step(root, as_rows(x), rows_of(observed))
    expected = evaluate.batch(evaluate.log_prob, new, as_rows(x))
    circuit = from_layers(model)
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 3, 0)
    params = circuit.live_params()
    stats = expected_statistics(circuit.program, params, evidence)
    moved = maximize(circuit.program, params, stats, 1.0, 0.0)
    for key, value in moved.items():
        params[key].assign(value)
    np.testing.assert_allclose(
        SumProductNetwork(model).log_prob(x), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "name", ["three overlapping", "side by side, then overlapping", "some channels"]
)
def test_moments(name):
    model = make_model(name)
    root, *_ = nodes_of_model(model)
    x, observed = examples(model)
    spn, rows, mask = SumProductNetwork(model), as_rows(x), rows_of(observed)
    close(np.array(spn.mean()).reshape(rows.shape[1:]), evaluate.mean(root))
    close(np.array(spn.variance()).reshape(rows.shape[1:]), evaluate.variance(root))
    given = spn.condition(x, observed)
    hidden = ~mask if rows.ndim == 2 else ~mask[..., None]
    mean = evaluate.batch(evaluate.mean, root, rows, mask)
    close(np.array(given.mean()).reshape(rows.shape), np.where(hidden, mean, rows))
    variance = evaluate.batch(evaluate.variance, root, rows, mask)
    got = np.array(given.variance()).reshape(rows.shape)
    close(got, np.where(hidden, variance, 0))


@each_stack
def test_most_probable_completion(name):
    model = make_model(name)
    root, *_ = nodes_of_model(model)
    x, observed = examples(model)
    spn = SumProductNetwork(model)
    mode = np.array(spn.condition(x, observed).mode())
    assert np.array_equal(mode[observed], x[observed])
    for row, mask, filled in zip(
        as_rows(x), rows_of(observed), as_rows(mode), strict=True
    ):
        best, completed = evaluate.max_product(root, row, mask)
        close(evaluate.max_product(root, filled, None)[0], best)
        close(filled, completed)
    close(as_rows(spn.mode()[None].numpy())[0], evaluate.max_product(root, None)[1])


def test_marginals_and_posteriors_of_pixels():
    model = make_model("overlapping", leaf="bernoulli")
    root, *_ = nodes_of_model(model)
    x, observed = examples(model)
    spn, rows, mask = SumProductNetwork(model), as_rows(x), rows_of(observed)
    pixels = [7, 0, 4]
    chosen = np.isin(np.arange(9), pixels)
    marginal = spn.marginal(pixels)
    assert marginal.event_shape == [3]
    expected = evaluate.batch(evaluate.log_prob, root, rows, chosen)
    close(marginal.log_prob(rows[:, pixels]), expected)
    covariance = evaluate.covariance(root)[np.ix_(pixels, pixels)]
    close(marginal.covariance(), covariance)
    assert marginal.sample(5, seed=1).shape == (5, 3)
    given = marginal.condition(rows[:, pixels], [True, False, False])
    assert given.mean().shape == (4, 3)
    probs = np.array(spn.univariate_posteriors(x, observed).probs_parameter())
    assert probs.shape == (4, 9)
    for n, pixel in zip(*np.nonzero(~mask), strict=True):
        _, want = evaluate.posterior_marginals(root, rows[n], mask[n], pixel)
        close(probs[n, pixel], want[1])


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["overlapping", "some channels", "all channels"])
@pytest.mark.parametrize("conditional", [False, True])
def test_samples_follow_the_reference(name, conditional):
    """Chi-square over all states; false-alarm rate 1e-7 a case."""
    model = make_model(name, "classes", leaf="bernoulli", dtype="float32")
    root, *_ = nodes_of_model(model)
    x, observed = examples(model, 1)
    states = binary_states(rows_of(observed).shape[1])
    probs = np.exp(np.array([evaluate.log_prob(root, state) for state in states]))
    spn = SumProductNetwork(model)
    if conditional:
        agrees = np.all((states == as_rows(x)) | ~rows_of(observed), axis=1)
        probs = np.where(agrees, probs, 0) / probs[agrees].sum()
        draws = spn.condition(x[0], observed[0]).sample(6000, seed=3)
    else:
        draws = spn.sample(6000, seed=3)
    bits = np.array(draws).reshape(6000, -1).astype(int)
    place = bits @ (1 << np.arange(bits.shape[1])[::-1])
    counts, expected = np.bincount(place, minlength=len(states)), 6000 * probs
    assert np.all(counts[expected == 0] == 0)
    common = expected >= 5
    statistic = np.sum((counts - expected)[common] ** 2 / expected[common])
    rare = expected[~common].sum()
    if rare:
        statistic += (counts[~common].sum() - rare) ** 2 / max(rare, 5.0)
    degrees = max(common.sum() + (rare > 0) - 1, 1)
    assert statistic < chi2.isf(1e-7, degrees)


@pytest.mark.parametrize(
    "method", ["em", *(pytest.param(m, marks=pytest.mark.slow) for m in METHODS)]
)
def test_fit_takes_images(method):
    rng = np.random.default_rng(0)
    model = make_model("overlapping", dtype="float32", seed=2)
    x = rng.normal(2.0, 0.5, [60, 3, 3, 1]).astype("float32")
    x[rng.random(x.shape) < 0.2] = np.nan
    observed = ~np.isnan(x[..., 0])
    history = fit(
        model, x, observed=observed, method=method, epochs=3, batch_size=20, seed=0
    )
    assert history.log_likelihood[-1] > history.log_likelihood[0]


def test_circuit_of_images_saves_and_loads(tmp_path):
    model = make_model("some channels", dtype="float32")
    circuit = from_layers(model)
    x, _ = examples(model)
    circuit.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    np.testing.assert_array_equal(loaded(x), circuit(x))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


def test_loaded_channels_reach_the_circuit(tmp_path):
    model, other = make_model("some channels"), make_model("some channels", seed=5)
    table = other.layers[2].channel_table
    table.assign(np.array(table)[:, ::-1])
    circuit, x = from_layers(other), examples(model)[0]
    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    close(circuit(x), model(x))
