"""Learning of dynamic circuits: Baum-Welch by enumeration, rising likelihoods."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.distributions.test_dynamic_sum_product_network import (
    T,
    V,
    case,
    close,
    random_evidence,
    template_of,
)
from tfp_spn import circuits, layers, learning, sum_ops
from tfp_spn.distributions import DynamicSumProductNetwork


def expectations_of(c, x, observed, weights=None):
    program = c.circuit.program
    evidence = program.evidence(tf.cast(x, tf.float64), tf.constant(observed))
    return learning.expected_statistics(
        program, c.circuit.live_params(), evidence, weights
    )


@pytest.mark.parametrize("kind", ["hidden Markov model", "tucker", "varying in time"])
def test_counts_are_those_of_all_paths(kind):
    c = case(kind)
    x, observed = random_evidence(c, 8)
    observed[:, -1, 0] = True  # the last step is known
    weights = tf.constant([1.0, 0.5, 0.0, 2.0], tf.float64)
    counts = expectations_of(c, x, observed, weights)["sums"]
    shapes = c.circuit.program.chain_shapes
    wanted = {name: np.zeros(shape) for name, shape in shapes.items()}
    states, units = c.paths.states, c.paths.units
    for n in range(len(x)):
        mask = np.all((c.x == x[n]) | ~observed[n], axis=(1, 2))
        of_path = c.joint[mask].sum(0)
        of_path *= float(weights[n]) / of_path.sum()
        np.add.at(wanted["initial"], (0, states[:, 0], 0), of_path)
        for t in range(T - 1):
            own = min(t, shapes["transition"][0] - 1)
            np.add.at(
                wanted["transition"], (own, states[:, t + 1], units[:, t]), of_path
            )
            if "interface" in wanted:
                np.add.at(
                    wanted["interface"], (own, units[:, t], states[:, t]), of_path
                )
    for name, count in wanted.items():
        close(counts[name], count)


def test_steps_behind_the_end_do_not_count():
    c = case("hidden Markov model")
    x = c.x[[5, 40]]
    mask = np.ones([2, T, V], bool)
    mask[:, 1:] = False
    counts = expectations_of(c, x, mask)
    assert np.all(counts["sums"]["transition"] == 0)
    np.testing.assert_allclose(counts["sums"]["initial"].numpy().sum(), 2.0)
    leaf = counts["leaf"]["count"].numpy().sum()
    np.testing.assert_allclose(leaf, 2.0 * V)


def sequences(seed=0, num=24, num_steps=9):
    """Random walks of two variables; values are missing, lengths differ."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(num, num_steps, V)), 1).astype("float32")
    lengths = rng.integers(1, num_steps + 1, num)
    observed = rng.random(x.shape) < 0.8
    observed &= (np.arange(num_steps) < lengths[:, np.newaxis])[..., np.newaxis]
    observed[:, 0] = True
    return np.where(observed, x, np.nan), observed


def dynamic_circuit(num_units=None, sum_product=None, num_steps=9, **arguments):
    keras.utils.set_random_seed(0)
    leaf = layers.NormalLeaf(3, scale_trainable=True)
    template = template_of(3, leaf)
    return circuits.dynamic_from_circuit(
        template, num_steps, num_units, sum_product, **arguments
    )


@pytest.mark.parametrize(
    ("num_units", "sum_product", "stationary"),
    [(None, None, True), (2, "cp", False)],
)
def test_full_batch_em_never_lowers_the_likelihood(num_units, sum_product, stationary):
    circuit = dynamic_circuit(num_units, sum_product, is_stationary=stationary)
    x, observed = sequences()
    history = learning.fit(
        circuit, x, observed=observed, epochs=12, pseudocount=0.0, initialize=True,
        batch_size=10, verbose=False,
    )  # fmt: skip
    assert np.all(np.diff(history.log_likelihood) > -1e-5)
    assert history.log_likelihood[-1] > history.log_likelihood[0] + 0.5
    spn = DynamicSumProductNetwork(circuit)
    after = np.mean(spn.log_prob(x, observed=observed))
    assert after > history.log_likelihood[-1] - 1e-4


def test_other_methods_learn():
    circuit = dynamic_circuit(sum_op=sum_ops.SumOpEMBackprop())
    x, observed = sequences()
    spn = DynamicSumProductNetwork(circuit)
    start = np.mean(spn.log_prob(x, observed=observed))
    learning.fit(
        spn, x, observed=observed, method="online_em", epochs=4, batch_size=8,
        initialize=True, verbose=False,
    )  # fmt: skip
    middle = np.mean(spn.log_prob(x, observed=observed))
    assert middle > start
    learning.fit(
        spn, x, observed=observed, method="gradient", epochs=4, batch_size=8,
        verbose=False,
    )  # fmt: skip
    assert np.mean(spn.log_prob(x, observed=observed)) > middle


def test_keras_fit_and_masks_of_steps():
    circuit = dynamic_circuit()
    x, observed = sequences()
    steps = observed.any(-1, keepdims=True)
    x = np.nan_to_num(x)
    circuit.compile(
        learning.OnlineExpectationMaximization(0.2), learning.NegativeLogLikelihood()
    )
    everything = np.broadcast_to(steps, x.shape)
    logs = circuit.fit((x, everything), epochs=3, verbose=0).history
    assert logs["log_likelihood"][-1] > logs["log_likelihood"][0]
    circuit.compile("adam", learning.NegativeLogLikelihood())
    logs = circuit.fit((x, everything), epochs=2, verbose=0).history
    assert logs["loss"][-1] < logs["loss"][0]
    history = learning.fit(circuit, x, observed=steps, epochs=1, verbose=False)
    assert np.isfinite(history.log_likelihood[0])


def test_marginals_and_templates_in_time_are_not_trained():
    c = case("hidden Markov model")
    with pytest.raises(ValueError, match=r"received steps \(0, 1\), expected all 3"):
        learning.fit(c.spn.marginal(steps=[0, 1]), c.x[:, :2], epochs=1)
