"""How many nodes the graph of each query has, for each case of the tests' registry.

    PYTHONPATH=. python examples/benchmarks/graph_sizes.py [--save FILE] [--only WORD]
        [--against FILE]

A change that is about how the code reads should leave graphs as they are: save the
counts of the commit before, then compare. Nodes of functions within the graph count,
too. What a case does not define is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.cases import CASES, Case
from tfp_spn import learning

SEED = (0, 1)


def queries(case: Case) -> dict[str, Callable[[], Any]]:
    """By name, what is asked of a case, inside of a graph."""
    distribution, x = case.distribution, tf.constant(case.batched_x)
    program = case.circuit.program
    mask = np.ones(program.mask_shape, bool)
    known = {
        "log_prob": lambda: distribution.log_prob(x),
        "sample": lambda: distribution.sample(3, seed=SEED),
        "mean": lambda: distribution.mean(),
        "mode": lambda: distribution.mode(),
    }
    if distribution.event_shape == program.event_shape:
        known["marginal"] = lambda: distribution.log_prob(x, observed=mask)

    def expectations() -> Any:
        params, values = case.circuit.live_params(), tf.cast(case.x, program.dtype)
        return learning.expected_statistics(program, params, program.evidence(values))

    if tuple(case.x.shape[1:]) == program.event_shape:
        known["expectations"] = expectations
    return known


def num_nodes(query: Callable[[], Any]) -> int:
    """Nodes of the query's graph and of all functions in it."""
    graph = tf.function(query, autograph=False).get_concrete_function().graph
    definition = graph.as_graph_def()
    functions = definition.library.function
    return len(definition.node) + sum(len(f.node_def) for f in functions)


def count(only: str) -> dict[str, int]:
    """The nodes by ``case: query``, printed as they are found."""
    found = {}
    for name, make in CASES.items():
        if only not in name:
            continue
        for query, ask in queries(make()).items():
            try:
                found[f"{name}: {query}"] = num_nodes(ask)
            except (NotImplementedError, ValueError, TypeError, AttributeError):
                continue  # there is no such thing for this case
            print(f"{name}: {query:<14} {found[f'{name}: {query}']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, help="where the counts are written")
    parser.add_argument("--against", type=Path, help="counts to compare with")
    parser.add_argument("--only", default="", help="part of the names of cases")
    arguments = parser.parse_args()
    found = count(arguments.only)
    if arguments.save:
        arguments.save.write_text(json.dumps(found, indent=1))
    if arguments.against:
        before = json.loads(arguments.against.read_text())
        shared = found.keys() & before.keys()
        larger = {k: (before[k], found[k]) for k in shared if found[k] > before[k]}
        smaller = sum(found[k] < before[k] for k in shared)
        print(f"{len(shared)} graphs: {len(larger)} larger, {smaller} smaller")
        for name, (old, new) in sorted(larger.items()):
            print(f"  {name}: {old} before, {new} now")


if __name__ == "__main__":
    main()
