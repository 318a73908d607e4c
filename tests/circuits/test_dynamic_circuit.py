"""Circuits over sequences as Keras models: structure, saving, messages."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.distributions.test_dynamic_sum_product_network import (
    case,
    close,
    template_of,
)
from tfp_spn import circuits, initializers, layers, sum_ops
from tfp_spn.distributions import DynamicSumProductNetwork, SumProductNetwork


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({}, {"initial": (1, 3, 1), "transition": (1, 3, 3)}),
        (
            {"num_interfaces": 2, "sum_product": "tucker"},
            {"initial": (1, 6, 1), "transition": (1, 6, 2)},
        ),
        (
            {"num_interfaces": 2, "sum_product": "cp", "is_stationary": False},
            {"initial": (1, 3, 1), "transition": (4, 3, 2), "interface": (4, 2, 3)},
        ),
    ],
)
def test_shapes(arguments, shapes):
    template = template_of(3, dtype="float32")
    circuit = circuits.dynamic_from_circuit(template, 5, **arguments)
    live = circuit.live_params()
    assert {name: tuple(live[name].shape) for name in shapes} == shapes
    assert "prior" not in live
    frozen = {id(v) for v in circuit.variables if not v.trainable}
    assert len(frozen) == 1  # the template's prior
    assert circuit.compute_output_shape((None, 5, 2)) == (None, 1)
    again = circuits.DynamicCircuit.from_config(circuit.get_config())
    assert again.program.chain_shapes == circuit.program.chain_shapes
    assert again.program.is_stationary == circuit.program.is_stationary
    for name, value in again.live_params().items():
        weights = tf.exp(tf.reduce_logsumexp(value, -2))
        if name in shapes:
            close(weights, np.ones(weights.shape), 1e-5)


def test_saving(tmp_path):
    c = case("cp")
    path = tmp_path / "circuit.keras"
    c.circuit.save(path)
    loaded = keras.models.load_model(path)
    close(loaded(c.x), c.circuit(c.x))
    c.circuit.save_weights(tmp_path / "circuit.weights.h5")
    other = circuits.DynamicCircuit.from_config(c.circuit.get_config())
    other.load_weights(tmp_path / "circuit.weights.h5")
    close(other(c.x), c.circuit(c.x))
    checkpoint = tf.train.Checkpoint(model=c.circuit).save(str(tmp_path / "c"))
    third = circuits.DynamicCircuit.from_config(c.circuit.get_config())
    tf.train.Checkpoint(model=third).restore(checkpoint)
    close(third(c.x), c.circuit(c.x))


def test_initializers_and_rules():
    circuit = circuits.dynamic_from_circuit(
        template_of(2, dtype="float32"),
        3,
        accumulator_initializer=initializers.Dirichlet(alpha=100.0),
        sum_op=sum_ops.SumOpEMBackprop(),
    )
    weights = tf.exp(circuit.live_params()["transition"])
    assert np.all(np.abs(weights - 0.5) < 0.2)
    assert circuit.program.chain_specs[0].rule == sum_ops.SumOpEMBackprop()


def test_chain_params():
    params = circuits.chain_params(
        np.ones([2, 3]) / 3,
        np.ones([2, 4, 2, 3]) / 3,
        np.ones([2, 4, 3, 2]) / 2,
        dtype="float64",
    )
    shapes = {name: tuple(value.shape) for name, value in params.items()}
    assert shapes == {
        "initial": (2, 1, 3, 1),
        "transition": (2, 4, 3, 2),
        "interface": (2, 4, 2, 3),
    }
    close(params["transition"], np.log(np.ones([2, 4, 3, 2]) / 3))
    batch = circuits.chain_params(np.ones([5, 3]) / 3, np.ones([5, 3, 3]) / 3)
    assert batch["transition"].shape == (5, 1, 3, 3)
    shared = circuits.chain_params(
        np.ones([5, 3]) / 3, np.ones([4, 3, 3]) / 3, in_time=True
    )
    assert shared["transition"].shape == (4, 3, 3)


def template(**arguments):
    return template_of(3, dtype="float32", **arguments)


def spn():
    return case("hidden Markov model").spn


X = np.zeros([2, 3, 2], int)
ERRORS = {
    "no circuit": (
        lambda: circuits.dynamic_from_circuit(layers.NormalLeaf(2), 3),
        TypeError,
        r"template must be a circuit over one step.*received NormalLeaf",
    ),
    "of a dynamic circuit": (
        lambda: circuits.dynamic_from_circuit(case("cp").circuit, 3),
        TypeError,
        r"received DynamicCircuit",
    ),
    "widths": (
        lambda: circuits.dynamic_from_circuit(template(), 3, num_interfaces=5),
        ValueError,
        r"numbers must agree; received num_interfaces=5 and.*num_classes=3",
    ),
    "product": (
        lambda: circuits.dynamic_from_circuit(template(), 3, 2, "hadamard"),
        ValueError,
        r"received 'hadamard', expected None, 'tucker' or 'cp'",
    ),
    "rule": (
        lambda: circuits.dynamic_from_circuit(
            template(), 3, sum_op=sum_ops.SumOpHardEMBackprop()
        ),
        ValueError,
        r"learned by soft counts, received sum_op=SumOpHardEM",
    ),
    "no rule": (
        lambda: circuits.dynamic_from_circuit(template(), 3, sum_op="em"),
        TypeError,
        r"sum_op must be a learning rule, received 'em'",
    ),
    "no steps": (
        lambda: circuits.dynamic_from_circuit(template(), 0),
        ValueError,
        r"num_steps",
    ),
    "variables of a step": (
        lambda: case("cp").circuit(np.zeros([2, 3, 4])),
        ValueError,
        r"received data of shape \(2, 3, 4\), expected \[batch, 3, 2\]",
    ),
    "static circuit": (
        lambda: DynamicSumProductNetwork(template()),
        TypeError,
        r"circuit must be what tfp_spn.circuits.dynamic_from_circuit returns, received "
        r"RegionGraphCircuit",
    ),
    "static view": (
        lambda: SumProductNetwork(case("cp").circuit),
        TypeError,
        r"received a DynamicCircuit.*DynamicSumProductNetwork",
    ),
    "parameters in time": (
        lambda: DynamicSumProductNetwork(
            case("cp").circuit, parameters_in_time=["transition"]
        ),
        ValueError,
        r"\['transition'\] are no parameters of the template.*is_stationary=False",
    ),
    "parameters without time": (
        lambda: DynamicSumProductNetwork(
            case("cp").circuit, parameters_in_time=["leaf_logits"]
        ),
        ValueError,
        r"received parameter 'leaf_logits' of shape .* expected \[\.\.\., 3, ",
    ),
    "value": (
        lambda: spn().log_prob(X[:, :2]),
        ValueError,
        r"received a value of shape \(2, 2, 2\), expected \[\.\.\., 3, 2\]",
    ),
    "mask": (
        lambda: spn().log_prob(X, observed=np.ones([2, 2], bool)),
        ValueError,
        r"received observed of shape \(2, 2\), expected one that broadcasts to "
        r"\[2, 3, 2\]",
    ),
    "empty sequence": (
        lambda: spn().log_prob(X, lengths=[3, 0]),
        ValueError,
        r"received lengths \[0\] \(of the sequences at \(1,\)\), expected numbers from "
        r"1 to 3",
    ),
    "too long": (
        lambda: spn().posterior_marginals(X, lengths=[7, 2]),
        ValueError,
        r"received lengths \[7\] \(of the sequences at \(0,\)\), expected numbers from "
        r"1 to 3.*more num_steps",
    ),
    "number of lengths": (
        lambda: spn().log_prob(X, lengths=[1, 2, 3]),
        ValueError,
        r"received lengths of shape \(3,\), expected one that broadcasts to \(2,\)",
    ),
    "kind of lengths": (
        lambda: spn().log_prob(X, lengths=[1.0, 2.0]),
        TypeError,
        r"received lengths of dtype float32, expected integers",
    ),
    "padding": (
        lambda: spn().log_prob(X, lengths=[1, 2], padding="middle"),
        ValueError,
        r"received padding='middle', expected 'right'",
    ),
    "lengths of a marginal": (
        lambda: spn().marginal(steps=[0]).log_prob(X[:, :1], lengths=[1, 1]),
        ValueError,
        r"received lengths for the marginal of steps \[0\]",
    ),
    "steps": (
        lambda: spn().marginal(steps=[3]),
        ValueError,
        r"marginal\(steps=\.\.\.\): received steps \[3\], expected indices between "
        r"0 and 2",
    ),
    "covariance": (
        lambda: spn().condition(X, np.ones([3, 1], bool)).covariance(),
        NotImplementedError,
        r"covariance is defined for events of rank 1, this one has shape \[3, 2\]",
    ),
    "univariate posteriors": (
        lambda: spn().condition(X, np.ones([3, 1], bool)).univariate_posteriors(),
        NotImplementedError,
        r"univariate_posteriors is not there for sequences. Use mean and variance",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_message(name):
    call, error, message = ERRORS[name]
    with pytest.raises(error, match=message):
        call()


def test_values_are_checked_at_run_time():
    checked = spn().copy(validate_args=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside the support"):
        checked.log_prob(X + 5)
    for query in ("posterior_marginals", "filtered_marginals", "posterior_mode"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="outside the support"):
            getattr(checked, query)(X + 5)
    mask = np.zeros([3, 1], bool)
    assert checked.log_prob(X + 5, observed=mask).shape == (2,)
