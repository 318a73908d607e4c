"""How region graphs become circuits: products, sums over leaves, class priors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfp_spn import circuits, distributions, layers, learning, region_graphs

SQUARE = region_graphs.quad_graph((2, 2))
IMAGES = np.array(list(itertools.product([0, 1], repeat=4)))


def build(graph=SQUARE, num_components=2, num_sums=2, **arguments):
    leaf = layers.BernoulliLeaf(num_components, dtype="float64")
    return circuits.from_region_graph(graph, leaf, num_sums, **arguments)


def shapes(circuit):
    return [tuple(layer.accumulators.shape) for layer in circuit.sums]


def test_leaves_have_sums_of_their_own_shared_or_for_each_partition():
    assert shapes(build(leaf_sums=True)) == [(4, 2, 2), (4, 2, 2), (1, 4, 1)]
    assert shapes(build(leaf_sums="per-partition")) == [
        (8, 2, 2),  # each pixel is half of a row and half of a column
        (4, 2, 2),
        (1, 4, 1),
    ]
    assert shapes(build(sum_product="cp-t")) == [(4, 2, 2), (1, 4, 1)]
    assert shapes(build(sum_product="tucker", leaf_sums="per-partition"))[0][0] == 8


def test_cirkits_number_of_parameters():
    """Published for K units: 784 K (256 + 2 K) + about 1552 K^2; here of K = 1."""
    graph = region_graphs.quad_graph((28, 28))
    circuit = build(graph, 1, 1, leaf_sums="per-partition")
    assert shapes(circuit)[0] == (2 * 784, 1, 1)


def test_parts_of_a_computation_agree():
    """Sums over leaves that are equal, or change nothing, as if they were not there."""
    rng = np.random.default_rng(0)
    shared, each, first = (
        build(leaf_sums=True),
        build(leaf_sums="per-partition"),
        build(sum_product="cp-t"),
    )
    leaf = rng.normal(size=shared.live_params()["leaf_logits"].shape)
    for circuit in (shared, each, first):
        circuit.live_params()["leaf_logits"].assign(leaf)
        for layer in circuit.sums:
            layer.accumulators.assign(np.zeros(layer.accumulators.shape))
    for circuit in (shared, each):
        circuit.sums[-1].accumulators.assign([[[0.3], [0.1], [-0.5], [0.2]]])
    weights = rng.normal(size=[2, 2])
    for circuit in (shared, each):
        lowest = circuit.sums[0].accumulators
        lowest.assign(np.broadcast_to(weights, lowest.shape))
    np.testing.assert_allclose(shared(IMAGES), each(IMAGES), rtol=1e-12)
    unlike = np.array(each.sums[0].accumulators)
    unlike[0] += [[1.0], [0.0]]
    each.sums[0].accumulators.assign(unlike)
    assert np.abs(shared(IMAGES) - each(IMAGES)).max() > 1e-3
    with np.errstate(divide="ignore"):
        identity = np.log(np.eye(2))
    shared.sums[0].accumulators.assign(np.broadcast_to(identity, [4, 2, 2]))
    first.sums[-1].accumulators.assign(shared.sums[-1].accumulators)
    np.testing.assert_allclose(shared(IMAGES), first(IMAGES), rtol=1e-12)


def test_widths_differ_where_leaves_meet_only_leaves():
    """All pixels of a 2 x 2 image are two merges below the root."""
    circuit = build(num_components=5, num_sums=3, sum_product="cp-t")
    assert shapes(circuit) == [(4, 5, 3), (1, 6, 1)]
    total = np.exp(circuit(IMAGES)).sum()
    np.testing.assert_allclose(total, 1.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("class_prior", "expected"),
    [("uniform", [0.5, 0.5]), ([0.2, 0.8], [0.2, 0.8]), ([1, 0], [1.0, 0.0])],
)
def test_a_given_class_prior_stays(class_prior, expected):
    circuit = build(num_classes=2, class_prior=class_prior)
    labels = np.repeat([0, 1], [3, 13]) * (expected[1] > 0)
    learning.fit(circuit, IMAGES, labels=labels, epochs=2, verbose=False)
    spn = distributions.SumProductNetwork(circuit)
    prior = spn.mixture_distribution.probs_parameter()
    np.testing.assert_allclose(prior, expected, rtol=1e-12)
    again = type(circuit).from_config(circuit.get_config())
    np.testing.assert_array_equal(again.prior, circuit.prior)
    assert not again.prior.trainable
    learned = build(num_classes=2)
    learning.fit(
        learned, IMAGES, labels=labels, epochs=1, pseudocount=0.01, verbose=False
    )
    prior = distributions.SumProductNetwork(learned).mixture_distribution
    np.testing.assert_allclose(
        prior.probs_parameter(), np.bincount(labels, minlength=2) / 16, atol=1e-3
    )
