"""Stacks compiled to programs: the same values, and every query of a circuit."""

import gc
import re
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.stacks import PLAIN_RULES, RULES, binary_states, make_stack
from tfp_spn import layers
from tfp_spn.circuits import LayeredCircuit, from_layers
from tfp_spn.distributions import SumProductNetwork
from tfp_spn.layers.leaves.evidence import to_evidence

STACKS = {
    "plain": {},
    "no permutation": {"permute": False},
    "decompositions": {"num_decomps": 3},
    "padding": {"num_variables": 5, "factors": (2, 3), "num_decomps": 2},
    "vectors": {"num_dims": 2, "num_decomps": 2},
    "one product": {"num_variables": 3, "factors": (3,)},
    "many padded": {"num_variables": 3, "factors": (2, 4), "num_decomps": 2},
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def joint_of(circuit, x, observed=None):
    program = circuit.program
    evidence = to_evidence(tf.constant(x), observed, len(program.event_shape), 0)
    return tf.transpose(
        program.log_joint(program.tables(circuit.live_params()), evidence)
    ).numpy()


def data(arguments, dtype="float32", count=6):
    shape = [count, arguments.get("num_variables", 4)]
    if arguments.get("num_dims", 1) > 1:
        shape.append(arguments["num_dims"])
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("arguments", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_program_is_the_sequential(arguments, logits, dtype):
    model = make_stack(layers.NormalLeaf, logits=logits, dtype=dtype, **arguments)
    x = data(arguments, dtype)
    circuit = from_layers(model)
    expected = model(x).numpy()
    tolerance = TOLERANCE[dtype]
    for got in (joint_of(circuit, x), circuit(x).numpy()):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    assert circuit.program.event_shape == x.shape[1:]
    assert set(circuit.live_params()) == set(circuit.program.param_event_ndims)


PRODUCTS = {
    "dense": [layers.DenseProduct(4)],
    "product on product": [layers.DenseProduct(2), layers.ReduceProduct(2)],
    "sums first": [
        layers.DenseSum(3),
        layers.DenseSum(2),
        layers.ReduceProduct(2),
        layers.DenseProduct(2),
    ],
    "permuted in between": [
        layers.ReduceProduct(2),
        layers.PermuteAndPadScopes([[1, -1, 0], [-1, 1, 0]]),
        layers.DenseProduct(3),
    ],
    "merged decompositions": [
        layers.DenseProduct(2),
        layers.DenseSum(3),
        layers.Undecompose(),
        layers.DenseSum(2),
        layers.ReduceProduct(2),
    ],
    "merged products, without a sum": [
        layers.ReduceProduct(4),
        layers.Undecompose(1),
    ],
    "merged, then multiplied": [
        layers.ReduceProduct(2),
        layers.Undecompose(1),
        layers.DenseProduct(2),
    ],
    "factors of one": [layers.DenseProduct(1), layers.DenseProduct(4)],
}


@pytest.mark.parametrize("inner", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("logits", [True, False])
def test_any_order_of_sums_and_products(inner, logits):
    configs = [keras.saving.serialize_keras_object(layer) for layer in inner]
    fresh = [keras.saving.deserialize_keras_object(config) for config in configs]
    stack = [layers.FlatToRegions(2), layers.NormalLeaf(2), *fresh]
    model = keras.Sequential([keras.Input((4,)), *stack, layers.RootSum(logits)])
    x = data({})
    circuit = from_layers(model)
    np.testing.assert_allclose(joint_of(circuit, x), model(x), rtol=1e-5, atol=1e-5)
    sample = SumProductNetwork(model).sample(3, seed=1)
    assert sample.shape == (3, 4)


@pytest.mark.parametrize("rule", PLAIN_RULES)
@pytest.mark.parametrize("logits", [True, False])
def test_gradients_are_those_of_the_sequential(rule, logits):
    model = make_stack(
        layers.NormalLeaf, num_decomps=2, logits=logits, sum_op=RULES[rule]
    )
    x = data({})
    circuit = from_layers(model)
    gradients = []
    for function in (model, circuit):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.reduce_logsumexp(function(x), -1))
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for have, want in zip(*gradients, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-5)


def test_queries_agree_with_enumeration():
    arguments = {"num_variables": 5, "factors": (2, 3), "num_decomps": 2}
    model = make_stack(layers.BernoulliLeaf, logits=True, **arguments)
    spn = SumProductNetwork(model)
    states = binary_states(5)
    probs = np.exp(spn.log_prob(states))
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(spn.mean(), probs @ states, rtol=1e-5)
    observed = np.array([True, False, True, False, False])
    x = states[21]
    agrees = np.all((states == x) | ~observed, axis=1)
    got = np.exp(spn.log_prob(x, observed=observed))
    assert got == pytest.approx(probs[agrees].sum(), rel=1e-5)
    # The mean of 4000 draws is off by 5 standard deviations once in 10^6 runs.
    sample = spn.sample(4000, seed=3).numpy()
    np.testing.assert_allclose(sample.mean(0), probs @ states, atol=5 * 0.5 / 4000**0.5)


def test_same_model_same_circuit_and_no_leak():
    model = make_stack(layers.NormalLeaf)
    circuit = from_layers(model)
    assert from_layers(model) is circuit
    assert from_layers(list(model.layers)) is not circuit
    references = weakref.ref(model), weakref.ref(circuit)
    del model, circuit
    gc.collect()
    gc.collect()  # the circuit becomes garbage when the model is gone
    assert [reference() for reference in references] == [None, None]


def test_a_changed_model_is_compiled_anew():
    model = make_stack(layers.NormalLeaf)
    circuit = from_layers(model)
    model.pop()
    model.add(layers.RootSum())
    other = from_layers(model)
    assert other is not circuit
    np.testing.assert_allclose(other(data({})), model(data({})), rtol=1e-5)


def test_loaded_permutations_and_weights_reach_the_circuit(tmp_path):
    make = lambda seed: keras.Sequential(  # noqa: E731
        [
            keras.Input((4,)),
            layers.FlatToRegions(2),
            layers.NormalLeaf(2),
            layers.PermuteAndPadScopesRandom([2, 2], seed=seed),
            layers.DenseProduct(2),
            layers.DenseProduct(2),
            layers.RootSum(),
        ]
    )
    model, other = make(0), make(1)
    circuit, x = from_layers(other), data({})
    assert not np.array_equal(model.layers[2].table, other.layers[2].table)
    model.save_weights(tmp_path / "w.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(circuit(x), model(x), rtol=1e-5)
    traced = tf.function(lambda x: circuit(x))
    np.testing.assert_allclose(traced(x), model(x), rtol=1e-5)


def test_circuit_saves_and_loads(tmp_path):
    arguments = {"num_variables": 5, "factors": (2, 3), "num_dims": 2}
    circuit = from_layers(make_stack(layers.NormalLeaf, num_decomps=2, **arguments))
    circuit.save(tmp_path / "circuit.keras")
    loaded = keras.saving.load_model(tmp_path / "circuit.keras")
    assert isinstance(loaded, LayeredCircuit)
    x = data(arguments)
    np.testing.assert_array_equal(loaded(x), circuit(x))
    assert circuit.count_params() == loaded.count_params()


def test_a_list_may_begin_with_an_input():
    stack = [layers.FlatToRegions(1), layers.NormalLeaf(2), layers.DenseProduct(4)]
    circuit = from_layers([keras.Input((4,)), *stack, layers.RootSum()])
    assert circuit.program.num_classes == 16


def sequential(*inner, variables=4, decomps=2, root=None):
    head = [layers.FlatToRegions(decomps), layers.NormalLeaf(2)]
    root = root or layers.RootSum(name="root")
    return keras.Sequential([keras.Input((variables,)), *head, *inner, root])


def reassigned(table):
    """A model whose permutations were overwritten behind its back."""
    permute = layers.PermuteAndPadScopes([[0, 1, 2, 3], [0, 1, 2, 3]])
    product = layers.DenseProduct(2, name="p")
    model = sequential(permute, product, layers.ReduceProduct(2, name="q"))
    permute.permutation_table.assign(table)
    return model


# name: (model, error, regex)
WRONG = {
    "overlap": (
        lambda: reassigned([[0, 1, 2, 3], [0, 0, 2, 3]]),
        ValueError,
        r'not decomposable.*factors of DenseProduct "p", output scope 0, decomposition '
        r"1, share the variables \[0\]; expected disjoint",
    ),
    "overlap above": (
        lambda: reassigned([[0, 1, 2, 0], [0, 1, 2, 3]]),
        ValueError,
        r'ReduceProduct "q", output scope 0, decomposition 0, share the variables',
    ),
    "not smooth": (
        lambda: reassigned([[0, 1, 2, -1], [0, 1, 2, 3]]),
        ValueError,
        r'not smooth. The children of RootSum "root" cover different variables, '
        r"missing are decomposition 0: \[3\]; expected all 4",
    ),
    "merged": (
        lambda: sequential(
            layers.PermuteAndPadScopes([[0, 1, 2, 3], [0, 2, 1, 3]]),
            layers.DenseProduct(2),
            layers.Undecompose(name="u"),
            layers.DenseProduct(2),
        ),
        ValueError,
        r'not smooth. Undecompose "u" merges the decompositions 0 and 1 of scope 0, '
        r"which cover the variables \[0, 1\] and \[0, 2\]; expected the same. Mult",
    ),
    "missing": (
        lambda: sequential(
            layers.PermuteAndPadScopes([[0, 1], [2, 1]][:1]),
            layers.DenseProduct(2),
            decomps=1,
        ),
        ValueError,
        r'children of RootSum "root" miss the variables \[2, 3\]; expected all 4',
    ),
    "foreign layer": (
        lambda: sequential(layers.DenseProduct(4), keras.layers.Identity(name="drop")),
        TypeError,
        r'Identity "drop", expected only FlatToRegions, a leaf layer, Permute.*'
        r"DenseSum.*and RootSum, or Conv2DProduct.*and SpatialToRegions. Remove it",
    ),
    "no root": (
        lambda: keras.Sequential(
            [keras.Input((4,)), layers.FlatToRegions(1), layers.NormalLeaf(2)]
        ),
        ValueError,
        r"received the stack \[FlatToRegions, NormalLeaf\], expected \[FlatTo",
    ),
    "nothing": (lambda: [], ValueError, r"received the stack \[no layers\]"),
    "dtype": (
        lambda: sequential(
            layers.DenseProduct(4), root=layers.RootSum(name="r", dtype="float64")
        ),
        ValueError,
        r'RootSum "r" of dtype float64 above NormalLeaf ".*" of dtype float32; exp',
    ),
    "not built": (
        lambda: keras.Sequential(
            [
                layers.FlatToRegions(1),
                layers.NormalLeaf(2),
                layers.DenseProduct(4),
                layers.RootSum(),
            ]
        ),
        ValueError,
        r"layers that are not built \(\['flat.*Begin it with keras.Input\(\(num_vari",
    ),
    "model": (
        lambda: keras.Model(*[keras.Input((4,))] * 2),
        TypeError,
        r"received a model of type Functional, expected a keras.Sequential or a list",
    ),
}


@pytest.mark.parametrize(("make", "error", "regex"), WRONG.values(), ids=WRONG)
def test_error_says_what_to_do(make, error, regex):
    model = make()
    with pytest.raises(error) as caught:
        from_layers(model)
    assert re.search(regex, str(caught.value), re.DOTALL), str(caught.value)
