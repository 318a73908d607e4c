"""Nothing of the data is dropped without a word: no digits, no masks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tfp_spn import (
    circuits,
    distributions,
    from_nan,
    layers,
    learning,
    losses,
    models,
    region_graphs,
)


def normal_circuit(dtype: str = "float32", leaf: object = None) -> circuits.Circuit:
    return circuits.from_region_graph(
        region_graphs.fully_factorized(2),
        leaf=leaf or layers.NormalLeaf(1, scale_trainable=True, dtype=dtype),
        num_sums=1,
        leaf_sums=False,
    )


SECONDS = 1.7e9 + np.random.default_rng(0).normal(0, 1, (200, 2))
LOSSY = "cannot tell the values of column {} apart, received .* both become .*float64"


@pytest.mark.parametrize(
    "x",
    [
        SECONDS,
        np.stack([np.zeros(200), SECONDS[:, 0]], 1),
        SECONDS.astype(np.int64) * 10**9,
        np.where(np.arange(200)[:, np.newaxis] % 10, SECONDS, -999.0),
        1e6 + np.random.default_rng(0).normal(0, 1, (200, 2)),
        1 + 1e-8 * SECONDS % 1e-7,
    ],
    ids=["seconds", "one column", "nanoseconds", "sentinels", "1e6", "small"],
)
def test_fit_refuses_data_whose_digits_float32_loses(x: np.ndarray) -> None:
    circuit = normal_circuit()
    before = circuit.get_weights()
    with pytest.raises(ValueError, match=LOSSY.format("[01]")):
        learning.fit(circuit, x, epochs=1, initialize=True, verbose=False)
    with pytest.raises(ValueError, match=LOSSY.format("[01]")):
        learning.fit(
            circuit,
            tf.data.Dataset.from_tensor_slices(x).batch(100),
            epochs=1,
            verbose=False,
        )
    for old, new in zip(before, circuit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_queries_refuse_values_whose_digits_float32_loses() -> None:
    spn = distributions.SumProductNetwork(normal_circuit())
    mask = [True, False]
    for x in (SECONDS, tf.constant(SECONDS), SECONDS.astype(np.int64)):
        for query in (
            spn.log_prob,
            spn.prob,
            spn.cdf,
            spn.log_joint,
            spn.univariate_posteriors,
            lambda x: spn.condition(x, mask),
            lambda x: spn.condition(x[:1] * 0, mask).log_prob(x),
        ):
            with pytest.raises(ValueError, match=LOSSY.format("0")):
                query(x)


NOW = 1.7e9  # float32 has it, but no second beside it
AT_NOW = {"location_initializer": keras.initializers.Constant(NOW)}
ROUNDED = "rounds the values of column {} by much .* received 17000000.*float64"


@pytest.mark.parametrize(
    "leaf",
    [
        layers.NormalLeaf(2, **AT_NOW),
        layers.CauchyLeaf(2, **AT_NOW),
        layers.DistributionLeaf(
            "Gumbel", 2, initializers={"loc": AT_NOW["location_initializer"]}
        ),
        layers.MixedLeaf(
            [(layers.BernoulliLeaf(2), [0]), (layers.LaplaceLeaf(2, **AT_NOW), [1])]
        ),
    ],
    ids=["normal", "cauchy", "gumbel", "mixed"],
)
def test_a_single_row_is_not_rounded_by_the_width_of_its_components(leaf) -> None:
    """Nothing but the components can tell."""
    circuit = normal_circuit(leaf=leaf)
    spn = distributions.SumProductNetwork(circuit)
    first = 1.0 if isinstance(leaf, layers.MixedLeaf) else NOW
    fine, row = np.array([first, NOW]), np.array([first, NOW + 5.3])
    for query in (
        spn.log_prob,
        spn.cdf,
        spn.log_joint,
        lambda x: spn.condition(x, [False, True]),
        lambda x: spn.log_prob(x, observed=[False, True]),
        lambda x: circuit(x[np.newaxis]),
    ):
        query(fine)
        for x in (row, tf.constant(row)):
            with pytest.raises(ValueError, match=ROUNDED.format(1)):
                query(x)
    for query in (
        lambda x: spn.marginal([1]).log_prob(x[1:]),
        lambda x: spn.condition(fine, [True, False]).marginal([1]).log_prob(x[1:]),
    ):
        query(fine)
        with pytest.raises(ValueError, match="rounds the values of column"):
            query(row)
    assert spn.log_prob(row, observed=[True, False]) > -np.inf
    assert not np.isnan(spn.log_prob([first, 1e300]))
    spn.log_prob(row.astype(np.float32))  # on purpose


def test_single_rows_of_steps_stacks_and_wide_components() -> None:
    leaf = layers.NormalLeaf(2, **AT_NOW)
    template = circuits.from_region_graph(
        region_graphs.fully_factorized(2), leaf, num_sums=1, num_classes=2
    )
    of_steps = circuits.dynamic_from_circuit(template, 3)
    x = np.full([3, 2], NOW)
    x[2, 1] += 33.3
    with pytest.raises(ValueError, match=ROUNDED.format("2, 1")):
        distributions.DynamicSumProductNetwork(of_steps).log_prob(x)
    stack = normal_stack(leaf=layers.NormalLeaf(1, **AT_NOW))
    for query in (stack, stack.log_prob, stack.predict_on_batch):
        with pytest.raises(ValueError, match=ROUNDED.format("1")):
            query(x[2:])
    wide = layers.NormalLeaf(2, **AT_NOW, scale_initializer="ones", min_scale=1e4)
    wide = distributions.SumProductNetwork(normal_circuit(leaf=wide))
    far = distributions.SumProductNetwork(normal_circuit())
    assert wide.log_prob(x[2]) < 0
    assert far.log_prob(x[2]) < -1e18


def normal_stack(
    kind: type = models.SequentialSumProductNetwork, leaf: object = None
) -> keras.Model:
    return kind(
        [
            keras.Input((2,)),
            layers.FlatToRegions(1),
            leaf or layers.NormalLeaf(1),
            layers.DenseProduct(2),
            layers.RootSum(False),
        ]
    )


@pytest.mark.parametrize("make", [normal_circuit, normal_stack])
def test_methods_of_keras_refuse_data_whose_digits_float32_loses(make) -> None:
    model = make()
    model.compile("sgd", losses.NegativeLogLikelihood())
    before = model.get_weights()
    fine = SECONDS - 1.7e9
    for call in (
        lambda: model.fit(SECONDS, verbose=0),
        lambda: model.fit(fine, validation_data=(SECONDS,), verbose=0),
        lambda: model.evaluate(SECONDS, verbose=0),
        lambda: model.predict(SECONDS, verbose=0),
        lambda: model.train_on_batch(SECONDS),
        lambda: model.test_on_batch(SECONDS),
        lambda: model.predict_on_batch(SECONDS),
        lambda: model(SECONDS),
        lambda: model(tf.constant(SECONDS)),
    ):
        with pytest.raises(ValueError, match=LOSSY.format("0")):
            call()
    if make is normal_stack:
        for query in (model.log_prob, lambda x: model.complete(x, x > 0)):
            with pytest.raises(ValueError, match=LOSSY.format("0")):
                query(SECONDS)
    dataset = tf.data.Dataset.from_tensor_slices(SECONDS).batch(100)
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(tf.errors.InvalidArgumentError, match="cannot tell values"):
            method(dataset, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(tf.data.Dataset.from_tensor_slices(fine).batch(100), verbose=0)


def test_graphs_refuse_values_whose_digits_float32_loses() -> None:
    spn = distributions.SumProductNetwork(normal_circuit())
    mask = np.array([False, True])
    observed = tf.function(lambda x: spn.log_prob(x, observed=mask))
    function = tf.function(spn.log_prob)
    for call in (function, observed):
        with pytest.raises(tf.errors.InvalidArgumentError, match="cannot tell values"):
            call(tf.constant(SECONDS))
    hidden = tf.constant(np.stack([SECONDS[:, 0], np.linspace(0, 1, 200)], 1))
    for of in (observed, lambda x: spn.log_prob(x, observed=mask)):
        np.testing.assert_allclose(
            of(hidden), spn.marginal([1]).log_prob(hidden[:, 1:]), rtol=1e-5
        )
    for fine in (SECONDS - 1.7e9, np.full([200, 2], 0.1), SECONDS[:1]):
        assert np.all(np.isfinite(function(tf.constant(fine))))
    rows = tf.vectorized_map(spn.log_prob, tf.constant(SECONDS - 1.7e9))
    np.testing.assert_allclose(rows, spn.log_prob(SECONDS - 1.7e9), rtol=1e-4)


def test_data_that_keep_their_digits_are_taken() -> None:
    rng = np.random.default_rng(0)
    spn = distributions.SumProductNetwork(normal_circuit())
    for x in (
        SECONDS.astype(np.float32),  # rounded on purpose
        SECONDS - 1.7e9,
        np.full([200, 2], 0.1),  # constant
        rng.poisson(5e9, (200, 2)),  # 512 apart, a deviation of 70,000
        rng.integers(0, 2**24, (200, 2)),
        101_325 + rng.normal(0, 100, (200, 2)),
    ):
        assert spn.log_prob(x).shape == [200]
        learning.fit(spn, x, epochs=0, verbose=False)
    hidden = np.where([True, False], SECONDS, 0.0)
    observed = np.broadcast_to([False, True], hidden.shape)
    learning.fit(spn, hidden, observed=observed, epochs=0, verbose=False)
    exact = distributions.SumProductNetwork(normal_circuit("float64"))
    learning.fit(exact, SECONDS, epochs=2, initialize=True, verbose=False)
    np.testing.assert_allclose(exact.stddev(), SECONDS.std(0), rtol=0.05)
    np.testing.assert_allclose(exact.mean(), SECONDS.mean(0), atol=0.01)


def test_masks_of_arrays_are_not_dropped() -> None:
    circuit = normal_circuit()
    spn = distributions.SumProductNetwork(circuit)
    x = np.ma.masked_array([[0.0, 999.0], [0.0, 0.0]], mask=[[0, 1], [0, 0]])
    refused = r"{} is a masked array.* expected .*from_nan"
    flags = np.ma.masked_array([True, False], mask=[True, False])
    for data in (x, list(x), [x[0], [0.0, 0.0]]):
        with pytest.raises(TypeError, match=refused.format("x")):
            learning.fit(circuit, data, epochs=1, verbose=False)
        with pytest.raises(TypeError, match=refused.format("x")):
            learning.initialize_leaves(circuit, data)
        for query in (spn.log_prob, spn.cdf, lambda x: spn.condition(x, [True, True])):
            with pytest.raises(TypeError, match=refused.format("value")):
                query(data)
    with pytest.raises(TypeError, match=refused.format("sample_weight")):
        learning.fit(circuit, x.data, sample_weight=flags, epochs=1, verbose=False)
    with pytest.raises(TypeError, match=refused.format("observed")):
        spn.log_prob(x.data, observed=flags)
    with pytest.raises(TypeError, match=refused.format("data")):
        region_graphs.hidden_chow_liu_tree(x)
    whole = np.ma.masked_array(x.data, mask=False)
    np.testing.assert_allclose(spn.log_prob(whole), spn.log_prob(x.data))


def test_methods_of_keras_take_data_as_fit_does() -> None:
    pd = pytest.importorskip("pandas")
    model = normal_circuit()
    model.compile(learning.OnlineExpectationMaximization())
    x = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    want = model.predict(x, verbose=0)
    frame = pd.DataFrame(x).convert_dtypes()
    for data in (frame, x.astype(np.longdouble), np.ma.masked_array(x, mask=False)):
        np.testing.assert_allclose(model.predict(data, verbose=0), want, rtol=1e-5)
    observed = np.ones(x.shape, bool)
    hidden = frame.mask(~observed)
    np.testing.assert_allclose(
        model.predict((hidden, pd.DataFrame(observed)), verbose=0), want, rtol=1e-5
    )
    before = model.get_weights()
    masked = np.ma.masked_array(x, mask=x > 0)
    sparse = scipy.sparse.csr_array(x)
    for data, words in ((masked, "masked array"), (sparse, "x is sparse")):
        for method in (model.fit, model.evaluate, model.predict):
            with pytest.raises(TypeError, match=words):
                method(data, verbose=0)
    with pytest.raises(TypeError, match="x is sparse"):
        model.fit(tf.data.Dataset.from_tensors(tf.sparse.from_dense(x)), verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot tell values"):
        model.fit(tf.data.Dataset.from_tensors(SECONDS), verbose=0)
    for wrong in (np.nan, np.inf, -1.0):
        weight = np.full(6, wrong)
        with pytest.raises(ValueError, match=f"sample_weight={wrong} .6 such"):
            model.fit(x, sample_weight=weight, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_remedies_fit_the_data() -> None:
    circuit, pd = normal_circuit(), pytest.importorskip("pandas")
    times = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")
    rows = np.empty(2, object)
    rows[:] = [[0.0, 1.0], [2.0]]
    for x, words in (
        (np.stack([times, times], 1), "np.timedelta64"),
        (np.ones([2, 2], complex), "two variables"),
        (rows, "is a sequence"),
        (np.array([["a", "b"]]), "Encode categories"),
        (pd.DataFrame({"a": times, "b": times}), "np.timedelta64"),
    ):
        with pytest.raises(TypeError, match=words):
            learning.fit(circuit, x, epochs=1, verbose=False)


def test_dicts_say_where_their_arrays_go() -> None:
    circuit = normal_circuit()
    x, lengths = np.zeros([2, 2]), np.ones(2, int)
    batches = tf.data.Dataset.from_tensors({"x": x, "lengths": lengths})
    for data, words in (
        ({"x": x, "lengths": lengths}, r"one by one: x\['x'\], lengths=x\['lengths'\]"),
        ({"a": x[:, 0], "b": x[:, 1]}, r"keys \['a', 'b'\].* np.stack"),
        (batches, r"mask: observed=tf.sequence_mask\(lengths, num_steps\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            learning.fit(circuit, data, epochs=1, verbose=False)
    with pytest.raises(TypeError, match=r"one by one: value\['x'\]"):
        distributions.SumProductNetwork(circuit).log_prob({"x": x, "observed": x > 0})


def test_values_of_single_variables_keep_their_digits() -> None:
    posteriors = distributions.SumProductNetwork(
        normal_circuit()
    ).univariate_posteriors()
    with pytest.raises(ValueError, match=LOSSY.format("0")):
        posteriors.log_prob(SECONDS)
    fine = SECONDS - 1.7e9
    np.testing.assert_allclose(
        posteriors.log_prob(fine), posteriors.log_prob(fine.astype("f4")), rtol=1e-5
    )
    with pytest.raises(ValueError, match="sample_shape is no shape"):
        posteriors.sample(-1)


def test_values_that_do_not_count_may_lose_their_digits() -> None:
    """Wherever the mask comes from, and whatever it is."""
    observed = np.ones([200, 2], bool)
    observed[:, 1] = False
    x = np.stack([np.zeros(200), SECONDS[:, 1]], 1)
    circuit = normal_circuit()
    want = circuit(x.astype("float32"), observed=observed)
    as_list = observed.tolist()
    for got in (
        circuit(x, observed=observed),
        circuit(x, observed),
        circuit(x, observed=observed[0]),
        circuit((x, as_list)),
        circuit({"x": x, "observed": as_list}),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    with pytest.raises(ValueError, match=LOSSY.format(1)):
        circuit(x, observed=np.ones([200, 2], bool))
    of_steps = circuits.dynamic_from_circuit(normal_circuit(), 3)
    spn = distributions.DynamicSumProductNetwork(of_steps)
    steps = np.zeros([200, 3, 2])
    steps[:, 2] = SECONDS
    assert spn.log_prob(steps, lengths=2).shape == [200]
    with pytest.raises(ValueError, match=LOSSY.format("2, 0")):
        spn.log_prob(steps, lengths=3)


def test_weights_by_position_and_of_batches_are_read() -> None:
    circuit = normal_circuit()
    circuit.compile("adam", losses.NegativeLogLikelihood())
    x, weights = np.zeros([4, 2], "float32"), np.array([1, 1, 1, np.nan])
    for call in (
        lambda: circuit.fit(x, None, 2, 1, 0, None, 0.0, None, True, None, weights),
        lambda: circuit.fit(x, validation_data=(x, None, weights), verbose=0),
        lambda: circuit.evaluate(x, None, 2, 0, weights),
        lambda: circuit.train_on_batch(x, None, weights),
        lambda: circuit.test_on_batch(x, None, weights),
    ):
        with pytest.raises(ValueError, match="weights of examples are no counts"):
            call()
    assert not circuit.optimizer.built  # all are refused before the first step


def test_a_fit_that_was_refused_in_its_graph_does_not_spoil_the_next() -> None:
    circuit = normal_circuit()
    circuit.compile("adam", losses.NegativeLogLikelihood())
    x, observed = np.zeros([4, 2], "float32"), np.ones([4, 2], bool)
    for mask, refused in ((observed[:, [0, 0, 0]], True), (observed, False)):
        dataset = tf.data.Dataset.from_tensor_slices(((x, mask),)).batch(2)
        if refused:
            with pytest.raises(ValueError, match="observed does not fit x"):
                circuit.fit(dataset, verbose=0)
        else:
            circuit.fit(dataset, verbose=0)


def test_marks_of_missing_values_are_not_read_as_numbers() -> None:
    """Without a mask; NaN among numbers is an impossible value, as ever."""
    pd = pytest.importorskip("pandas")
    circuit = normal_circuit()
    spn = distributions.SumProductNetwork(circuit)
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0.5, 0.5]})
    rows = [[1.0, 0.5], [None, 0.5]]
    observed = np.array([[True, True], [False, True]])
    posteriors = spn.univariate_posteriors()
    for x in (frame, rows, np.array(rows, object)):
        for query in (spn.log_prob, spn.cdf, spn.log_joint, posteriors.log_prob):
            with pytest.raises(
                ValueError, match=r"missing values, received .*from_nan"
            ):
                query(x)
        want = spn.log_prob([[1.0, 0.5], [0.0, 0.5]], observed=observed)
        np.testing.assert_allclose(spn.log_prob(x, observed=observed), want)
        assert spn.condition(x, observed).mean().shape == (2, 2)
        values, flags = from_nan(x)
        np.testing.assert_array_equal(flags, observed)
        np.testing.assert_allclose(spn.log_prob(values, observed=flags), want)
    for x in (frame, np.array(rows, object)):
        with pytest.raises(ValueError, match=r"missing values, received .*from_nan"):
            circuit.predict(x, verbose=0)
    assert spn.log_prob([[np.nan, 0.5]]) == -np.inf
