"""A circuit as a Keras model: saved, exported, compiled, nested."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES
from tests.layers.stacks import make_stack
from tests.processes import output_of
from tfp_spn import circuits, initializers, layers, region_graphs, sum_ops
from tfp_spn.circuits import RegionGraphCircuit
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.learning import NegativeLogJoint, NegativeLogLikelihood, fit

SAVED = ["normal", "classes", "float64", "vectors", "uneven partitions", "hard EM"]


def all_equal(one, other, x):
    np.testing.assert_array_equal(one(x), other(x))
    np.testing.assert_array_equal(
        SumProductNetwork(one).log_prob(x), SumProductNetwork(other).log_prob(x)
    )


def disturb(circuit, seed=0):
    rng = np.random.default_rng(seed)
    for variable in circuit.trainable_variables:
        variable.assign_add(rng.normal(size=variable.shape))


# --- linear accumulators -----------------------------------------------------------


def linear_and_logarithmic():
    """The same circuit, its weights stored as they are and as logarithms."""
    pair = []
    for logspace in (False, None):
        pair.append(
            circuits.from_region_graph(
                region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=0),
                layers.BernoulliLeaf(2, dtype="float64"),
                num_sums=3,
                num_classes=2,
                sum_op=sum_ops.SumOpGradBackprop(logspace_accumulators=logspace),
            )
        )
    linear, logarithmic = pair
    rng = np.random.default_rng(0)
    for name, value in linear.live_params().items():
        other = logarithmic.live_params()[name]
        if name.startswith("leaf"):
            value.assign(other)
        else:
            value.assign(rng.uniform(0.5, 2.0, value.shape))
            other.assign(np.log(value))
    return linear, logarithmic


def test_linear_accumulators_are_weights(tmp_path):
    linear, logarithmic = linear_and_logarithmic()
    assert {spec.logspace for spec in linear.program.sum_specs} == {False}
    assert {spec.logspace for spec in logarithmic.program.sum_specs} == {True}
    x = np.random.default_rng(1).integers(0, 2, [6, 4])
    np.testing.assert_allclose(linear(x), logarithmic(x), rtol=1e-12)
    gradients = []
    for circuit in (linear, logarithmic):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.reduce_logsumexp(circuit(x), -1))
        gradients.append(tape.gradient(loss, circuit.live_params()))
    for name, value in linear.live_params().items():
        factor = 1.0 if name.startswith("leaf") else value  # d log w = dw / w
        np.testing.assert_allclose(
            gradients[0][name] * factor, gradients[1][name], rtol=1e-8, atol=1e-10
        )
    linear.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    all_equal(linear, loaded, x)
    assert not loaded.program.sum_specs[0].logspace


def test_rules_of_em_learn_the_same_however_weights_are_stored():
    x = np.random.default_rng(2).integers(0, 2, [40, 4])
    for rule in (sum_ops.SumOpEMBackprop(), sum_ops.SumOpHardEMBackprop()):
        weights = []
        for logspace in (False, True):
            circuit = circuits.from_region_graph(
                region_graphs.random_binary_trees(4, 1, num_repetitions=2, seed=0),
                layers.BernoulliLeaf(
                    2, logits_initializer=keras.initializers.RandomNormal(seed=1)
                ),
                num_sums=2,
                num_classes=2,
                sum_op=rule,
                accumulator_initializer=initializers.Dirichlet(alpha=1.0, seed=3),
                logspace_accumulators=logspace,
            )
            assert circuit.get_config()["logspace_accumulators"] is logspace
            fit(circuit, x, epochs=2, initialize=False, verbose=False)
            tables = circuit.program.tables(circuit.live_params())
            weights.append([*tables.log_weights.values(), tables.log_prior])
        for linear, logarithmic in zip(*weights, strict=True):
            np.testing.assert_allclose(np.exp(linear), np.exp(logarithmic), atol=1e-5)


@pytest.mark.parametrize("method", ["em", "gradient"])
def test_linear_accumulators_are_learned(method):
    linear, _ = linear_and_logarithmic()
    x = np.random.default_rng(2).integers(0, 2, [40, 4])
    x[:, 1:] = x[:, :1]
    settings = {"method": method, "epochs": 5, "verbose": False}
    if method == "gradient":
        settings["optimizer"] = keras.optimizers.Adam(0.3)  # to zero and beyond
    history = fit(linear, x, **settings)
    assert history.log_likelihood[-1] > history.log_likelihood[0]
    for name, value in linear.live_params().items():
        assert name.startswith("leaf") or np.all(value > 0)


def test_inputs_are_checked():
    case = CASES["normal"]()
    mask = np.ones(case.x.shape, bool)
    with pytest.raises(ValueError, match=r"observed does not fit x, received .*, expe"):
        case.circuit(case.x, observed=mask[:, :2])
    with pytest.raises(TypeError, match=r"must be a mask, received dtype int64.* bool"):
        case.circuit(case.x, observed=mask.astype(int))
    with pytest.raises(ValueError, match=r"received 3 inputs, expected x or a pair"):
        case.circuit((case.x, mask, mask))
    with pytest.raises(ValueError, match=r"observed does not fit x, received .*, expe"):
        case.circuit(case.x, observed=mask[:, :1])
    half = np.array([True, False, True, False])
    each = case.circuit(case.x, observed=np.tile(half, [len(case.x), 1]))
    np.testing.assert_array_equal(case.circuit(case.x, observed=half), each)
    np.testing.assert_array_equal(case.circuit(case.x, observed=half[None]), each)
    same = case.circuit(case.x, observed=mask)
    np.testing.assert_array_equal(case.circuit({"x": case.x, "observed": mask}), same)


# --- saving ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SAVED)
def test_keras_file(name, tmp_path):
    c = CASES[name]()
    c.circuit.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    assert isinstance(loaded, RegionGraphCircuit)
    all_equal(loaded, c.circuit, c.x)
    assert loaded.get_config() == c.circuit.get_config()
    assert loaded.region_graph == c.circuit.region_graph
    rules = [[s.rule for s in m.program.sum_specs] for m in (loaded, c.circuit)]
    assert rules[0] == rules[1]
    draws = [SumProductNetwork(m).sample(3, seed=(0, 1)) for m in (loaded, c.circuit)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.slow  # tests/test_saved_model.py has another one
def test_keras_file_in_a_new_process(tmp_path):
    c = CASES["classes"]()
    path = tmp_path / "circuit.keras"
    c.circuit.save(path)
    code = """
import json, sys, keras, tfp_spn.circuits, tfp_spn.distributions
circuit = keras.saving.load_model(sys.argv[1])
spn = tfp_spn.distributions.SumProductNetwork(circuit)
print(json.dumps(spn.log_prob(json.loads(sys.argv[2])).numpy().tolist()))
"""
    out = output_of(path, json.dumps(c.x.tolist()), code=code)
    want = c.distribution.log_prob(c.x)
    np.testing.assert_allclose(json.loads(out.splitlines()[-1]), want, rtol=1e-6)


@pytest.mark.parametrize("name", ["normal", "classes", "layers"])
def test_weights_file(name, tmp_path):
    c, other = CASES[name](), CASES[name]()
    disturb(other.circuit)
    assert not np.allclose(other.circuit(c.x), c.circuit(c.x))
    c.circuit.save_weights(tmp_path / "circuit.weights.h5")
    other.circuit.load_weights(tmp_path / "circuit.weights.h5")
    all_equal(other.circuit, c.circuit, c.x)


@pytest.mark.parametrize("name", ["normal", "classes", "conditioned", "layers"])
def test_checkpoint_stores_each_variable_once(name, tmp_path):
    c, other = CASES[name](), CASES[name]()
    disturb(other.circuit)
    for root in (
        lambda case: {"circuit": case.circuit},
        lambda case: {"view": case.distribution, "circuit": case.circuit},
    ):
        path = tf.train.Checkpoint(**root(c)).write(str(tmp_path / "checkpoint"))
        stored = [n for n, _ in tf.train.list_variables(path) if ".ATTRIBUTES" in n]
        counted = [n for n in stored if "VARIABLE_VALUE" in n]
        assert len(counted) == len(c.circuit.variables)
        disturb(other.circuit)
        status = tf.train.Checkpoint(**root(other)).read(path)
        status.assert_existing_objects_matched()
        all_equal(other.circuit, c.circuit, c.x)


@pytest.mark.parametrize("name", [*SAVED, "tucker", "indicator", "many trials"])
def test_config_round_trip(name):
    c = CASES[name]()
    config = json.loads(json.dumps(c.circuit.get_config()))
    again = type(c.circuit).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert [v.shape for v in again.variables] == [v.shape for v in c.circuit.variables]
    again.set_weights(c.circuit.get_weights())
    all_equal(again, c.circuit, c.x)


def test_options_survive_the_config():
    circuit = circuits.from_region_graph(
        region_graphs.quad_graph((2, 2)),
        layers.NormalLeaf(2, scale_trainable=True, min_scale=0.1),
        2,
        "tucker",
        num_classes=3,
        leaf_sums=True,
        num_dims=2,
        sum_op=sum_ops.SumOpHardEMBackprop(seed=4),
        accumulator_initializer=keras.initializers.RandomUniform(0.5, 1.0),
        name="options",
    )
    again = RegionGraphCircuit.from_config(circuit.get_config())
    assert again.name == "options"
    assert again.leaf.min_scale == 0.1
    assert again.program.prior.rule == sum_ops.SumOpHardEMBackprop(seed=4)
    assert again.program.event_shape == (4, 2)
    spread = [np.ptp(np.exp(layer.accumulators)) for layer in again.sums]
    assert max(spread) <= 0.5


@pytest.mark.slow
def test_saved_model_runs_without_the_package(tmp_path):
    """Signatures of log_prob, sample and condition, loaded by TensorFlow alone."""
    c = CASES["classes"]()
    spn, size = c.distribution, c.x.shape[1]
    rows = tf.TensorSpec([None, size], tf.float32, name="x")
    mask = tf.TensorSpec([None, size], tf.bool, name="observed")
    seed = tf.TensorSpec([2], tf.int32, name="seed")
    count = tf.TensorSpec([], tf.int32, name="count")

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = c.circuit  # owns the variables

        @tf.function(input_signature=[rows, mask])
        def log_prob(self, x, observed):
            return {"log_prob": spn.log_prob(x, observed=observed)}

        @tf.function(input_signature=[count, seed])
        def sample(self, count, seed):
            return {"sample": spn.sample(count, seed=seed)}

        @tf.function(input_signature=[rows, mask, seed])
        def condition(self, x, observed, seed):
            given = spn.condition(x, observed)
            return {"sample": given.sample(seed=seed), "mean": given.mean()}

    module = Module()
    signatures = {n: getattr(module, n) for n in ("log_prob", "sample", "condition")}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures)
    observed = np.arange(size) % 2 == np.zeros([len(c.x), 1])
    np.savez(tmp_path / "data.npz", x=c.x.astype(np.float32), observed=observed)
    code = """
import sys, numpy as np, tensorflow as tf
folder = sys.argv[1]
model, data = tf.saved_model.load(folder + "/model"), np.load(folder + "/data.npz")
run, x, observed = model.signatures, data["x"], data["observed"]
seed = tf.constant([0, 1])
given = run["condition"](x=x, observed=observed, seed=seed)
np.savez(
    folder + "/results.npz",
    log_prob=run["log_prob"](x=x, observed=observed)["log_prob"],
    draws=run["sample"](count=tf.constant(5), seed=seed)["sample"],
    completions=given["sample"],
    mean=given["mean"],
)
assert not any(m.split(".")[0] == "tfp_spn" for m in sys.modules)
"""
    output_of(tmp_path, code=code)
    results = np.load(tmp_path / "results.npz")
    given = spn.condition(c.x, observed)
    close = np.testing.assert_allclose
    close(results["log_prob"], spn.log_prob(c.x, observed=observed), rtol=1e-5)
    close(results["mean"], given.mean(), rtol=1e-5)
    assert np.array_equal(results["draws"], spn.sample(5, seed=(0, 1)))
    assert np.array_equal(results["completions"], given.sample(seed=(0, 1)))


# --- a model among models ----------------------------------------------------------


def test_summary():
    c, lines = CASES["classes"](), []
    c.circuit.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for layer in (c.circuit.leaf, *c.circuit.sums):
        assert layer.name in text
    assert f"{c.circuit.count_params():,}" in text


@pytest.mark.parametrize(
    "name", ["layers", pytest.param("float64", marks=pytest.mark.slow)]
)
def test_fit_lowers_the_loss(name):
    c = CASES[name]()
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 0.5, size=(64, *c.x.shape[1:])).astype(c.x.dtype)
    c.circuit.compile(keras.optimizers.Adam(0.05), NegativeLogLikelihood())
    before = -np.mean(c.distribution.log_prob(x))
    history = c.circuit.fit(x, batch_size=16, epochs=4, verbose=0).history["loss"]
    after = -np.mean(c.distribution.log_prob(x))
    assert history[-1] < history[0]
    assert after < before - 0.1
    assert c.circuit.evaluate(x, verbose=0) == pytest.approx(after, rel=1e-4)
    np.testing.assert_allclose(
        c.circuit.predict(x, verbose=0)[..., 0], c.distribution.log_prob(x), rtol=1e-5
    )


def test_fit_of_classes():
    c = CASES["classes"]()
    x, y = np.repeat(c.x[:3], 20, axis=0), np.repeat(np.arange(3), 20)
    c.circuit.compile(keras.optimizers.Adam(0.1), NegativeLogJoint())
    c.circuit.fit(x, y, batch_size=60, epochs=60, verbose=0)
    assert np.array_equal(c.distribution.posterior_mode(c.x[:3]), [0, 1, 2])


def test_fit_traces_a_step_once(monkeypatch):
    traced = []
    train_step = RegionGraphCircuit.train_step
    monkeypatch.setattr(
        RegionGraphCircuit,
        "train_step",
        lambda self, data: traced.append(1) or train_step(self, data),
    )
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=1, seed=0)
    circuit = circuits.from_region_graph(
        graph, layers.BernoulliLeaf(2), 2, num_classes=3
    )
    circuit.compile("adam", NegativeLogJoint(), metrics=["accuracy"])
    x = np.random.default_rng(0).integers(0, 2, [8, 4])
    history = circuit.fit(x, np.arange(8) % 3, batch_size=4, epochs=2, verbose=0)
    assert len(traced) == 1
    assert set(history.history) == {"accuracy", "loss"}


class MetricOfBatches(keras.metrics.Metric):
    """Makes a variable as long as a batch, and keeps what it was given."""

    def __init__(self):
        super().__init__(name="of_batches")
        self.given = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        if not self.given:
            self.count = self.add_weight(shape=(y_pred.shape[0],), initializer="zeros")
        self.given.append(y_pred)
        self.count.assign_add(tf.ones_like(self.count))

    def result(self):
        return tf.reduce_sum(self.count)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_metrics_see_whole_batches(run_eagerly):
    graph = region_graphs.random_binary_trees(4, 2, num_repetitions=1, seed=0)
    circuit = circuits.from_region_graph(
        graph, layers.BernoulliLeaf(2), 2, num_classes=3
    )
    metric = MetricOfBatches()
    circuit.compile(
        "adam", NegativeLogJoint(), metrics=[metric], run_eagerly=run_eagerly
    )
    x = np.random.default_rng(0).integers(0, 2, [8, 4])
    circuit.fit(x, np.arange(8) % 3, batch_size=4, verbose=0)
    assert metric.count.shape == (4,)
    if run_eagerly:  # nothing was traced
        assert len(metric.given) == 2
        assert all(tf.is_tensor(y) and y.numpy().shape == (4, 3) for y in metric.given)


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_leaves_the_circuit_alone(tmp_path):
    circuit = circuits.from_region_graph(
        region_graphs.random_binary_trees(4, 1, 2), layers.NormalLeaf(2), 2
    )
    assert {v.dtype for v in circuit.variables} == {"float32"}
    assert circuit.compute_dtype == "float32"
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    log_prob = SumProductNetwork(circuit).log_prob(x)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, circuit(keras.layers.Identity()(inputs)))
    assert model(x).dtype == log_prob.dtype == tf.float32
    circuit.save(tmp_path / "circuit.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    np.testing.assert_array_equal(loaded(x), circuit(x))
    np.testing.assert_allclose(circuit(x)[:, 0], log_prob, rtol=1e-6)


def test_float64_leaf_makes_a_float64_circuit():
    circuit = CASES["float64"]().circuit
    assert {v.dtype for v in circuit.variables} == {"float64"}
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert circuit(x).dtype == tf.float64
    # Not rounded to float32 on the way in.
    assert np.all(circuit(x) != circuit(x.astype(np.float32).astype(np.float64)))
    assert SumProductNetwork(circuit).sample(2).dtype == tf.float64


def test_layer_of_a_functional_model(tmp_path):
    c = CASES["classes"]()
    inputs = keras.Input((4,))
    scores = keras.layers.Softmax()(c.circuit(inputs))
    model = keras.Model(inputs, scores)
    x = c.x.astype(np.float32)
    posterior = c.distribution.posterior_marginal(x).probs_parameter()
    np.testing.assert_allclose(model(x), posterior, rtol=1e-5)
    assert {id(v) for v in model.variables} == {id(v) for v in c.circuit.variables}
    model.compile("adam", "sparse_categorical_crossentropy")
    before = [v.numpy() for v in c.circuit.trainable_variables]
    model.fit(x, np.arange(4) % 3, verbose=0)
    after = [v.numpy() for v in c.circuit.trainable_variables]
    assert not any(map(np.array_equal, before, after))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


@pytest.mark.parametrize("logits", [True, False])
def test_sequential_becomes_a_distribution(logits, tmp_path):
    model = make_stack(layers.NormalLeaf, num_decomps=2, logits=logits)
    spn = SumProductNetwork(model)
    assert spn.circuit is circuits.from_layers(model)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(
        spn.log_prob(x), tf.reduce_logsumexp(model(x), -1), rtol=1e-5
    )
    ids = {id(v.value) for v in model.trainable_variables}
    assert {id(v) for v in spn.trainable_variables} == ids
    model.save(tmp_path / "model.keras")
    loaded = SumProductNetwork(keras.saving.load_model(tmp_path / "model.keras"))
    np.testing.assert_allclose(loaded.log_prob(x), spn.log_prob(x), rtol=1e-6)
    assert spn.condition(x, [True, False, True, False]).mean().shape == (3, 4)
