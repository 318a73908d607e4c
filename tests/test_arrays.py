"""Data in the containers that people have them in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfp_spn
from tests.learning.learning_cases import circuit_of, data_of, leaf_of
from tfp_spn import circuits, region_graphs
from tfp_spn._arrays import as_array
from tfp_spn.learning import OnlineExpectationMaximization, fit

pandas = pytest.importorskip("pandas")
ROWS = np.array([[1.5, 1], [2.0, 0], [0.0, 1]])


def frames() -> dict[str, Any]:
    frame = pandas.DataFrame(ROWS, columns=["a", "b"])
    return {
        "bool": frame.assign(b=[True, False, True]),
        "nullable": frame.convert_dtypes(),
        "nullable bool": frame.assign(b=pandas.array([True, False, True], "boolean")),
        "category": frame.astype({"b": "category"}),
        "object": frame.astype(object),
        "equal names": pandas.DataFrame(ROWS, columns=["a", "a"]),
        "list": ROWS.tolist(),
        "longdouble": ROWS.astype(np.longdouble),
        "bfloat16": tf.constant(ROWS, tf.bfloat16),
        "decimal": [[Decimal(str(v)) for v in row] for row in ROWS],
        "no mask": np.ma.masked_array(ROWS),
    }


def test_numbers_are_read_from_what_holds_them() -> None:
    circuit = circuits.from_region_graph(
        region_graphs.fully_factorized(2),
        leaf=[(leaf_of("normal"), [0]), (leaf_of("bernoulli"), [1])],
        num_sums=2,
    )
    spn = tfp_spn.distributions.SumProductNetwork(circuit)
    want = spn.log_prob(ROWS)
    for name, data in frames().items():
        np.testing.assert_array_equal(as_array(data, "test"), ROWS, err_msg=name)
        np.testing.assert_allclose(spn.log_prob(data), want, rtol=1e-6, err_msg=name)
    fit(circuit, frames()["nullable bool"], epochs=1, verbose=False)
    tfp_spn.region_graphs.hidden_chow_liu_tree(frames()["bool"])
    frame = frames()["nullable"]
    frame.loc[1, "a"] = None
    frame.loc[2, "b"] = pandas.NA
    x, observed = tfp_spn.from_nan(frame)
    for mask in (observed, frame.notna()):
        history = fit(circuit, frame, observed=mask, epochs=1, verbose=False)
        assert np.isfinite(history.log_likelihood).all()
        have = spn.log_prob(frame, observed=mask)
        np.testing.assert_array_equal(have, spn.log_prob(x, observed=observed))
    np.testing.assert_array_equal(x, [[1.5, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(
        observed, [[True, True], [False, True], [True, False]]
    )


def test_masked_arrays_are_split() -> None:
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    x, observed = tfp_spn.from_nan(masked)
    assert x.tolist() == [[1, 0], [3, 4]]
    assert observed.tolist() == [[True, False], [True, True]]
    assert tfp_spn.from_nan([[None, 2]])[1].tolist() == [[False, True]]


def test_what_holds_no_numbers_is_refused() -> None:
    circuit = circuit_of("normal")
    spn = tfp_spn.distributions.SumProductNetwork(circuit)
    x = data_of("normal", 5)
    columns = pandas.DataFrame(x, columns=list("abcd"))
    hidden = np.ma.masked_array(x, mask=x > 0)
    refused = {
        "masked array.*from_nan": hidden,
        r"ragged, received a RaggedTensor.*to_tensor\(\)": tf.ragged.constant(
            [[1.0], [1.0, 2.0]]
        ),
        r"sparse, received a SparseTensor.*to_dense": tf.sparse.from_dense(x),
        "received a generator.*from_generator": (row for row in x),
        "column 'b' of .* dtype (str|object).*categories": columns.assign(b="one"),
        "column 'c' of .* dtype datetime": columns.assign(c=pandas.Timestamp(0)),
        "equally many numbers.* Fill up": [[1.0], [1.0, 2.0]],
        "received a dict": {"a": x[:, 0]},
    }
    for message, data in refused.items():
        with pytest.raises((TypeError, ValueError), match=message):
            spn.log_prob(data)
        with pytest.raises((TypeError, ValueError), match=message):
            fit(circuit, data, verbose=False)
    masked = np.ma.masked_array(x > 0, mask=x > 1)
    for ask in (spn.log_prob, spn.condition, spn.log_joint):
        with pytest.raises(TypeError, match="observed is a masked array"):
            ask(x, observed=masked)


def test_weights_too_small_for_the_dtype_are_called_so() -> None:
    x, weights = data_of("bernoulli", 8), np.full(8, 1e-40)
    with pytest.raises(ValueError, match=r"too small, .* 8e-40, .* Multiply all"):
        fit(circuit_of(), x, sample_weight=weights, verbose=False)
    rows = tf.data.Dataset.from_tensor_slices({"x": x, "sample_weight": weights})
    with pytest.raises(ValueError, match="too small"):
        fit(circuit_of(), rows.batch(4), verbose=False)
    mixed = np.where(np.arange(8) < 4, 1e-40, 1.0)  # one batch alone may be
    rows = tf.data.Dataset.from_tensor_slices({"x": x, "sample_weight": mixed})
    fit(circuit_of(), rows.batch(4), epochs=1, verbose=False)


def test_a_weight_of_nan_ends_the_fit_of_online_em() -> None:
    circuit, x = circuit_of(), data_of("bernoulli", 8)
    circuit.compile(OnlineExpectationMaximization())
    before = [v.numpy() for v in circuit.weights]
    weights = np.where(np.arange(8) == 3, np.nan, 1.0)
    with pytest.raises(ValueError, match="sample_weight=nan"):
        circuit.fit(x, np.zeros(8), sample_weight=weights, verbose=0)
    rows = tf.data.Dataset.from_tensor_slices((x, np.zeros(8), weights)).batch(4)
    with pytest.raises(ValueError, match="received a loss of nan"):
        circuit.fit(rows, verbose=0)
    for variable, value in zip(circuit.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_fit_takes_lengths_of_sequences() -> None:
    def dynamic() -> Any:
        return circuits.dynamic_from_circuit(circuit_of(num_classes=2), num_steps=3)

    x = data_of("bernoulli", 30).reshape(10, 3, 4)
    lengths = np.arange(10) % 3 + 1
    x[np.arange(3) >= lengths[:, np.newaxis]] = 7  # no value of the support
    known = np.arange(3) < lengths[:, np.newaxis]
    have = fit(dynamic(), x, lengths=lengths, epochs=2, verbose=False)
    want = fit(dynamic(), x, observed=known[..., np.newaxis], epochs=2, verbose=False)
    assert have.log_likelihood == want.log_likelihood
    for wrong, message in (
        (lengths * 1.0, "counts of steps, received dtype float64"),
        (lengths + 1, r"out of range, .* values \[2, 3, 4\], expected numbers"),
        (lengths - 1, "out of range, .* Leave out empty"),
        (lengths[:5], r"do not fit x, received shape \(5,\) for 10 sequences"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fit(dynamic(), x, lengths=wrong, verbose=False)
    with pytest.raises(ValueError, match="no steps, received lengths"):
        fit(circuit_of(), x[:, 0], lengths=lengths, verbose=False)


def test_a_sample_shape_is_a_shape() -> None:
    spn = tfp_spn.distributions.SumProductNetwork(circuit_of())
    given = spn.condition(data_of("bernoulli", 2), observed=[True, False, True, False])
    for distribution in (spn, given):
        for shape in (-1, [-1, -2], [2, -1], 1.5):
            with pytest.raises(ValueError, match="sample_shape is no shape, received"):
                distribution.sample(shape)
        assert distribution.sample(0).shape[0] == 0
        assert distribution.sample([]).shape[-1] == 4
