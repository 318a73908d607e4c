"""Every public layer comes back from its config, and from a file with its weights."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

from tests.layers.stacks import binary_states
from tfp_spn import constraints, initializers, layers, sum_ops

# No default is left where there is a choice: what a config forgets, comes back wrong.
SUMS = {
    "logspace_accumulators": False,
    "accumulator_initializer": initializers.Dirichlet(-2, 0.7, seed=5),
    "sum_op": sum_ops.SumOpHardEMBackprop(0.25, seed=4),
    "accumulator_regularizer": keras.regularizers.L2(0.5),
    "logspace_accumulator_constraint": constraints.LogNormalized(),
    "linear_accumulator_constraint": constraints.Clip(0.1, 5.0),
}
LOCATION_SCALE = {
    "num_components": 3,
    "location_initializer": initializers.Equidistant(-2.0, 2.0),
    "location_trainable": False,
    "scale_initializer": keras.initializers.Constant(0.7),
    "scale_trainable": True,
    "accumulator_initializer": keras.initializers.Constant(4.0),
    "use_accumulators": True,
    "scale_constraint": constraints.Clip(0.5),
    "min_scale": 0.25,
}
NORMAL = keras.initializers.RandomNormal(stddev=0.3, seed=1)

# name: (constructor's arguments, input shape without the batch)
LAYERS = {
    "BernoulliLeaf": ({"num_components": 3, "logits_initializer": NORMAL}, (4, 2, 1)),
    "BinomialLeaf": (
        {"num_components": 3, "total_count": 5, "logits_initializer": NORMAL},
        (4, 2, 1),
    ),
    "CategoricalLeaf": (
        {"num_components": 3, "num_categories": 4, "logits_initializer": NORMAL},
        (4, 2, 1),
    ),
    "CauchyLeaf": (LOCATION_SCALE, (4, 2, 1)),
    "DenseProduct": ({"num_factors": 2}, (4, 2, 3)),
    "DenseSum": ({"num_sums": 3, **SUMS}, (4, 2, 3)),
    "DiscretizedLogisticLeaf": (
        {
            "num_components": 3,
            "num_categories": 4,
            "location_initializer": NORMAL,
            "scale_initializer": keras.initializers.Constant(0.7),
            "min_scale": 0.25,
        },
        (4, 2, 1),
    ),
    "DistributionLeaf": (
        {
            "make_distribution": "StudentT",
            "num_components": 3,
            "parameters": {"loc": None, "scale": ()},
            "initializers": {"loc": NORMAL},
            "constants": {"df": 4.0},
            "support": "of_component",
            "event_ndims": 0,
        },
        (4, 2, 1),
    ),
    "FlatToRegions": ({"num_decomps": 3}, (4,)),
    "HistogramLeaf": (
        {
            "num_components": 3,
            "edges": [-9.0, 0.0, 9.0],
            "logits_initializer": NORMAL,
        },
        (4, 2, 1),
    ),
    "IndicatorLeaf": ({"num_components": 2}, (4, 2, 1)),
    "InputDropout": ({"rate": 0.25, "seed": 3, "variable_axes": [1, 2]}, (4, 2, 3)),
    "LaplaceLeaf": (LOCATION_SCALE, (4, 2, 1)),
    "LogDropout": (
        {
            "rate": 0.25,
            "noise_shape": [4, 2, 1],
            "seed": 3,
            "axis_at_least_one": 2,
        },
        (4, 2, 3),
    ),
    "MixedLeaf": (
        {
            "leaves": lambda: [
                [layers.NormalLeaf(3), [2, 0]],
                [layers.CategoricalLeaf(3, num_categories=2), [1, 3]],
            ]
        },
        (4, 2, 1),
    ),
    "NormalLeaf": (LOCATION_SCALE, (4, 2, 2)),
    "NormalizeStandardScore": (
        {"normalization_epsilon": 0.5, "axes": "global"},
        (4, 2),
    ),
    "PermuteAndPadScopes": ({"permutations": [[3, 1, -1, 0]] * 2}, (4, 2, 3)),
    "PermuteAndPadScopesRandom": ({"factors": [2, 3], "seed": 3}, (4, 2, 3)),
    "PiecewiseLinearLeaf": (
        {
            "num_components": 3,
            "knots": [-9.0, 0.0, 9.0],
            "logits_initializer": NORMAL,
        },
        (4, 2, 1),
    ),
    "ReduceProduct": ({"num_factors": 2}, (4, 2, 3)),
    "RootSum": (
        {"return_weighted_child_logits": False, "trainable": False, **SUMS},
        (1, 2, 3),
    ),
    "Undecompose": ({"num_decomps": 2}, (3, 4, 2)),
}
NO_STACK_LAYERS = {
    "BaseLeaf",  # of leaves, and
    "LocationScaleLeafBase",  # of some of them
    "FoldedSum",  # of circuits, whose tests save it
    "NormalizeAxes",  # an enumeration
    "TemporalDenseProduct",  # has two inputs: tests of its own
}


def test_every_layer_is_here():
    spatial = {
        name
        for name in layers.__all__
        if "spatial" in getattr(getattr(layers, name), "__module__", "")
    }  # have tests of their own
    assert set(LAYERS) | NO_STACK_LAYERS == set(layers.__all__) - spatial


def arguments_of(name):
    """New ones: a leaf layer belongs to one model."""
    return {
        key: value() if key == "leaves" else value
        for key, value in LAYERS[name][0].items()
    }


@pytest.mark.parametrize("name", LAYERS)
def test_config_has_every_argument(name):
    arguments = arguments_of(name)
    cls = getattr(layers, name)
    layer = cls(**arguments, name="mine")
    config = layer.get_config()
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert type(copy) is cls
    assert copy.get_config() == config
    parameters = inspect.signature(cls.__init__).parameters
    legacy = {"NormalizeStandardScore": {"sample_wise"}}.get(name, set())
    named = {p for p, kind in parameters.items() if kind.kind is not kind.VAR_KEYWORD}
    named -= {"self", *legacy}
    assert named <= set(config)
    assert named - {"dtype"} <= set(arguments)  # and each has a value of its own here


@pytest.mark.parametrize("name", LAYERS)
def test_file_has_every_weight(name, tmp_path):
    arguments, shape = arguments_of(name), LAYERS[name][1]
    model = keras.Sequential([keras.Input(shape), getattr(layers, name)(**arguments)])
    for variable in model.weights:
        if variable.dtype in ("float32", "float64"):
            noise = np.random.default_rng(0).uniform(0.1, 0.2, variable.shape)
            variable.assign(np.asarray(variable) + noise)
    x = np.resize(binary_states(4), (6, *shape)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    for have, want in zip(loaded.weights, model.weights, strict=True):
        assert have.trainable == want.trainable
    other = keras.models.clone_model(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))
