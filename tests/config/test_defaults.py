"""Defaults: taken at construction, restored by `with`, written into configs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfp_spn
from tfp_spn import circuits, config, constraints, initializers, layers, region_graphs

CLIP = constraints.GreaterEqualEpsilon(0.5)

# name: (set, get, what to set, attribute of a layer)
DEFAULTS = {
    "rule": (
        config.set_default_sum_op,
        config.get_default_sum_op,
        tfp_spn.SumOpEMBackprop(),
        "sum_op",
    ),
    "linear constraint": (
        config.set_default_linear_accumulators_constraint,
        config.get_default_linear_accumulators_constraint,
        CLIP,
        "linear_accumulator_constraint",
    ),
    "logspace constraint": (
        config.set_default_logspace_accumulators_constraint,
        config.get_default_logspace_accumulators_constraint,
        CLIP,
        "logspace_accumulator_constraint",
    ),
}


@pytest.mark.parametrize(("put", "get", "value", "attribute"), DEFAULTS.values())
def test_default_is_taken_at_construction(put, get, value, attribute):
    before = get()
    assert before is not value
    with put(value) as given:
        assert given is value
        assert get() is value
        made = layers.RootSum()
        assert getattr(layers.DenseSum(2), attribute) is value
    assert get() is before
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(made)
    )
    assert type(getattr(copy, attribute)) is type(value)
    assert type(getattr(layers.RootSum(), attribute)) is type(before)


def test_a_default_may_stay():
    before = config.get_default_sum_op()
    replacement = config.set_default_sum_op(tfp_spn.SumOpEMBackprop())
    try:
        assert layers.DenseSum(2).sum_op == tfp_spn.SumOpEMBackprop()
        explicit = layers.DenseSum(2, sum_op=tfp_spn.SumOpGradBackprop())
        assert explicit.sum_op == tfp_spn.SumOpGradBackprop()
    finally:
        with replacement:
            pass
    assert config.get_default_sum_op() is before


def test_a_default_is_restored_after_an_error():
    before = config.get_default_sum_op()
    with pytest.raises(KeyError), config.set_default_sum_op(tfp_spn.SumOpEMBackprop()):
        raise KeyError
    assert config.get_default_sum_op() is before


def test_initializer_draws_anew_for_each_layer():
    shape = (None, 1, 1, 6)
    with tfp_spn.set_default_accumulator_initializer(
        keras.initializers.RandomUniform(1.0, 2.0)
    ):
        first, second = layers.DenseSum(3), layers.DenseSum(3)
    assert isinstance(first.accumulator_initializer, keras.initializers.RandomUniform)
    first.build(shape)
    second.build(shape)
    stored = np.exp(first.accumulators)
    assert stored.min() >= 0.999
    assert stored.max() <= 2.001
    assert not np.allclose(stored, np.exp(second.accumulators))
    default = layers.DenseSum(3).accumulator_initializer
    assert config.get_default_accumulator_initializer() is not default  # draws anew
    assert default.get_config() == initializers.Dirichlet(-2, 0.2).get_config()


def test_circuits_take_the_defaults():
    graph = region_graphs.random_binary_trees(4, 1, num_repetitions=2)
    with (
        tfp_spn.set_default_sum_op(tfp_spn.SumOpHardEMBackprop()),
        tfp_spn.set_default_accumulator_initializer("ones"),
    ):
        circuit = circuits.from_region_graph(graph, layers.BernoulliLeaf(2), 2)
    again = type(circuit).from_config(circuit.get_config())
    for made in (circuit, again):
        rules = {type(spec.rule) for spec in made.program.sum_specs}
        assert rules == {tfp_spn.SumOpHardEMBackprop}
        np.testing.assert_array_equal(made.live_params()["sums_0"], 0)  # log 1


WRONG = {
    "rule": (config.set_default_sum_op, "em", r"received 'em', expected a learning r"),
    "class of a rule": (
        config.set_default_sum_op,
        tfp_spn.SumOpEMBackprop,
        "expected a learning rule. Pass",
    ),
    "initializer": (
        config.set_default_accumulator_initializer,
        lambda shape, dtype=None: None,
        "expected a Keras initializer. Pass",
    ),
    "constraint": (
        config.set_default_linear_accumulators_constraint,
        None,
        "received None, expected a Keras constraint. Pass",
    ),
}


@pytest.mark.parametrize(("put", "value", "message"), WRONG.values(), ids=WRONG)
def test_errors(put, value, message):
    with pytest.raises(TypeError, match=message):
        put(value)
