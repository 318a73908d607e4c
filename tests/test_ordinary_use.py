"""What users of Keras and TFP try first: it works, or says what to write instead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_spn
from tests.processes import ROOT, output_of

L, tfd = tfp_spn.layers, tfp.distributions
X = np.random.default_rng(0).normal(size=[3, 2]).astype("float32")


def _circuit(leaf: Any = None, **arguments: Any) -> Any:
    graph = tfp_spn.region_graphs.fully_factorized(2)
    leaf = leaf or L.NormalLeaf(2)
    return tfp_spn.circuits.from_region_graph(graph, leaf, num_sums=2, **arguments)


def _spn(leaf: Any = None) -> Any:
    return tfp_spn.distributions.SumProductNetwork(_circuit(leaf))


def _stack(kind: Any = tfp_spn.models.SequentialSumProductNetwork) -> Any:
    layers = [L.FlatToRegions(1), L.NormalLeaf(2), L.DenseProduct(2), L.RootSum(False)]
    return kind([keras.Input((2,)), *layers])


def _sequences() -> Any:
    return tfp_spn.circuits.dynamic_from_circuit(_circuit(num_classes=2), 3)


CIRCUITS = {
    "region graph": (_circuit, X),
    "layers": (lambda: tfp_spn.circuits.from_layers(_stack(keras.Sequential)), X),
    "sequences": (_sequences, np.stack([X] * 3, axis=1)),
}


@pytest.mark.parametrize("kind", CIRCUITS)
def test_export(kind: str, tmp_path: Path) -> None:
    make, x = CIRCUITS[kind]
    circuit = make()
    circuit.export(str(tmp_path / "model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(x), circuit(x), rtol=1e-5)


def test_hdf5_is_refused_when_saving(tmp_path: Path) -> None:
    for model in (_circuit(), _stack()):
        for name in ("model.h5", "model.hdf5"):
            with pytest.raises(ValueError, match="ends in .keras"):
                model.save(tmp_path / name)
            assert not (tmp_path / name).exists()
    _circuit().save_weights(tmp_path / "circuit.weights.h5")


def test_hdf5_of_plain_models_of_layers_loads(tmp_path: Path) -> None:
    file = tmp_path / "model.h5"
    rule = tfp_spn.SumOpEMBackprop()
    leaf = L.DistributionLeaf("StudentT", 2, constants={"df": 4.0})
    mixed = L.MixedLeaf([(L.NormalLeaf(2), [0]), (leaf, [1])])
    stack = [
        keras.Input((2,)),
        L.NormalizeStandardScore(axes="variable_wise"),
        L.FlatToRegions(2),
        mixed,
        L.PermuteAndPadScopesRandom([2], seed=1),
        L.DenseProduct(2),
        L.DenseSum(2, sum_op=rule, accumulator_regularizer="l2"),
        L.RootSum(sum_op=rule),
    ]
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    model = keras.Sequential(stack)
    model.compile("sgd", tfp_spn.losses.NegativeLogLikelihood())
    model.fit(x, np.zeros(5), verbose=0)
    model.save(file)
    loaded = keras.saving.load_model(file)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert repr(loaded.layers[5].sum_op) == repr(rule)


def test_quantized_distribution() -> None:
    spn = _spn()
    quantized = tfd.QuantizedDistribution(spn)
    want = quantized.log_prob(np.ceil(X))
    np.testing.assert_allclose(quantized.prob(np.ceil(X)), np.exp(want), rtol=1e-4)
    np.testing.assert_allclose(spn.cdf(X), np.exp(spn.log_cdf(X)), rtol=1e-5)


def test_asvi_says_what_to_use() -> None:
    joint = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), _spn()])
    with pytest.raises(NotImplementedError, match="build_factored_surrogate_posterior"):
        tfp.experimental.vi.build_asvi_surrogate_posterior(joint)


def test_families_that_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        L.DistributionLeaf("Uniform", 2, constants={"low": 0.0, "high": 1.0})
    for family in ("Zipf", "NoncentralChi2"):
        with pytest.raises(ValueError, match="gradients of this family are wrong"):
            L.DistributionLeaf(family, 2)


def test_continuous_bernoulli_at_its_ends() -> None:
    leaf = L.DistributionLeaf("ContinuousBernoulli", 1)
    spn = _spn(leaf)
    family = tfd.ContinuousBernoulli(**leaf.values(leaf.canonical(leaf.live_params())))
    x = np.array([[0.0, 1.0], [1.0, 0.0], [0.25, 1.0], [1.0, 1.5]], "float32")
    want = family.log_prob(x[:3, :, np.newaxis, np.newaxis])
    want = np.asarray(want).sum((1, 2, 3))
    np.testing.assert_allclose(spn.log_prob(x)[:3], want, rtol=1e-5)
    assert spn.log_prob(x)[3] == -np.inf


def _dtypes() -> set[str]:
    leaf = L.NormalLeaf(2)
    layers = [L.FlatToRegions(1), leaf, L.DenseProduct(2), L.DenseSum(2)]
    stack = keras.Sequential([keras.Input((2,)), *layers, L.RootSum(False)])
    circuit = _circuit(L.BernoulliLeaf(2))
    return {
        stack(X).dtype.name,
        circuit.program.dtype.name,
        *(w.dtype for w in stack.weights),
        L.IndicatorLeaf(2).compute_dtype,
        L.FoldedSum(1, 2, 2).compute_dtype,
        L.NormalizeStandardScore().compute_dtype,
    }


def test_layers_follow_the_global_policy() -> None:
    before = keras.config.dtype_policy()
    try:
        for policy, dtype in (
            ("float64", "float64"),
            ("mixed_float16", "float32"),
            ("bfloat16", "float32"),
        ):
            keras.config.set_dtype_policy(policy)
            assert _dtypes() == {dtype}
            leaf = L.NormalLeaf(2)
            assert L.NormalLeaf.from_config(leaf.get_config()).compute_dtype == dtype
    finally:
        keras.config.set_dtype_policy(before)


def test_layers_follow_floatx() -> None:
    # In a process of its own: Keras keeps the policy that it first made.
    code = """if True:
        import keras, tfp_spn
        keras.config.set_floatx("float64")
        leaf = tfp_spn.layers.NormalLeaf(2)
        graph = tfp_spn.region_graphs.fully_factorized(2)
        circuit = tfp_spn.circuits.from_region_graph(graph, leaf, num_sums=2)
        assert {w.dtype for w in circuit.weights} == {"float64"}
    """
    output_of(code=code)


_WITHOUT_WARNINGS = """
import keras, numpy as np, tensorflow as tf, tfp_spn
from tfp_spn import circuits, layers, region_graphs

graph = region_graphs.fully_factorized(2)
circuit = circuits.from_region_graph(graph, layers.NormalLeaf(2), 2)
spn = tfp_spn.SumProductNetwork(circuit)

class Encoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.circuit, self.dense = circuit, keras.layers.Dense(2)

    def call(self, x):
        z = self.dense(x)
        self.add_loss(-tf.reduce_mean(spn.log_prob(z)))
        return z

x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
encoder = Encoder()
encoder.compile("adam", loss="mse")
encoder.fit(x, x, verbose=0)
encoder.predict(x, verbose=0)
step = circuits.from_region_graph(graph, layers.NormalLeaf(2), 2, num_classes=2)
sequences = circuits.dynamic_from_circuit(step, 3)
x = np.stack([x] * 3, axis=1)
tfp_spn.fit(sequences, x, observed=x > 0, epochs=1, verbose=False)
"""


def test_graphs_make_tensorflow_print_nothing() -> None:
    """As users run it: with all of Grappler, and what TensorFlow prints."""
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    command = [sys.executable, "-c", _WITHOUT_WARNINGS]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    for text in ("Type inference failed", "DT_BOOL", "retracing"):
        assert text not in done.stderr
