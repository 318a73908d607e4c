"""Files with numbers that are not finite are refused; -inf only where it may be."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfp_spn import circuits, layers, models, region_graphs

GRAPH = region_graphs.random_binary_trees(4, 1, num_repetitions=1, seed=0)


def region_graph_circuit():
    """One with a leaf layer of each kind, and a prior."""
    leaf = [
        (layers.NormalLeaf(2, scale_trainable=True), [0]),
        (layers.CategoricalLeaf(2, 3), [1]),
        (layers.DistributionLeaf("Gamma", 2), [2]),
        (layers.BernoulliLeaf(2), [3]),
    ]
    return circuits.from_region_graph(GRAPH, leaf, 2, num_classes=2)


def dynamic_circuit():
    step = circuits.from_region_graph(GRAPH, layers.NormalLeaf(2), 2, num_classes=2)
    return circuits.dynamic_from_circuit(step, 3)


def stack():
    return [
        keras.Input((4,)),
        layers.FlatToRegions(num_decomps=1),
        layers.NormalLeaf(2),
        layers.DenseProduct(2),
        layers.DenseSum(2),
        layers.DenseProduct(2),
        layers.RootSum(return_weighted_child_logits=False),
    ]


def normalized():
    normalize = layers.NormalizeStandardScore(axes="variable_wise")
    return keras.Sequential([*stack()[:1], normalize, *stack()[1:]])


MODELS = {
    "region graph": region_graph_circuit,
    "dynamic": dynamic_circuit,
    "layers": lambda: circuits.from_layers(keras.Sequential(stack())),
    "Sequential": normalized,
    "model": lambda: models.SequentialSumProductNetwork(stack()),
}


@pytest.mark.parametrize("name", MODELS)
def test_files_of_every_kind_of_model_are_refused(name, tmp_path) -> None:
    source, copy = MODELS[name](), MODELS[name]()
    for place, variable in enumerate(source.weights):
        good = variable.numpy()
        for value in (np.nan, np.inf, -np.inf):
            bad = good.copy()
            bad.flat[-1] = value
            variable.assign(bad)
            for file in ("a.weights.h5", "a.keras")[: 1 + np.isnan(value)]:
                path = str(tmp_path / file)
                (source.save if file == "a.keras" else source.save_weights)(path)
                load = (
                    keras.saving.load_model if file == "a.keras" else copy.load_weights
                )
                if value == -np.inf and getattr(variable, "is_log_weight", False):
                    loaded = load(path) or copy
                    np.testing.assert_array_equal(loaded.weights[place], bad)
                    continue
                match = f"not finite, received {value} in '.*{variable.name}' at"
                with pytest.raises(ValueError, match=match):
                    load(path)
                assert np.all(np.isfinite(copy.weights[place]) | (good == bad))
        variable.assign(good)
        for model in (source, copy):
            model.weights[place].assign(good)


def test_statistics_that_the_layer_cannot_hold_are_refused() -> None:
    layer = layers.NormalizeStandardScore(axes="variable_wise")
    layer.build((None, 2))
    with pytest.raises(ValueError, match="received data whose mean .* float32"):
        layer.adapt(np.array([[1e300, 0.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(layer.mean, [0, 0])
