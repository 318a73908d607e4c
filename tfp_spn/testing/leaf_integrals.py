"""Checks by the integral of each component's density, of one dimension."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfp_spn.layers.leaves.bounds import region_log_cdf
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.testing.leaf_case import LeafCase
from tfp_spn.testing.quadrature import Quadrature

_FALSE_ALARM = 1e-6


def check_integrals(case: LeafCase) -> None:
    """All that follows from the density of each component."""
    count = case.leaf.num_components
    rules = [
        Quadrature.over(case.leaf.value_support, case.draws[:, 0, k, 0])
        for k in range(count)
    ]
    size = max(len(rule.nodes) for rule in rules)
    nodes = np.stack([_padded(rule.nodes, size) for rule in rules])
    x = np.broadcast_to(nodes.reshape(-1), (2, 1, count * size))
    log_prob = tf.reshape(case.log_prob(x)[0], [count, count, size]).numpy()
    statistics = _statistics(case)
    cdfs = _log_cdfs(case, x)
    for k, rule in enumerate(rules):
        own = log_prob[k, k, : len(rule.nodes)]
        case.expect(~np.isnan(own), "log-densities are no NaN", own)
        density = np.exp(own)
        cdf = rule.sums(density)
        name = f"component {k}"
        case.expect_close(
            cdf[-1], 1.0, f"the density of {name} integrates to 1", case.tolerance
        )
        _check_draws_of(case, rule, cdf, case.draws[:, 0, k, 0], name)
        part = slice(k * size, k * size + len(rule.nodes))
        for what, value, expected in (
            ("cdf", cdfs[0], cdf),
            ("survival function", cdfs[1], 1 - cdf),
        ):
            if value is not None:
                received = np.exp(value[0, k, part])
                what = f"the {what} of {name} is that of its density"
                case.expect_close(received, expected, what, case.tolerance)
        found = {name: value[k] for name, value in statistics.items()}
        _check_statistics(case, rule, density, cdf, found)


def _statistics(case: LeafCase) -> dict[str, np.ndarray]:
    """What the layer says of the components of the first slot, ``[K]`` each."""
    leaf, found = case.leaf, {}
    if leaf.has_moments and leaf.has_linear_moments:
        found["mean"] = leaf.component_mean(case.params)[0, :, 0].numpy()
        found["variance"] = leaf.component_variance(case.params)[0, :, 0].numpy()
    if leaf.has_mode:
        found["mode"] = leaf.component_mode(case.params)[0, :, 0].numpy()
        found["peak"] = leaf.component_mode_log_prob(case.params)[0].numpy()
    return found


def _check_statistics(
    case: LeafCase,
    rule: Quadrature,
    density: np.ndarray,
    cdf: np.ndarray,
    found: dict[str, np.ndarray],
) -> None:
    """Moments and mode of one component."""
    x, weights = rule.nodes, rule.weights * density
    if np.isfinite(found.get("variance", math.nan)):
        inside = weights > 0
        mean = np.sum(x[inside] * weights[inside])
        square = np.sum(np.square(x[inside] - mean) * weights[inside])
        scale, error = math.sqrt(square) + 1e-6, 10 * case.tolerance
        for name, expected, unit in (
            ("mean", mean, scale),
            ("variance", square, scale**2),
        ):
            what = f"the {name} is that of the density"
            case.expect_close(found[name] / unit, expected / unit, what, error)
    if "mode" not in found:
        return
    at_mode = np.full([2, 1, 1], found["mode"])
    values = case.log_prob(at_mode)[0, :, 0]
    what = "component_mode_log_prob is the log-density at component_mode"
    distance = np.min(np.abs(values - found["peak"]))
    case.expect(distance <= case.tolerance, what, f"a difference of {distance}")
    place = cdf[np.argmax(density)]
    # A density that grows towards an end need not have a mode.
    if case.leaf.is_discrete or 1e-3 < place < 1 - 1e-3:
        what = "the mode has the greatest density"
        least = np.max(density) * (1 - case.tolerance)
        case.expect(np.exp(found["peak"]) >= least, what, found["mode"])


def _log_cdfs(case: LeafCase, x: np.ndarray) -> list[np.ndarray | None]:
    """``log P(X <= x)`` and ``log P(X > x)``, ``[V, K, N]``, if there are any."""
    found: list[np.ndarray | None] = []
    bounded = tf.ones([2, x.shape[-1]], tf.bool)
    shape = x.shape[-1:]
    for exceeded in (tf.zeros_like(bounded), bounded):
        evidence = Evidence(
            tf.constant(x), None, shape, tf.TensorShape(shape), bounded, exceeded
        )
        try:
            value = region_log_cdf(case.leaf, case.params, evidence, case.layout)
            found.append(value.numpy())
        except NotImplementedError:
            found.append(None)
    return found


def _check_draws_of(
    case: LeafCase, rule: Quadrature, cdf: np.ndarray, draws: np.ndarray, name: str
) -> None:
    """The Dvoretzky-Kiefer-Wolfowitz inequality."""
    below = np.searchsorted(np.sort(draws), rule.nodes, side="right") / len(draws)
    distance = np.max(np.abs(below - cdf))
    limit = math.sqrt(math.log(2 / _FALSE_ALARM) / (2 * len(draws)))
    what = f"draws of {name} follow its density"
    case.expect(
        distance <= limit + case.tolerance,
        what,
        f"an empirical cdf that differs by {distance:.3g}, more than {limit:.3g}",
    )


def _padded(nodes: np.ndarray, size: int) -> np.ndarray:
    return np.pad(nodes, [0, size - len(nodes)], mode="edge")
