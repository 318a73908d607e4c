"""Models in other processes: with tfp_spn from `.keras`, without it as SavedModel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_spn
from tests.cases import CASES
from tests.models.test_models import MASK, X, sequential
from tests.processes import output_of
from tfp_spn import circuits, distributions, layers, region_graphs

ROOT = Path(__file__).resolve().parents[1]

LOAD = """
import sys
import numpy as np

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfp_spn", "tensorflow_probability", "tf_keras"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocker())
import tensorflow as tf

try:
    import tfp_spn
except ImportError:
    pass
else:
    raise SystemExit("the blocker does not block")

given = np.load("given.npz")
x, observed = tf.constant(given["x"]), tf.constant(given["observed"])
n, seed = tf.constant(3), tf.constant([0, 1])
queries = tf.saved_model.load("model").signatures
results = {
    **queries["log_prob"](value=x, observed=observed),
    **{"unconditional": queries["sample"](num_samples=n, seed=seed)["samples"]},
    **queries["class_posterior"](value=x, observed=observed),
}
if "condition" in queries:
    given = {"value": x, "observed": observed, "num_samples": n, "seed": seed}
    results.update(queries["condition"](**given))
np.savez("found.npz", **results)
"""

LOAD_KERAS = """
import numpy as np, keras, tfp_spn
given = np.load("given.npz")
circuit = keras.saving.load_model("circuit.keras")
model = keras.saving.load_model("model.keras")
spn = tfp_spn.distributions.SumProductNetwork(circuit)
np.savez("found.npz", log_prob=spn.log_prob(given["x"], observed=given["observed"]),
         model=model.log_prob(given["z"], given["mask"]),
         sample=spn.sample(3, seed=(0, 1)))
"""


def run(code: str, folder: Path) -> dict[str, np.ndarray]:
    """What a program finds in a process in which nothing has been imported."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "found.npz"))


def make(leaf):
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=1, seed=0)
    keras.utils.set_random_seed(0)
    circuit = circuits.from_region_graph(graph, leaf, 2, num_classes=3)
    return circuit, distributions.SumProductNetwork(circuit)


# Tracing conditional samples, modes and means takes long.
@pytest.mark.parametrize(
    ("kind", "conditional"),
    [
        ("normal", False),
        pytest.param("normal", True, marks=pytest.mark.slow),
        pytest.param("categorical", True, marks=pytest.mark.slow),
    ],
)
def test_saved_model_runs_where_tfp_spn_is_not_installed(kind, conditional, tmp_path):
    rng = np.random.default_rng(0)
    if kind == "normal":
        x = rng.normal(size=(5, 4)).astype("float32")
        _, spn = make(layers.NormalLeaf(2, scale_trainable=True))
    else:
        x = rng.integers(0, 3, (5, 4)).astype("int32")
        _, spn = make(layers.CategoricalLeaf(2, num_categories=3))
    observed = rng.random((5, 4)) < 0.5
    queries = None if conditional else ["log_prob", "sample", "class_posterior"]
    tfp_spn.export_saved_model(spn, tmp_path / "model", queries)
    np.savez(tmp_path / "given.npz", x=x, observed=observed)
    found = run(LOAD, tmp_path)
    given, seed = spn.condition(x, observed), (0, 1)
    expected = {
        "log_prob": spn.log_prob(x, observed=observed),
        "unconditional": spn.sample(3, seed=seed),
        "probs": spn.posterior_marginal(x, observed).probs_parameter(),
        "label": spn.posterior_mode(x, observed),
    }
    if conditional:
        expected |= {
            "samples": given.sample(3, seed=seed),
            "mode": given.mode(),
            "mean": given.mean(),
        }
    assert set(found) == set(expected)
    for name, want in expected.items():
        np.testing.assert_allclose(
            found[name], want, rtol=1e-5, atol=1e-5, err_msg=name
        )


@pytest.mark.slow
def test_loaded_densities_have_gradients_if_asked_for(tmp_path):
    _, spn = make(layers.NormalLeaf(2, scale_trainable=True))
    tfp_spn.export_saved_model(spn, tmp_path / "model", ["log_prob"], gradients=True)
    log_prob = tf.saved_model.load(tmp_path / "model").signatures["log_prob"]
    x, observed = tf.random.stateless_normal([3, 4], (0, 1)), tf.ones([3, 4], tf.bool)
    found = []
    for function in (
        lambda x: log_prob(value=x, observed=observed)["log_prob"],
        lambda x: spn.log_prob(x),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        found.append(tape.gradient(value, x))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_keras_files_in_a_new_process(tmp_path):
    circuit, spn = make(layers.NormalLeaf(2, use_accumulators=True))
    model = sequential(normalize="variable_wise")
    circuit.save(tmp_path / "circuit.keras")
    model.save(tmp_path / "model.keras")
    given = {"x": X, "observed": MASK, "z": X, "mask": MASK}
    np.savez(tmp_path / "given.npz", **given)
    output_of(code=LOAD_KERAS, cwd=tmp_path)
    found = dict(np.load(tmp_path / "found.npz"))
    expected = {
        "log_prob": spn.log_prob(X, observed=MASK),
        "model": model.log_prob(X, MASK),
        "sample": spn.sample(3, seed=(0, 1)),
    }
    for name, want in expected.items():
        np.testing.assert_array_equal(found[name], want, err_msg=name)


WRONG = {
    "circuit": (
        lambda: make(layers.NormalLeaf(2))[0],
        TypeError,
        "received a RegionGraphCircuit, expected a .*make a distribution of a circuit",
    ),
    "conditional": (
        lambda: CASES["conditioned"]().distribution,
        TypeError,
        "received a ConditionedSumProductNetwork, expected a .*takes the evidence",
    ),
    "no such query": (
        lambda: make(layers.NormalLeaf(2))[1],
        ValueError,
        r"received queries=\['mean'\], expected some of \['log_prob', 'sample', 'con",
    ),
    "batch": (
        lambda: CASES["batched"]().distribution,
        ValueError,
        r"batch shape \(2,\), expected none. Export its members",
    ),
}


@pytest.mark.parametrize(("spn", "error", "message"), WRONG.values(), ids=WRONG)
def test_errors(spn, error, message, tmp_path):
    with pytest.raises(error) as caught:
        tfp_spn.export_saved_model(spn(), tmp_path, ["mean"])
    assert re.search(message, str(caught.value), re.DOTALL)
    assert tf.io.gfile.listdir(str(tmp_path)) == []
