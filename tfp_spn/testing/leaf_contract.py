"""What every leaf layer has to keep, those of users too."""

from __future__ import annotations

import inspect
import json
import math
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.learning.initialization import initialize_leaves
from tfp_spn.testing.leaf_case import NUM_DRAWS, LeafCase
from tfp_spn.testing.leaf_integrals import check_integrals

_NUM_M_STEPS = 4


@reads(num_dims=a_count(), tolerance=a_rate(least=0), seed=a_seed())
def check_leaf(
    leaf: BaseLeaf, num_dims: int = 1, tolerance: float = 1e-3, seed: int = 0
) -> None:
    """Checks that all methods of a leaf layer agree with its log-density.

    A copy of the layer with parameters of its own is asked, in float64:

    - the density of each component integrates to 1 (masses add up to 1), and is zero,
      not NaN, outside the support; float32 agrees; parameters may have a batch axis;
    - a hidden variable has log-probability 0, whatever stands there;
    - draws are possible, follow the density and are equal for equal seeds;
    - cdf and survival function, mean and variance are those of the density, and the
      mode has the greatest one, wherever the layer has these;
    - derivatives are those of differences, zero for hidden variables;
    - statistics add over batches, M-steps never lower the likelihood, and components
      without examples stay (if there is an M-step);
    - `fit(initialize=True)` finds a finite start;
    - configuration, copies and `.keras` files keep everything.

    Args:
        leaf: A leaf layer, built or not. Of a `MixedLeaf` check each of the leaves.
        num_dims: Dimensions of a variable. Integrals are left out above 1.
        tolerance: Greatest error of integrals, and of float32 relative to 1 and to
            log-probabilities. Densities with jumps may need more.
        seed: Of parameters and draws. The test of the draws, the only one that chance
            can fail, does so with probability 1e-6 for each component and seed.

    Raises:
        AssertionError: The first thing that does not hold.

    Example:
        >>> import tfp_spn
        >>> tfp_spn.testing.check_leaf(tfp_spn.layers.BernoulliLeaf(num_components=2))
    """
    case = LeafCase(leaf, num_dims, tolerance, seed)
    check_values(case)
    check_evidence(case)
    check_draws(case)
    if num_dims == 1 and not case.leaf.event_ndims:
        check_integrals(case)
    check_derivatives(case)
    check_m_step(case)
    check_start(case)
    check_copies(case)


def check_values(case: LeafCase) -> None:
    """Precision, impossible values, batches of parameters."""
    value = case.log_prob(case.x)
    count = case.leaf.num_components
    case.expect(value.shape == (2, count, 64), "log-densities are [R, K, N]", value)
    case.expect(np.isfinite(value).any(-2), "draws are possible", case.x)
    own = case.narrow.canonical(case.narrow.live_params())
    case.expect_close(
        case.log_prob(case.x, own, leaf=case.narrow),
        case.log_prob(case.x.astype(np.float32)),
        "float32 has the log-densities of float64",
        case.tolerance,
    )
    support = case.leaf.value_support
    wrong = [math.nan, math.inf, -math.inf]
    wrong += [0.5] if support.is_integer else []
    wrong += [support.low - 1] if math.isfinite(support.low) else []
    wrong += [support.high + 1] if math.isfinite(support.high) else []
    impossible = np.broadcast_to(wrong, (2, case.layout.num_dims, len(wrong)))
    value = case.log_prob(impossible).numpy()
    what = f"values outside the support, {wrong}, have log-density -inf"
    case.expect(value == -math.inf, what, value[0, 0])
    other = {name: value + 0.1 for name, value in case.params.items()}
    both = {k: tf.stack([v, other[k]]) for k, v in case.params.items()}
    if both:
        expected = tf.stack([case.log_prob(case.x), case.log_prob(case.x, other)])
        value = case.log_prob(case.x[np.newaxis], both)
        what = "a batch of parameters [2, L, ...] has the log-densities of each"
        case.expect_close(value, expected, what, 1e-6)


def check_evidence(case: LeafCase) -> None:
    """Hidden variables."""
    observed = case.rng.random([2, 64]) < 0.5
    x = np.where(observed[:, np.newaxis], case.x, np.nan)
    value = case.log_prob(x, observed=observed)
    whole = np.where(observed[:, np.newaxis], case.log_prob(case.x), 0.0)
    case.expect_close(value, whole, "a hidden variable has log-probability 0", 1e-6)
    at_mode = tf.constant(case.rng.normal(size=(2, case.leaf.num_components)))
    value = case.leaf.region_log_prob(
        case.params,
        tf.constant(x),
        tf.zeros([2, 64], tf.bool),
        case.layout,
        at_mode,
    )
    what = "a hidden variable has the log-value of `hidden`"
    case.expect_close(value, at_mode[..., np.newaxis], what, 1e-6)


def check_draws(case: LeafCase) -> None:
    """Seeds, and shapes."""
    shape = (NUM_DRAWS, 2, case.leaf.num_components, case.layout.num_dims)
    case.expect(
        case.draws.shape == shape, f"draws have shape {shape}", case.draws.shape
    )
    first, again, other = (case.drawn(np.array([1, n])) for n in (2, 2, 3))
    case.expect(first == again, "equal seeds give equal draws", "others")
    if not np.array_equal(case.draws, first):  # it has randomness at all
        case.expect(np.any(first != other), "other seeds give other draws", "the same")


def check_derivatives(case: LeafCase) -> None:
    """Along a random direction, beside central differences."""
    values = list(case.params.values())
    shapes = [case.rng.normal(size=value.shape) for value in values]
    d_x = np.zeros_like(case.x)
    if not case.leaf.is_discrete and not case.leaf.event_ndims:
        d_x = case.rng.normal(size=case.x.shape) * 1e-2
    finite = np.isfinite(case.log_prob(case.x))
    observed = case.rng.random([2, 64]) < 0.7

    def total(step: Tensor) -> Tensor:
        moved = [v + step * d for v, d in zip(values, shapes, strict=True)]
        params = dict(zip(case.params, moved, strict=True))
        value = case.log_prob(case.x + step * d_x, params, observed)
        return tf.reduce_sum(tf.where(finite, value, tf.zeros_like(value)))

    step = tf.zeros([], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(step)
        value = total(step)
    received = tape.gradient(value, step)
    received = 0.0 if received is None else received
    expected = (total(tf.constant(1e-5, tf.float64)) - total(-1e-5 + step)) / 2e-5
    scale = 1 + abs(float(expected))
    what = "the derivative of the log-density is that of differences"
    case.expect_close(received / scale, expected / scale, what, 1e-4)


def check_m_step(case: LeafCase) -> None:
    """Statistics and M-steps, of random posteriors of the components."""
    flow = case.rng.dirichlet(np.ones(case.leaf.num_components), size=(2, 64))
    flow = np.moveaxis(flow, -1, -2)  # [R, K, N]
    # Values that some components cannot take belong to others.
    flow = np.where(np.isfinite(case.log_prob(case.x)), flow, 0.0)
    observed = case.rng.random([2, 64]) < 0.8

    def statistics(params: Params, part: slice, flow: np.ndarray = flow) -> Params:
        return case.leaf.expected_statistics(
            params,
            tf.constant(case.x[..., part]),
            tf.constant(observed[..., part]),
            tf.constant(flow[..., part]),
            case.layout,
        )

    try:
        whole = statistics(case.params, slice(None))
    except NotImplementedError:
        return
    parts = (slice(32), slice(32, None))
    halves = [statistics(case.params, part) for part in parts]
    for name, value in whole.items():
        what = f'the statistics "{name}" of two batches add up'
        case.expect_close(value, halves[0][name] + halves[1][name], what, 1e-6)
    params, last = case.params, -math.inf
    one = tf.ones([], tf.float64)
    weight = np.where(observed[:, np.newaxis], flow, 0.0)
    for _ in range(_NUM_M_STEPS):
        value = case.log_prob(case.x, params)
        total = float(tf.reduce_sum(tf.math.multiply_no_nan(value, weight)))
        what = "an M-step never lowers the likelihood"
        least = last - 1e-6 * max(1, abs(last))
        case.expect(total >= least, what, f"{total} after {last}")
        last = total
        found = statistics(params, slice(None))
        params = case.leaf.maximize(params, found, one, 0.0)
    nothing = statistics(case.params, slice(None), np.zeros_like(flow))
    kept = case.leaf.maximize(case.params, nothing, one, 0.0)
    for name, value in kept.items():
        what = f'components without examples keep the parameter "{name}"'
        if name in case.params:
            case.expect_close(value, case.params[name], what, 1e-6)


def check_start(case: LeafCase) -> None:
    """`fit(initialize=True)`."""
    circuit = case.circuit()
    data = np.moveaxis(case.x, -1, 0)
    initialize_leaves(circuit, data[..., 0] if data.shape[-1] == 1 else data)
    leaf = circuit.leaf
    for name, value in leaf.live_params().items():
        what = f'fit(initialize=True) makes the parameter "{name}" finite'
        case.expect(np.isfinite(value), what, value)
    value = case.log_prob(case.x, leaf.canonical(leaf.live_params()), leaf=leaf)
    what = "after fit(initialize=True) the data are possible"
    case.expect(np.isfinite(value).any(-2) & ~np.isnan(value).any(-2), what, value)


def check_copies(case: LeafCase) -> None:
    """Configuration and files."""
    arguments = inspect.signature(type(case.narrow).__init__).parameters
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {k for k, p in arguments.items() if p.kind not in variadic} - {"self"}
    missing = named - set(case.narrow.get_config())
    what = "get_config has all arguments of the constructor"
    case.expect(not missing, what, f"none of {sorted(missing)}")
    config = keras.saving.serialize_keras_object(case.narrow)
    try:
        json.dumps(config)
    except TypeError as error:
        what = "get_config returns what can be written down"
        case.expect(False, what, error)
    case.expect(
        case.built("float32").digest == case.narrow.digest,
        "from_config(get_config()) makes an equal layer",
        case.narrow.get_config(),
    )
    circuit = case.circuit()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "circuit.keras"
        circuit.save(path)
        loaded = keras.saving.load_model(path).leaf
    for name, value in case.narrow.live_params().items():
        what = f'a .keras file keeps the parameter "{name}"'
        case.expect_close(loaded.live_params()[name], value, what, 0.0)
    params = loaded.canonical(loaded.live_params())
    own = case.narrow.canonical(case.narrow.live_params())
    case.expect_close(
        case.log_prob(case.x, params, leaf=loaded),
        case.log_prob(case.x, own, leaf=case.narrow),
        "a layer from a .keras file has the same log-densities",
        0.0,
    )
