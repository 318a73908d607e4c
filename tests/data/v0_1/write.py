"""Wrote the files beside it, with the package at commit 55e4c20 (version 0.1).

The files are what users of that version have on their disks, and never change:

* ``graphs/*.json``: region graphs, by `RegionGraph.save`.
* in ``files.zip``, ``models/*.keras``: circuits and Keras models, by `save`;
  ``weights/*.weights.h5``: weights of some of them, by `save_weights`;
  ``fits/*.npz``: checkpoints of `fit` after two epochs.
* ``numbers.npz``: data, and what the models above return for them; what the
  interrupted fits became when that version went on to their fourth epoch.

`tests/test_saved_files.py` imports the builders below and compares.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_spn import circuits, constraints, initializers, layers, models, sum_ops
from tfp_spn.distributions import (
    ConditionalSumProductNetwork,
    DistributionLayer,
    DynamicSumProductNetwork,
    SumProductNetwork,
)
from tfp_spn.learning import fit
from tfp_spn.region_graphs import (
    RegionGraph,
    fully_factorized,
    hidden_chow_liu_tree,
    linear_tree,
    poon_domingos,
    quad_graph,
    random_binary_trees,
)

HERE = Path(__file__).resolve().parent

# --- what users register ----------------------------------------------------------


@keras.saving.register_keras_serializable("v0_1")
def shifted_gamma(concentration: Any, rate: Any, low: float) -> Any:
    """A family of a user's own."""
    gamma = tfp.distributions.Gamma(
        tf.math.softplus(concentration), tf.math.softplus(rate)
    )
    return tfp.distributions.TransformedDistribution(gamma, tfp.bijectors.Shift(low))


@keras.saving.register_keras_serializable("v0_1")
def normal_of(h: Any) -> Any:
    return tfp.distributions.Normal(h[..., 0], tf.math.softplus(h[..., 1]))


@keras.saving.register_keras_serializable("v0_1")
def median_of(distribution: Any) -> Any:
    return distribution.quantile(0.5)


@keras.saving.register_keras_serializable("v0_1")
class Alternating(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        values = np.resize([0.5, 1.5], shape)
        return keras.ops.convert_to_tensor(values, dtype=dtype)


@keras.saving.register_keras_serializable("v0_1")
class AtLeast(keras.constraints.Constraint):
    def __init__(self, low: float) -> None:
        self.low = low

    def __call__(self, value: Any) -> Any:
        return keras.ops.maximum(value, self.low)

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low}


@keras.saving.register_keras_serializable("v0_1")
class WideNormalLeaf(layers.NormalLeaf):
    def __init__(self, num_components: int, **kwargs: Any) -> None:
        kwargs.setdefault("min_scale", 0.5)
        super().__init__(num_components, **kwargs)


# --- region graphs ------------------------------------------------------------------


def _walks(num_variables: int) -> np.ndarray:
    steps = np.random.default_rng(0).normal(size=(300, num_variables))
    return np.cumsum(steps, axis=1)


GRAPHS: dict[str, Callable[[], RegionGraph]] = {
    "binary_trees": lambda: random_binary_trees(5, 2, num_repetitions=2, seed=1),
    "chow_liu_chain": lambda: hidden_chow_liu_tree(_walks(16)),
    "factorized": lambda: fully_factorized(4),
    "linear_tree": lambda: linear_tree(7),
    "poon_domingos": lambda: poon_domingos((2, 3), 1),
    "quad_graph": lambda: quad_graph((3, 3)),
}


def graph(name: str) -> RegionGraph:
    return RegionGraph.load(HERE / "graphs" / f"{name}.json")


# --- models ---------------------------------------------------------------------------


def _over(
    name: str, leaf: Callable[[], Any], num_sums: int = 2, **kwargs: Any
) -> Callable[[], Any]:
    return lambda: circuits.from_region_graph(graph(name), leaf(), num_sums, **kwargs)


def _normal(**kwargs: Any) -> Callable[[], Any]:
    return lambda: layers.NormalLeaf(2, scale_trainable=True, **kwargs)


def _mixed() -> Any:
    return layers.MixedLeaf(
        [
            (layers.NormalLeaf(2, scale_trainable=True), [2, 4]),
            (layers.CategoricalLeaf(2, num_categories=3), [0]),
            (layers.DistributionLeaf("Gamma", 2), [1]),
            (layers.BernoulliLeaf(2), [3]),
        ]
    )


def _chosen_leaf() -> Any:
    return layers.LaplaceLeaf(
        2,
        location_initializer=initializers.Equidistant(-2.0, 2.0),
        scale_initializer=Alternating(),
        scale_trainable=True,
        scale_constraint=AtLeast(0.25),
    )


def _registered_function() -> Any:
    return layers.DistributionLeaf(
        shifted_gamma,
        2,
        parameters={"concentration": (), "rate": ()},
        initializers={"rate": Alternating()},
        constants={"low": -3.0},
    )


def _template(num_classes: int = 3) -> Any:
    return circuits.from_region_graph(
        graph("factorized"), layers.BernoulliLeaf(2), 2, num_classes=num_classes
    )


def _flat_layers(leaf: Any = None, **sums: Any) -> list[Any]:
    return [
        keras.Input((4,)),
        layers.FlatToRegions(num_decomps=2),
        leaf or layers.NormalLeaf(2, scale_trainable=True),
        layers.PermuteAndPadScopesRandom([2, 2], seed=3),
        layers.DenseProduct(2),
        layers.DenseSum(3, **sums),
        layers.ReduceProduct(2),
        layers.DenseSum(2, **sums),
        layers.RootSum(return_weighted_child_logits=False, **sums),
    ]


def _images() -> Any:
    full = {"strides": [1, 1], "kernel_size": [2, 2], "depthwise": True}
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.BernoulliLeaf(2),
            layers.Conv2DProduct(
                kernel_size=[2, 2],
                strides=[2, 2],
                dilations=[1, 1],
                padding="valid",
                num_channels=4,
            ),
            layers.Local2DSum(2),
            layers.Conv2DProduct(**full, dilations=[1, 1], padding="full"),
            layers.Conv2DSum(2),
            layers.Conv2DProduct(**full, dilations=[2, 2], padding="final"),
            layers.SpatialToRegions(),
            layers.RootSum(return_weighted_child_logits=False),
        ]
    )


def _chosen_sums() -> Any:
    """Every choice that a sum layer has, and layers that act in training only."""
    stack = _flat_layers(
        layers.BernoulliLeaf(2),
        sum_op=sum_ops.SumOpHardEMBackprop(0.25, seed=4),
        accumulator_initializer=initializers.Dirichlet(-2, 0.7, seed=5),
        accumulator_regularizer=keras.regularizers.L2(0.5),
        logspace_accumulator_constraint=constraints.LogNormalized(),
        linear_accumulator_constraint=constraints.Clip(0.1, 5.0),
    )
    stack.insert(2, layers.InputDropout(0.25, seed=3))
    stack.insert(6, layers.LogDropout(0.25, seed=3))
    return keras.Sequential(stack)


def _supervised() -> Any:
    stack = _flat_layers()
    stack.insert(1, layers.NormalizeStandardScore(axes="variable_wise"))
    stack[-1] = layers.RootSum()
    model = models.SequentialSumProductNetwork(stack, unsupervised=False)
    model.layers[0].adapt(np.random.default_rng(5).normal(2.0, 3.0, (50, 4)))
    return model


def _functional() -> Any:
    stack = _flat_layers()
    value = stack[0]
    for layer in stack[1:]:
        value = layer(value)
    return models.SumProductNetwork(stack[0], value)


def _libspn_dynamic() -> Any:
    template = [*_flat_layers(layers.BernoulliLeaf(2))[:-1]]
    return models.DynamicSumProductNetwork(
        template_network=keras.Sequential(template),
        interface_network_t0=keras.Sequential([layers.DenseSum(3)]),
        interface_network_t_minus_1=keras.Sequential([layers.DenseSum(3)]),
        top_network=keras.Sequential(
            [layers.DenseSum(2), layers.Undecompose(1), layers.RootSum(False)]
        ),
    )


def _conditional() -> Any:
    circuit = _over("binary_trees", _normal(), num_classes=2)()
    layer = ConditionalSumProductNetwork(circuit, predicted=["leaves", "root"])
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), layer])


def _regression(**kwargs: Any) -> Callable[[], Any]:
    def make() -> Any:
        inputs = keras.Input((3,))
        layer = DistributionLayer(normal_of, **kwargs)
        return keras.Model(inputs, layer(keras.layers.Dense(2)(inputs)))

    return make


MODELS: dict[str, Callable[[], Any]] = {
    "normal": _over("binary_trees", _normal()),
    "tucker": _over("binary_trees", _normal(), 3, sum_product="tucker"),
    "float64": _over("binary_trees", _normal(dtype="float64")),
    "classes": _over("binary_trees", _normal(), num_classes=3),
    "linear weights": _over(
        "binary_trees",
        _normal(use_accumulators=True),
        sum_op=sum_ops.SumOpGradBackprop(logspace_accumulators=False),
        accumulator_initializer=initializers.EpsilonInverseFanIn(-2),
    ),
    "two dimensions": _over("factorized", _normal(), num_dims=2, leaf_sums=False),
    "categorical": _over("poon_domingos", lambda: layers.CategoricalLeaf(2, 3)),
    "binomial": _over("quad_graph", lambda: layers.BinomialLeaf(2, total_count=4)),
    "bernoulli": _over("chow_liu_chain", lambda: layers.BernoulliLeaf(2)),
    "gamma": _over("linear_tree", lambda: layers.DistributionLeaf("Gamma", 2)),
    "mixed": _over("binary_trees", _mixed),
    "vectors": _over(
        "factorized",
        lambda: layers.DistributionLeaf("MultivariateNormalTriL", 2),
        num_dims=2,
    ),
    "chosen leaf": _over(
        "binary_trees",
        _chosen_leaf,
        sum_op=sum_ops.SumOpUnweightedHardEMBackprop(),
        accumulator_initializer=initializers.Dirichlet(-2, 0.7, seed=5),
    ),
    "registered function": _over("factorized", _registered_function),
    "registered leaf": _over("factorized", lambda: WideNormalLeaf(2)),
    "cauchy": _over("factorized", lambda: layers.CauchyLeaf(2)),
    "indicator": _over("factorized", lambda: layers.IndicatorLeaf(2)),
    "dynamic": lambda: circuits.dynamic_from_circuit(_template(), 4),
    "dynamic cp": lambda: circuits.dynamic_from_circuit(
        _template(), 4, 2, "cp", is_stationary=False
    ),
    "stack": lambda: keras.Sequential(_flat_layers()),
    "circuit of a stack": lambda: circuits.from_layers(_flat_layers()),
    "images": _images,
    "chosen sums": _chosen_sums,
    "sequential": _supervised,
    "functional": _functional,
    "libspn dynamic": _libspn_dynamic,
    "conditional": _conditional,
    "regression": _regression(),
    "median": _regression(output=median_of),
}

# Of these there are also files of weights.
WEIGHTS = (
    "normal",
    "classes",
    "categorical",
    "binomial",
    "bernoulli",
    "gamma",
    "mixed",
    "dynamic cp",
    "stack",
    "images",
    "conditional",
)


def _shape_of(model: Any) -> tuple[int, ...]:
    if hasattr(model, "program"):
        return model.program.event_shape
    if isinstance(model, models.DynamicSumProductNetwork):
        return (5, 4)
    return tuple(model.input_shape[1:])


def data_for(name: str, model: Any, num_rows: int = 5, seed: int = 2) -> np.ndarray:
    """Values of positive density, ``[num_rows, ...]``."""
    rng = np.random.default_rng(seed)
    shape = (num_rows, *_shape_of(model))
    highest = {"categorical": 2, "binomial": 4, "bernoulli": 1, "indicator": 1}
    highest |= {"dynamic": 1, "dynamic cp": 1, "images": 1, "chosen sums": 1}
    highest |= {"libspn dynamic": 1}
    if name in highest:
        return rng.integers(0, highest[name] + 1, shape).astype("float32")
    if name == "gamma":
        return rng.gamma(2.0, size=shape).astype("float32")
    if name == "mixed":
        x = rng.gamma(2.0, size=shape)
        x[:, 0] = rng.integers(0, 3, num_rows)
        x[:, 3] = rng.integers(0, 2, num_rows)
        return x.astype("float32")
    dtype = "float64" if name == "float64" else "float32"
    return rng.normal(0.5, 1.0, shape).astype(dtype)


def answers(name: str, model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """What a model says of data, enough to tell all its parameters apart."""
    if name in ("conditional", "regression"):
        distribution = model(x)
        target = np.random.default_rng(3).normal(size=(len(x), 5))
        target = target[:, : distribution.event_shape.num_elements() or 1]
        target = target.reshape(len(x), *distribution.event_shape).astype("float32")
        return {"log_prob": np.asarray(distribution.log_prob(target))}
    if not hasattr(model, "program"):
        return {"output": np.asarray(model(x))}
    is_dynamic = isinstance(model, circuits.DynamicCircuit)
    spn = (DynamicSumProductNetwork if is_dynamic else SumProductNetwork)(model)
    mask = np.random.default_rng(4).random((len(x), *model.program.mask_shape)) < 0.6
    return {
        "output": np.asarray(model(x)),
        "marginal": np.asarray(spn.log_prob(x, observed=mask)),
    }


# --- interrupted fits -----------------------------------------------------------------

Fit = tuple[Callable[[], Any], dict[str, Any]]
_EM = sum_ops.SumOpEMBackprop

FITS: dict[str, Fit] = {
    "em": (MODELS["normal"], {}),
    "em of classes": (MODELS["classes"], {"labels": np.arange(40) % 3}),
    "em of counts": (MODELS["binomial"], {"pseudocount": 0.5}),
    "em of a chain": (MODELS["bernoulli"], {}),
    "em of mixed leaves": (MODELS["mixed"], {}),
    "em of a stack": (MODELS["stack"], {}),
    "em of images": (MODELS["images"], {}),
    "em of sequences": (MODELS["dynamic"], {}),
    "em in double precision": (MODELS["float64"], {"sample_weight": np.arange(40.0)}),
    "soft em": (_over("linear_tree", _normal(), sum_op=_EM()), {}),
    "hard em": (
        _over("quad_graph", _normal(), sum_op=sum_ops.SumOpHardEMBackprop()),
        {},
    ),
    "unweighted hard em": (
        _over("factorized", _normal(), sum_op=sum_ops.SumOpUnweightedHardEMBackprop()),
        {"method": "online_em", "step_size": 0.3},
    ),
    "online em": (
        MODELS["categorical"],
        {"method": "online_em", "step_size": lambda n: (n + 2) ** -0.6, "seed": 3},
    ),
    "gradient": (MODELS["tucker"], {"method": "gradient", "patience": 3}),
    "gradient of gamma": (
        MODELS["gamma"],
        {"method": "gradient", "optimizer": "adagrad"},
    ),
}
_FIRST, LAST = 2, 4
_DATA_OF = {
    "em": "normal",
    "em of classes": "classes",
    "em of counts": "binomial",
    "em of a chain": "bernoulli",
    "em of mixed leaves": "mixed",
    "em of images": "images",
    "em of sequences": "dynamic",
    "em in double precision": "float64",
    "online em": "categorical",
    "gradient of gamma": "gamma",
}


def resumed(name: str, path: Path, epochs: int = LAST) -> tuple[Any, Any]:
    """Begins or goes on with a fit: the circuit and the history."""
    make, settings = FITS[name]
    keras.utils.set_random_seed(epochs)  # other parameters than the fit began with
    circuit = make()
    kind = _DATA_OF.get(name, name)
    settings = {"batch_size": 16, "verbose": False, **settings}
    if "patience" in settings:
        settings["validation_data"] = data_for(kind, circuit, 15, seed=12)
    if settings.get("optimizer") == "adagrad":
        settings["optimizer"] = keras.optimizers.Adagrad(0.1)
    x = data_for(kind, circuit, 40, seed=11)
    return circuit, fit(circuit, x, epochs=epochs, checkpoint=path, **settings)


def rows_after(name: str, circuit: Any) -> np.ndarray:
    """Log-probabilities that tell the parameters of a fitted circuit apart."""
    if not hasattr(circuit, "program"):
        circuit = circuits.from_layers(circuit)
    x = data_for(_DATA_OF.get(name, name), circuit, 10, seed=13)
    is_dynamic = isinstance(circuit, circuits.DynamicCircuit)
    spn = (DynamicSumProductNetwork if is_dynamic else SumProductNetwork)(circuit)
    mask = np.random.default_rng(14).random((10, *circuit.program.mask_shape)) < 0.6
    return np.stack([spn.log_prob(x), spn.log_prob(x, observed=mask)])


# --- the files ------------------------------------------------------------------------


def model_file(name: str) -> str:
    return f"models/{name.replace(' ', '_')}.keras"


def weights_file(name: str) -> str:
    return f"weights/{name.replace(' ', '_')}.weights.h5"


def fit_file(name: str) -> str:
    return f"fits/{name.replace(' ', '_')}.npz"


def _disturbed(name: str) -> Any:
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    if name == "conditional":
        model(np.zeros([1, 3], "float32"))
    if isinstance(model, models.DynamicSumProductNetwork):
        model(np.zeros([1, 5, 4], "float32"))
    rng = np.random.default_rng(6)
    for variable in model.trainable_variables:
        noise = rng.uniform(0.0, 0.5, variable.shape)
        variable.assign_add(noise.astype(variable.dtype))
    return model


def main() -> None:
    """Writes all files anew."""
    (HERE / "graphs").mkdir(exist_ok=True)
    for name, make in GRAPHS.items():
        make().save(HERE / "graphs" / f"{name}.json")
    with tempfile.TemporaryDirectory() as folder:
        numbers = _write_models(Path(folder)) | _write_fits(Path(folder))
        with zipfile.ZipFile(HERE / "files.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(folder).rglob("*.*")):
                archive.write(path, path.relative_to(folder))
    np.savez_compressed(HERE / "numbers.npz", **numbers)


def _write_models(folder: Path) -> dict[str, np.ndarray]:
    numbers: dict[str, np.ndarray] = {}
    for kind in ("models", "weights"):
        (folder / kind).mkdir()
    for name in MODELS:
        model = _disturbed(name)
        x = numbers[f"models/{name}/x"] = data_for(name, model)
        for key, value in answers(name, model, x).items():
            numbers[f"models/{name}/{key}"] = value
        model.save(folder / model_file(name))
        if name in WEIGHTS:
            model.save_weights(folder / weights_file(name))
    return numbers


def _write_fits(folder: Path) -> dict[str, np.ndarray]:
    numbers: dict[str, np.ndarray] = {}
    (folder / "fits").mkdir()
    for name in FITS:
        resumed(name, folder / fit_file(name), _FIRST)
        with tempfile.TemporaryDirectory() as other:
            copy = shutil.copy(folder / fit_file(name), other)
            circuit, history = resumed(name, Path(copy))
        numbers[f"fits/{name}/history"] = np.asarray(history.log_likelihood)
        numbers[f"fits/{name}/rows"] = rows_after(name, circuit)
    return numbers


if __name__ == "__main__":
    main()
