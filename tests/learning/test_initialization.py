"""Data-driven starting points."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.learning.learning_cases import (
    FAMILIES,
    assert_same,
    circuit_of,
    data_of,
    values_of,
)
from tfp_spn import circuits, layers, region_graphs
from tfp_spn.learning import fit, initialize_leaves


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_depend_on_the_seed_only(family) -> None:
    circuit = circuit_of(family)
    x = data_of(family)
    initialize_leaves(circuit, x, seed=1)
    first = values_of(circuit)
    initialize_leaves(circuit, x, seed=2)
    second = values_of(circuit)
    initialize_leaves(circuit, x, seed=1)
    assert_same(first, values_of(circuit))
    assert all(np.all(np.isfinite(v)) for v in first.values())
    for name in {"leaf_location", "leaf_logits"} & first.keys():
        assert np.any(first[name] != second[name])


@pytest.mark.parametrize("family", ["normal", "laplace", "cauchy"])
def test_locations_are_observed_values(family) -> None:
    circuit = circuit_of(family)
    x = data_of(family).astype("float32")
    observed = np.random.default_rng(0).random(x.shape) < 0.6
    initialize_leaves(circuit, np.where(observed, x, np.nan), observed)
    layout = circuit.program.layout
    location = circuit.live_params()["leaf_location"].numpy()
    for slot, variable in enumerate(layout.slot_variable):
        seen = x[observed[:, variable], variable]
        assert np.isin(location[slot, :, 0], seen).all()
    scale = circuit.leaf.scale({"scale": circuit.live_params()["leaf_scale"]})
    want = [x[observed[:, v], v].std() for v in layout.slot_variable]
    ratio = np.asarray(scale[:, 0, 0]) / want
    assert (ratio > 0.3).all()  # within clusters
    assert (ratio < 1.3).all()


def test_probabilities_scatter_around_frequencies() -> None:
    x = data_of("categorical", 500)
    circuit = circuit_of("categorical", num_components=400)
    initialize_leaves(circuit, x)
    probs = tf.nn.softmax(circuit.live_params()["leaf_logits"], axis=-2)
    mean = tf.reduce_mean(probs, -1).numpy()[:, 0]  # [L, C]
    for slot, variable in enumerate(circuit.program.layout.slot_variable):
        want = np.bincount(x[:, variable], minlength=3) / 500
        np.testing.assert_allclose(mean[slot], want, atol=0.06)


def test_frozen_scales_stay() -> None:
    circuit = circuit_of("normal", leaf={"scale_trainable": False})
    before = values_of(circuit)["leaf_scale"]
    initialize_leaves(circuit, data_of("normal"))
    np.testing.assert_array_equal(before, values_of(circuit)["leaf_scale"])


def test_it_helps_on_data_far_away() -> None:
    x = 100 + data_of("normal", 100)
    plain, prepared = circuit_of("normal"), circuit_of("normal")
    first = fit(plain, x, epochs=1, initialize=False, verbose=False)
    second = fit(prepared, x, epochs=1, verbose=False, initialize=True)
    assert second.log_likelihood[0] > first.log_likelihood[0] + 100


@pytest.mark.parametrize(
    "name",
    [
        "Exponential",
        "Gamma",
        "HalfNormal",
        "InverseGamma",
        "InverseGaussian",
        "StudentT",
    ],
)
def test_starts_do_not_depend_on_the_unit_of_the_data(name) -> None:
    """Nor does what EM makes of them: densities are divided by the unit."""
    tf.config.run_functions_eagerly(True)
    rng = np.random.default_rng(0)
    x = np.abs(np.concatenate([rng.normal(m, 1, (40, 1)) for m in (3, 12)])) + 0.1
    found = []
    for unit in (1.0, 1e6, 1e16):
        circuit = circuits.from_region_graph(
            region_graphs.fully_factorized(1),
            layers.DistributionLeaf(name, 2),
            num_sums=2,
            leaf_sums=False,
        )
        history = fit(
            circuit, (x * unit).astype("float32"), epochs=8, verbose=False, tolerance=0
        )
        found.append(history.log_likelihood[-1] + np.log(unit))
    np.testing.assert_allclose(found, found[0], atol=0.01)


def test_families_with_location_and_scale_begin_where_the_data_are() -> None:
    """Those without an M-step, too."""
    x = 1e6 + np.random.default_rng(0).normal(0, 50, (60, 1))
    for name in ("Gumbel", "Logistic", "StudentT"):
        circuit = circuits.from_region_graph(
            region_graphs.fully_factorized(1), layers.DistributionLeaf(name, 2), 1
        )
        initialize_leaves(circuit, x)
        leaf = circuit.leaf
        values = leaf.values(leaf.canonical(leaf.live_params()))
        assert (np.abs(values["loc"] - 1e6) < 200).all()
        assert (np.asarray(values["scale"]) > 5).all()
        assert (np.asarray(values["scale"]) < 100).all()
