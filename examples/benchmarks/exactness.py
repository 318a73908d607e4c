"""How exact the queries are: worst errors, as a table.

    python examples/benchmarks/exactness.py [--json FILE]

Three parts: queries on small discrete circuits against enumeration of all states, in
float64 and float32; float32 against float64 on a circuit of 1,000 variables and on one
of 100 levels; the total probability after 100 steps of plain gradient descent. Runs in
about a minute on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfp_spn import circuits, distributions, layers, region_graphs

GRAPHS = {
    "random": region_graphs.random_binary_trees(6, 2, num_repetitions=3),
    "quad graph": region_graphs.quad_graph((2, 3)),
    "linear": region_graphs.linear_tree(6),
}


def small(graph: str, product: str, dtype: str) -> circuits.Circuit:
    leaf = layers.CategoricalLeaf(3, num_categories=2, dtype=dtype)
    return circuits.from_region_graph(GRAPHS[graph], leaf, 3, product, num_classes=2)


def against_enumeration(circuit: circuits.Circuit) -> dict[str, float]:
    """Worst absolute error of each query of a circuit over binary variables."""
    spn = distributions.SumProductNetwork(circuit)
    num_variables = circuit.program.num_variables
    states = np.array(list(itertools.product([0, 1], repeat=num_variables)))
    table = np.exp(np.asarray(spn.log_prob(states), np.float64))
    rng = np.random.default_rng(0)
    x = states[rng.integers(0, len(states), 8)]
    observed = rng.random(x.shape) < 0.5
    agrees = np.all((states == x[:, None]) | ~observed[:, None], axis=-1)  # [8, S]
    joint = table * agrees
    evidence = joint.sum(-1)
    posterior = joint / evidence[:, None]
    mean = posterior @ states
    centered = states - mean[:, None]
    covariance = np.einsum("ns,nsi,nsj->nij", posterior, centered, centered)
    given = spn.condition(x, observed)
    marginal = spn.marginal([4, 1]).log_prob(states[:, [4, 1]])
    pair = [
        table[np.all(states[:, [1, 4]] == s[[1, 4]], axis=-1)].sum() for s in states
    ]
    by_variable = spn.univariate_posteriors(x, observed).probs_parameter()[..., 1]
    errors = {
        "sum to one": table.sum() - 1,
        "log_prob under a mask": spn.log_prob(x, observed=observed) - np.log(evidence),
        "marginal": marginal - np.log(pair),
        "conditional mean": given.mean() - mean,
        "conditional covariance": given.covariance() - covariance,
        "univariate posteriors": by_variable - mean,
    }
    return {name: float(np.max(np.abs(error))) for name, error in errors.items()}


def float32_against_float64(graph: region_graphs.RegionGraph) -> dict[str, float]:
    """Worst relative errors of values and of gradients (in norm).

    The gradient of a softmax's logits is a difference of two numbers of the size of
    the counts, which cancel near an optimum: of a single parameter tensor whose
    gradient is small, fewer digits are left.
    """
    x = np.random.default_rng(0).normal(size=(20, graph.num_variables))
    results = {}
    saved: list[np.ndarray] = []
    for dtype in ("float32", "float64"):
        leaf = layers.NormalLeaf(4, scale_trainable=True, dtype=dtype)
        circuit = circuits.from_region_graph(graph, leaf, 4)
        if saved:
            for variable, value in zip(circuit.variables, saved, strict=True):
                variable.assign(value)
        saved = [variable.numpy() for variable in circuit.variables]
        spn = distributions.SumProductNetwork(circuit)
        with tf.GradientTape() as tape:
            log_prob = spn.log_prob(x.astype(np.float32))
        gradients = tape.gradient(log_prob, spn.trainable_variables)
        results[dtype] = (log_prob, gradients, spn.sample(50, seed=1), spn)
    (value, gradients, draws, _), (exact, exact_gradients, _, spn) = results.values()
    low = distributions.SumProductNetwork(results["float32"][3].circuit)
    of_draws, exact_of_draws = low.log_prob(draws), spn.log_prob(draws)
    return {
        "value": float(np.max(np.abs(value / exact.numpy() - 1))),
        "gradient": relative_error(
            np.concatenate([np.ravel(g) for g in gradients]),
            np.concatenate([np.ravel(e) for e in exact_gradients]),
        ),
        "gradient of the worst parameter": max(
            relative_error(g.numpy(), e.numpy())
            for g, e in zip(gradients, exact_gradients, strict=True)
        ),
        "value of samples": float(
            np.max(np.abs(of_draws / exact_of_draws.numpy() - 1))
        ),
    }


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def after_gradient_steps(circuit: circuits.Circuit) -> float:
    """``|sum - 1|`` after 100 steps of an optimizer without constraints."""
    spn = distributions.SumProductNetwork(circuit)
    states = np.array(list(itertools.product([0, 1], repeat=6)))
    optimizer = keras.optimizers.SGD(0.5)
    for _ in range(100):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(spn.log_prob(states[:10]))
        variables = spn.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
    return abs(float(tf.reduce_sum(spn.prob(states))) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    rows: dict[str, float] = {}
    for dtype in ("float64", "float32"):
        worst: dict[str, float] = {}
        for graph, product in itertools.product(GRAPHS, ("cp", "tucker")):
            for name, error in against_enumeration(
                small(graph, product, dtype)
            ).items():
                worst[name] = max(worst.get(name, 0.0), error)
        rows |= {f"{dtype}: {name}": error for name, error in worst.items()}
    deep = {
        "1,000 variables": region_graphs.random_binary_trees(
            1000, 6, num_repetitions=3
        ),
        "100 levels": region_graphs.linear_tree(101),
    }
    for label, graph in deep.items():
        for name, error in float32_against_float64(graph).items():
            rows[f"{label}, float32 relative to float64: {name}"] = error
    for product in ("cp", "tucker"):
        error = after_gradient_steps(small("random", product, "float32"))
        rows[f"{product}: sum to one after 100 gradient steps"] = error
    for name, error in rows.items():
        print(f"{name:62s} {error:.1e}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
