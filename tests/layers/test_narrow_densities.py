"""Densities that are narrow beside their mean, or in the units of the data."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, learning, region_graphs


def circuit_of(leaf: Any) -> circuits.Circuit:
    return circuits.from_region_graph(
        region_graphs.fully_factorized(1), leaf=leaf, num_sums=1, leaf_sums=False
    )


@pytest.mark.parametrize("family", ["Gamma", "InverseGamma"])
def test_log_prob_of_any_concentration(family: str) -> None:
    other = "rate" if family == "Gamma" else "scale"
    leaf = layers.DistributionLeaf(family, 1, {"concentration": None, other: None})
    circuit = circuit_of(leaf)
    params = circuit.live_params()
    spn = distributions.SumProductNetwork(circuit)
    for concentration in (0.1, 1.0, 15.9, 16.1, 1e3, 1e6):
        for value in (0.01, 1000.0):
            for name, target in (("concentration", concentration), (other, value)):
                raw = leaf.family.parameters(1)[name].unconstrained(target)
                params[f"leaf_{name}"].assign([[[raw]]])
            held = leaf.values(leaf.canonical(leaf.live_params()))
            c, rate = (float(held[name].numpy().item()) for name in held)
            judge = scipy.stats.gamma(c, scale=1 / rate)
            if family == "InverseGamma":
                judge = scipy.stats.invgamma(c, scale=rate)
            x = judge.ppf([1e-3, 0.3, 0.5, 0.9, 0.999])
            x = np.clip(x, 1e-30, 1e30).astype("float32")
            expected = judge.logpdf(x.astype("float64"))
            found = spn.log_prob(x[:, np.newaxis])
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("family", ["Gamma", "InverseGamma", "InverseGaussian"])
@pytest.mark.parametrize("spread", [1e-1, 1e-3, 2e-4])
def test_em_learns_a_spread_far_below_the_mean(family: str, spread: float) -> None:
    x = np.random.default_rng(0).normal(1000, 1000 * spread, (500, 1))
    circuit = circuit_of(layers.DistributionLeaf(family, 1))
    history = learning.fit(circuit, x, epochs=12, initialize=True, verbose=False)
    spn = distributions.SumProductNetwork(circuit)
    np.testing.assert_allclose(spn.stddev(), x.std(0), rtol=0.05)
    np.testing.assert_allclose(spn.mean(), x.mean(0), rtol=1e-3)
    normal = scipy.stats.norm.logpdf(x, x.mean(), x.std()).mean()
    assert history.log_likelihood[-1] > normal - 0.1


def test_two_narrow_components_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(1000, 1, (300, 1)), rng.normal(1010, 1, (300, 1))])
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(1),
        leaf=layers.DistributionLeaf("Gamma", 2),
        num_sums=2,
        leaf_sums=False,
    )
    history = learning.fit(circuit, x, epochs=60, initialize=True, verbose=False)
    one = scipy.stats.norm.logpdf(x[:300], x[:300].mean(), x[:300].std()).mean()
    assert history.log_likelihood[-1] > one - np.log(2) - 0.1


@pytest.mark.parametrize("spread", [0.1, 0.03, 0.01, 1e-3])
def test_em_learns_narrow_angles(spread: float) -> None:
    x = np.random.default_rng(0).normal(0.5, spread, (400, 1))
    for dtype, least in (("float32", 1e-2), ("float64", 0.0)):
        if spread < least:
            continue
        circuit = circuit_of(layers.DistributionLeaf("VonMises", 1, dtype=dtype))
        history = learning.fit(circuit, x, epochs=5, pseudocount=0, verbose=False)
        want = scipy.stats.norm.logpdf(x, x.mean(), x.std()).mean()
        assert abs(history.log_likelihood[-1] - want) < 0.01


def test_em_learns_narrow_shares() -> None:
    x = np.random.default_rng(0).normal(0.5, 2e-5, (400, 1))
    circuit = circuit_of(layers.DistributionLeaf("Beta", 1, dtype="float64"))
    history = learning.fit(circuit, x, epochs=40, pseudocount=0, verbose=False)
    want = scipy.stats.norm.logpdf(x, x.mean(), x.std()).mean()
    assert abs(history.log_likelihood[-1] - want) < 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_only_floor_of_scales_is_min_scale(dtype: str) -> None:
    x = np.random.default_rng(0).normal(0, 1e-9, (200, 1))
    for kind in (layers.NormalLeaf, layers.LaplaceLeaf, layers.CauchyLeaf):
        for min_scale in (0.0, 1e-12):
            leaf = kind(
                1,
                scale_trainable=True,
                min_scale=min_scale,
                dtype=dtype,
                scale_initializer=keras.initializers.Constant(1e-9),
            )
            circuit = circuit_of(leaf)
            params = leaf.canonical(leaf.live_params())
            np.testing.assert_allclose(leaf.scale(params), [[[1e-9]]], rtol=1e-3)
            learning.fit(
                circuit, x, epochs=12, initialize=True, pseudocount=0.0, verbose=False
            )
            learned = leaf.scale(leaf.canonical(leaf.live_params())).numpy().item()
            assert 3e-10 < learned < 2e-9
    leaf = layers.NormalLeaf(1, scale_trainable=True, min_scale=1e-7, dtype=dtype)
    learning.fit(circuit_of(leaf), x, epochs=5, initialize=True, verbose=False)
    learned = leaf.scale(leaf.canonical(leaf.live_params())).numpy().item()
    np.testing.assert_allclose(learned, 1e-7, rtol=2e-3)


def test_em_knows_no_unit() -> None:
    """What is learned of values times a size is what is learned of them, rescaled."""
    tf.config.run_functions_eagerly(True)
    families = ("Exponential", "Gamma", "InverseGamma", "InverseGaussian")
    x = np.random.default_rng(0).gamma(3.0, 1.0, (60, len(families)))
    learned = {}
    for size in (1.0, 1e-12, 1e18):
        leaf = layers.MixedLeaf(
            [(layers.DistributionLeaf(f, 1), [v]) for v, f in enumerate(families)]
        )
        graph = region_graphs.fully_factorized(len(families))
        circuit = circuits.from_region_graph(graph, leaf, 1, leaf_sums=False)
        scaled = (x * size).astype("float32")
        learning.fit(circuit, scaled, epochs=12, pseudocount=0, verbose=False)
        spn = distributions.SumProductNetwork(circuit)
        log_prob = np.mean(spn.log_prob(scaled)) + len(families) * np.log(size)
        learned[size] = [log_prob, *(spn.mean() / size)]
    np.testing.assert_allclose(learned[1e-12], learned[1.0], rtol=1e-3)
    np.testing.assert_allclose(learned[1e18], learned[1.0], rtol=1e-3)


def test_what_no_family_can_hold_is_an_error_and_changes_nothing() -> None:
    x = np.random.default_rng(0).gamma(3.0, 1e30, (20, 1)).astype("float32")
    for family in ("Gamma", "Normal"):
        circuit = circuit_of(layers.DistributionLeaf(family, 1))
        before = [variable.numpy() for variable in circuit.variables]
        with pytest.raises(ValueError, match=f"start from the data.*{family}"):
            learning.fit(circuit, x, epochs=2, verbose=False)
        for variable, value in zip(circuit.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)
