"""Single variables by value give what they give example by example."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs, sum_ops
from tfp_spn.layers.leaves.evidence import to_evidence
from tfp_spn.ops.certainty import CHECKED, EXACT, reporting
from tfp_spn.programs import by_value as by_value_module
from tfp_spn.programs import evaluation, expectations
from tfp_spn.programs.by_value import LeafInputs, by_value

NUM_EXAMPLES = 7
FLOAT64 = {"dtype": "float64"}

LEAVES = {
    "categorical": lambda: layers.CategoricalLeaf(3, num_categories=3, **FLOAT64),
    "bernoulli": lambda: layers.BernoulliLeaf(3, **FLOAT64),
    "binomial": lambda: layers.BinomialLeaf(3, total_count=2, **FLOAT64),
    "discretized": lambda: layers.DiscretizedLogisticLeaf(3, 2, **FLOAT64),
    "indicator": lambda: layers.IndicatorLeaf(3, **FLOAT64),
    "mixed": lambda: layers.MixedLeaf(
        [
            (layers.CategoricalLeaf(3, num_categories=4, **FLOAT64), [0, 3]),
            (layers.BernoulliLeaf(3, **FLOAT64), [1]),
            (layers.DistributionLeaf("Bernoulli", 3, **FLOAT64), [2]),
        ]
    ),
}
GRAPHS = {
    "trees": region_graphs.random_binary_trees(4, 2, num_repetitions=2, seed=1),
    "image": region_graphs.quad_graph((2, 2)),
    "apart": region_graphs.fully_factorized(4),
    "line": region_graphs.linear_tree(4),
    "pairs": region_graphs.random_binary_trees(4, 1, num_repetitions=3, seed=1),
    # Regions of one, two and three variables, some without an order.
    "wide": region_graphs.RegionGraph(
        [(0, 1, 2, 3), (3, 0, 1), (2,), (1, 2), (3, 0)], [(0, [1, 2]), (0, [3, 4])]
    ),
    # Variables read beside sums over them, and sums of several partitions over one.
    "uneven": region_graphs.from_nested_lists(
        {"partitions": [[0, [1, 2], 3], [[0, 1], [2, 3]]]}
    ),
}
SUMS = {
    "leaf sums": {},
    "no leaf sums": {"leaf_sums": False},
    "per partition": {"leaf_sums": "per-partition"},
    "classes": {"num_classes": 2, "class_prior": "learned"},
    "kronecker": {"sum_product": "tucker"},
}


def _circuit(leaf="categorical", graph="trees", **arguments):
    keras.utils.set_random_seed(1)
    circuit = circuits.from_region_graph(GRAPHS[graph], LEAVES[leaf](), 3, **arguments)
    rng = np.random.default_rng(3)
    for variable in circuit.variables:
        variable.assign(variable + rng.normal(size=variable.shape) / 2)
    return circuit


def _params(circuit):
    params = distributions.SumProductNetwork(circuit).params
    return {name: tf.convert_to_tensor(value) for name, value in params.items()}


def _evidence(hidden_share=0.0, num_examples=NUM_EXAMPLES, is_constant=True):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.integers(0, 2, [num_examples, 4]), tf.float64)
    observed = None
    if hidden_share:
        observed = tf.constant(rng.random([num_examples, 4]) >= hidden_share)
    evidence = to_evidence(x, observed, 1, 0)
    return evidence.without_gradient() if is_constant else evidence


@pytest.fixture
def always(monkeypatch):
    """By value however few examples there are."""
    monkeypatch.setattr(by_value_module, "_MIN_EXAMPLES_PER_COLUMN", 0.01)
    monkeypatch.setattr(by_value_module, "_MAX_COLUMNS_PER_COMPONENT", 1000)


def _inputs_one_by_one(program, _, evidence):
    return LeafInputs(evidence, program.layout)


def _one_by_one(monkeypatch):
    for module in (evaluation, expectations):
        monkeypatch.setattr(module, "by_value", _inputs_one_by_one)


def _answers(circuit, evidence, certainty=CHECKED):
    """Values, gradients with respect to parameters, and expectations."""
    program, params = circuit.program, _params(circuit)
    with tf.GradientTape() as tape:
        tape.watch(params)
        tables = program.tables(params, certainty)
        joint = evaluation.log_joint_of(program, tables, evidence)
        weighted = tf.reduce_sum(
            tf.where(tf.math.is_finite(joint), joint, 0.0)
            * tf.range(1.0, 1 + joint.shape[-1], dtype=tf.float64)
        )
    gradients = tape.gradient(weighted, params)
    tables = program.tables(params, certainty)
    found, _ = expectations.of_examples(program, tables, evidence)
    return joint, gradients, found


def _assert_equal(got, expected):
    tf.nest.assert_same_structure(got, expected)
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("hidden_share", [0.0, 0.4])
@pytest.mark.parametrize(
    ("leaf", "graph", "sums"),
    [
        *((leaf, "trees", "leaf sums") for leaf in LEAVES),
        *((leaf, "pairs", "leaf sums") for leaf in ("bernoulli", "mixed")),
        ("categorical", "wide", "no leaf sums"),
        *(("categorical", graph, "leaf sums") for graph in GRAPHS if graph != "trees"),
        *(("categorical", "uneven", sums) for sums in SUMS if sums != "leaf sums"),
    ],
)
def test_equal(monkeypatch, leaf, graph, sums, hidden_share):
    circuit, evidence = _circuit(leaf, graph, **SUMS[sums]), _evidence(hidden_share)
    program = circuit.program
    assert by_value(program, program.tables(_params(circuit)), evidence).values
    got = _answers(circuit, evidence)
    _one_by_one(monkeypatch)
    _assert_equal(got, _answers(circuit, evidence))


@pytest.mark.usefixtures("always")
def test_equal_where_exact(monkeypatch):
    circuit, evidence = _circuit(), _evidence(0.4)
    got = _answers(circuit, evidence, EXACT)
    _one_by_one(monkeypatch)
    _assert_equal(got, _answers(circuit, evidence))


@pytest.mark.usefixtures("always")
def test_second_derivatives(monkeypatch):
    circuit, evidence = _circuit(), _evidence(0.4)
    program, params = circuit.program, _params(circuit)

    @tf.function(autograph=False)
    def products():
        with tf.GradientTape() as outer:
            outer.watch(params)
            with tf.GradientTape() as inner:
                inner.watch(params)
                tables = program.tables(params)
                joint = evaluation.log_joint_of(program, tables, evidence)
            first = inner.gradient(joint, params)
            along = tf.add_n([tf.reduce_sum(tf.sin(g) * g) for g in first.values()])
        return outer.gradient(along, params)

    got = products()
    _one_by_one(monkeypatch)
    _assert_equal(got, tf.function(products.python_function, autograph=False)())


@pytest.mark.parametrize("is_function", [False, True])
def test_second_derivatives_of_queries(is_function):
    """The gradient's own gradient lies in another graph than the query."""
    circuit = _circuit(leaf="bernoulli")
    spn = distributions.SumProductNetwork(circuit)
    x = np.random.default_rng(0).integers(0, 2, [40, 4])
    variables = [variable.value for variable in circuit.trainable_variables]

    def derivatives(x):
        log_prob = spn.log_prob
        if is_function:
            log_prob = tf.function(spn.log_prob, autograph=False)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                log_prob = log_prob(x)
            first = inner.gradient(log_prob, variables)
            along = tf.add_n([tf.reduce_sum(tf.sin(g) * g) for g in first])
        return outer.gradient(along, variables)

    of_floats = derivatives(tf.constant(x, tf.float64))  # example by example
    _assert_equal(derivatives(tf.constant(x)), of_floats)


def _far_apart():
    """A circuit of which one sum's children are of no size beside the largest."""
    circuit = _circuit()
    for variable in circuit.variables:
        value = np.array(variable)
        if value.ndim == 4:  # logits [L, D, C, K]: one component alone has the value 0
            value[..., 0, :] = [0.0, -900.0, -900.0]
        elif value.shape[-2:] == (3, 3):  # which the first sum does not have
            value[..., 0, 0] = -2000.0
        variable.assign(value)
    return circuit


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("hidden_share", [0.0, 0.4])
def test_equal_where_digits_are_lost(monkeypatch, hidden_share):
    circuit, evidence = _far_apart(), _evidence(hidden_share)
    certainty = reporting()
    tables = circuit.program.tables(_params(circuit), certainty)
    evaluation.log_joint_of(circuit.program, tables, evidence)
    assert bool(certainty.is_lossy)
    got = _answers(circuit, evidence)
    assert np.isfinite(got[0]).all()
    _one_by_one(monkeypatch)
    _assert_equal(got, _answers(circuit, evidence))


@pytest.mark.usefixtures("always")
def test_impossible_values(monkeypatch):
    """What no component can be has no density where it is seen, and costs nothing else.

    Digits are not lost either by a value that nobody has.
    """
    circuit = _circuit(leaf="indicator")
    program = circuit.program
    params = {
        name: tf.zeros_like(v) - 3000.0 * np.eye(v.shape[-1])[-1][:, np.newaxis]
        if v.shape[-2:] == (3, 3)
        else v
        for name, v in _params(circuit).items()
    }
    seen = _evidence()
    certainty = reporting()
    joint = evaluation.log_joint_of(program, program.tables(params, certainty), seen)
    assert np.isfinite(joint).all()
    assert not certainty.is_lossy
    x = tf.concat([seen.x[..., :-1], 2.0 + 0.0 * seen.x[..., -1:]], axis=-1)
    evidence = dataclasses.replace(seen, x=x)
    got = evaluation.log_joint_of(program, program.tables(params), evidence)
    _one_by_one(monkeypatch)
    expected = evaluation.log_joint_of(program, program.tables(params), evidence)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    np.testing.assert_allclose(got[..., :-1], joint[..., :-1], rtol=1e-12)


def test_values_outside_the_support():
    circuit = _circuit()
    x = np.random.default_rng(0).integers(0, 3, [40, 4]).astype(float)
    x[0, 1], x[1, 2], x[2, 0], x[3, 3] = 3.0, -1.0, 0.5, np.nan
    evidence = to_evidence(tf.constant(x), None, 1, 0)
    tables = circuit.program.tables(_params(circuit))
    assert by_value(circuit.program, tables, evidence).values
    joint = evaluation.log_joint_of(circuit.program, tables, evidence)[0]
    np.testing.assert_array_equal(np.isneginf(joint), np.arange(40) < 4)
    observed = np.isfinite(x)
    evidence = to_evidence(tf.constant(x), tf.constant(observed), 1, 0)
    joint = evaluation.log_joint_of(circuit.program, tables, evidence)[0]
    np.testing.assert_array_equal(np.isneginf(joint), np.arange(40) < 3)


@pytest.mark.parametrize("value", [7.0, -1.0, 0.5, np.nan, 1e20])
def test_indicators_of_values_outside_the_support(value):
    leaf = layers.IndicatorLeaf(5, **FLOAT64)
    circuit = circuits.from_region_graph(GRAPHS["trees"], leaf, 3)
    x = np.random.default_rng(0).integers(0, 5, [40, 4]).astype(float)
    x[3] = value
    evidence = to_evidence(tf.constant(x), None, 1, 0).without_gradient()
    assert _is_by_value(circuit, evidence)
    joint, gradients, found = _answers(circuit, evidence)
    np.testing.assert_array_equal(np.isneginf(joint[0]), np.arange(40) == 3)
    assert all(np.isfinite(value).all() for value in gradients.values())
    assert np.isneginf(found["log_likelihood"])
    assert all(np.isfinite(value).all() for value in found["sums"].values())


@pytest.mark.parametrize("total_count", [2**31 - 1, 10**12, 2**63 - 1])
def test_counts_beyond_the_integers_of_32_bits(total_count):
    leaf = layers.BinomialLeaf(3, total_count=total_count, **FLOAT64)
    circuit = circuits.from_region_graph(GRAPHS["trees"], leaf, 3)
    assert not _is_by_value(circuit, _evidence(num_examples=40))


def _is_by_value(circuit, evidence, params=None):
    program = circuit.program
    tables = program.tables(_params(circuit) if params is None else params)
    return by_value(program, tables, evidence).values is not None


def test_where_it_saves_work():
    pairs = _circuit(graph="pairs")  # nine columns
    assert _is_by_value(pairs, _evidence(num_examples=36))
    assert not _is_by_value(pairs, _evidence(num_examples=35))
    assert _is_by_value(_circuit(), _evidence(num_examples=12))
    assert not _is_by_value(_circuit(), _evidence(num_examples=11))
    assert not _is_by_value(_circuit(), _evidence(0.4, num_examples=15))
    assert _is_by_value(_circuit(), _evidence(0.4, num_examples=16))


def test_not_of_many_more_values_than_components():
    """To look them up would take longer than to evaluate sums over so few."""
    for num_categories, is_by_value in ((9, True), (10, False)):
        leaf = layers.CategoricalLeaf(3, num_categories, **FLOAT64)
        circuit = circuits.from_region_graph(GRAPHS["trees"], leaf, 3)
        assert _is_by_value(circuit, _evidence(num_examples=1000)) == is_by_value


def test_values_of_logistics_keep_their_gradients():
    spn = distributions.SumProductNetwork(_circuit(leaf="discretized"))
    with tf.GradientTape() as tape:
        values = tf.constant(_evidence(num_examples=40).x[:, 0, :])
        tape.watch(values)
        log_prob = spn.log_prob(tf.transpose(values))
    assert (tape.gradient(log_prob, values).numpy() != 0).any()


def test_not_where_gradients_of_values_are_asked_for():
    many = 40
    circuit = _circuit(leaf="bernoulli")
    assert _is_by_value(circuit, _evidence(num_examples=many))
    assert not _is_by_value(circuit, _evidence(num_examples=many, is_constant=False))
    # A category has none.
    assert _is_by_value(_circuit(), _evidence(num_examples=many, is_constant=False))
    spn = distributions.SumProductNetwork(circuit)
    x = tf.random.stateless_uniform([many, 4], [1, 2], 0, 2, tf.int32)
    with tf.GradientTape() as tape:
        values = tf.cast(x, tf.float64)
        tape.watch(values)
        log_prob = spn.log_prob(values)
    assert (tape.gradient(log_prob, values).numpy() != 0).all()
    np.testing.assert_allclose(spn.log_prob(x), log_prob, rtol=1e-12)


def test_not_where_examples_differ_otherwise():
    many = _evidence(num_examples=40)
    bounded = dataclasses.replace(many, bounded=tf.ones([4, 40], tf.bool))
    assert not _is_by_value(_circuit(), bounded)
    hard = _circuit(sum_op=sum_ops.SumOpHardEMBackprop())
    assert not _is_by_value(hard, many)
    batch = {name: value[tf.newaxis] for name, value in _params(_circuit()).items()}
    assert not _is_by_value(_circuit(), many, batch)


def test_leaf_sums_of_a_tree_are_below():
    x = np.random.default_rng(0).integers(0, 2, [100, 30])
    graph = region_graphs.hidden_chow_liu_tree(x)
    circuit = circuits.from_region_graph(graph, layers.BernoulliLeaf(4), 4)
    below, above = circuit.program.halves
    assert [step.num_regions for step in below.steps] == [30]
    assert above.layout.num_regions == len(below.root.index) == 30
    steps = circuit.program.steps
    assert [s.num_regions for s in above.steps] == [s.num_regions for s in steps[1:]]
    # Nothing of the size of all examples is summed for single variables.
    evidence = to_evidence(tf.constant(x, tf.float32), None, 1, 0).without_gradient()

    @tf.function(autograph=False)
    def log_joint():
        tables = circuit.program.tables(_params(circuit))
        return evaluation.log_joint_of(circuit.program, tables, evidence)

    products = [
        tuple(op.outputs[0].shape)
        for op in log_joint.get_concrete_function().graph.get_operations()
        if op.type == "BatchMatMulV2"
    ]
    assert (30, 4, 2) in products
    assert (30, 4, 100) not in products
