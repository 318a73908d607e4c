"""The package's own leaves keep the contract; leaves that break it are found out."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tfp_spn import layers
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.testing import check_leaf

LEAVES = {
    "NormalLeaf": lambda: layers.NormalLeaf(2, scale_trainable=True),
    "LaplaceLeaf": lambda: layers.LaplaceLeaf(2, scale_trainable=True),
    "CauchyLeaf": lambda: layers.CauchyLeaf(2, scale_trainable=True),
    "BernoulliLeaf": lambda: layers.BernoulliLeaf(2),
    "BinomialLeaf": lambda: layers.BinomialLeaf(2, total_count=3),
    "BinomialLeaf, large": lambda: layers.BinomialLeaf(2, total_count=1000),
    "CategoricalLeaf": lambda: layers.CategoricalLeaf(2, num_categories=3),
    "DiscretizedLogisticLeaf": lambda: layers.DiscretizedLogisticLeaf(2, 8),
    "HistogramLeaf": lambda: layers.HistogramLeaf(2, edges=[0.0, 1.0, 3.0, 4.0]),
    "PiecewiseLinearLeaf": lambda: layers.PiecewiseLinearLeaf(2, [0.0, 1.0, 3.0]),
    "IndicatorLeaf": lambda: layers.IndicatorLeaf(3),
    "DistributionLeaf": lambda: layers.DistributionLeaf("Gamma", 2),
    "DistributionLeaf, unbounded": lambda: layers.DistributionLeaf("Beta", 2),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("name", LEAVES)
def test_own_leaves_keep_the_contract(name: str) -> None:
    check_leaf(LEAVES[name]())


def test_no_leaf_is_left_out() -> None:
    public = (getattr(layers, name) for name in layers.__all__)
    leaves = {kind.__name__ for kind in public if issubclass(kind, BaseLeaf)}
    bases = {"BaseLeaf", "LocationScaleLeaf", "MixedLeaf"}
    assert leaves - bases == {name.split(",")[0] for name in LEAVES}


def test_dimensions_and_vectors() -> None:
    check_leaf(layers.BernoulliLeaf(2), num_dims=2)
    check_leaf(layers.DistributionLeaf("MultivariateNormalTriL", 2), num_dims=2)


class Shifted(layers.LaplaceLeaf):
    """Draws from elsewhere."""

    def sample_component(self, rows, seed):
        return super().sample_component(rows, seed) + 0.5


class TooLarge(layers.LaplaceLeaf):
    """Adds up to two."""

    def component_log_prob(self, params, x):
        return super().component_log_prob(params, x) + tf.math.log(
            tf.constant(2.0, x.dtype)
        )


class OtherMean(layers.LaplaceLeaf):
    def component_mean(self, params):
        return super().component_mean(params) + 0.5


class OtherMode(layers.LaplaceLeaf):
    def component_mode(self, params):
        return super().component_mode(params) + 0.5


class BadStep(layers.LaplaceLeaf):
    """Moves away from the data, from the second step on past where it began."""

    def maximize(self, params, statistics, step_size, pseudocount):
        new = super().maximize(params, statistics, step_size, pseudocount)
        received = statistics["count"][..., tf.newaxis] > 0
        far = tf.where(received, new["location"] + 5.0, params["location"])
        return {**new, "location": far}


class Restless(layers.LaplaceLeaf):
    """Moves components without examples."""

    def maximize(self, params, statistics, step_size, pseudocount):
        new = super().maximize(params, statistics, step_size, pseudocount)
        received = statistics["count"][..., tf.newaxis] > 0
        moved = tf.where(received, new["location"], new["location"] + 1.0)
        return {**new, "location": moved}


class SeesHidden(layers.LaplaceLeaf):
    """Lets hidden values count."""

    def region_log_prob(self, params, x, observed, layout, hidden=None):
        return super().region_log_prob(params, x, None, layout)


class Forgetful(layers.LaplaceLeaf):
    def get_config(self):
        config = super().get_config()
        del config["scale_trainable"]
        return config


class StopsGradients(layers.LaplaceLeaf):
    def component_log_prob(self, params, x):
        params = {**params, "scale": tf.stop_gradient(params["scale"])}
        return super().component_log_prob(params, x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Shifted, "expected that draws of component 0 follow its density"),
        (TooLarge, "expected that the density of component 0 integrates to 1"),
        (OtherMean, "expected that the mean is that of the density"),
        (OtherMode, "component_mode_log_prob is the log-density at component_mode"),
        (BadStep, "expected that an M-step never lowers the likelihood"),
        (Restless, 'components without examples keep the parameter "location"'),
        (SeesHidden, "expected that a hidden variable has log-probability 0"),
        (Forgetful, r"all arguments of the constructor, received none of \['scale_tr"),
        (StopsGradients, "the derivative of the log-density is that of differences"),
    ],
)
def test_what_breaks_the_contract_is_found(kind: type, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_leaf(kind(2, scale_trainable=True))
