"""How time grows with batch, variables and sums, and what one more of a kind costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import speed_measurement as measurement
from speed_case_process import set_threads

# Two decades each. Points are large enough for arithmetic to outweigh the cost of
# starting operations, and other sizes are held fixed.
AXES: dict[str, tuple[int, ...]] = {
    "batch": (64, 202, 640, 2_024, 6_400),
    "variables": (512, 1_619, 5_120, 16_191, 51_200),
    "sums": (4, 13, 40, 126, 400),
    "tree": (50, 100, 200, 400, 1_000),
    "one more": (),
}
FIXED = {
    "batch": "W1-CP, 784 variables, 10 trees",
    "variables": "2 trees of depth 4, 10 units, batch 256",
    "tree": "variables of a hidden Chow-Liu tree, 20 units, batch 500",
    "sums": "number of trees of depth 4 over 64 variables, 20 units, batch 256",
}


def measure(axis: str, threads: int, seconds: float) -> dict[str, Any]:
    """Points and fitted exponents of one axis, of log_prob and of a training step."""
    import speed_workloads

    set_threads(threads)
    if axis == "one more":
        return {"one more": _one_more(speed_workloads, seconds)}
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for size in AXES[axis]:
        for kind, call in _calls(speed_workloads, axis, size).items():
            points[kind].append((size, measurement.timed(call, seconds, 5)["ms"]))
    return {
        kind: {"points": values, "exponent": exponent(values)}
        for kind, values in points.items()
    }


def exponent(points: list[tuple[int, float]]) -> float:
    """Slope of a straight line through the points in doubly logarithmic axes."""
    sizes, times = np.log(np.array(points, float)).T
    return float(np.polyfit(sizes, times, 1)[0])


def _calls(workloads: Any, axis: str, size: int) -> dict[str, Callable[[], Any]]:
    from tfp_spn import learning

    if axis == "tree":
        return {
            "log_prob": workloads.tree_log_prob(size, "graph").call,
            "gradient": workloads.tree_gradient(size, "graph").call,
            "step of online EM": workloads.tree_em(size, "graph").call,
        }
    if axis == "batch":
        options: dict[str, Any] = {}
    elif axis == "variables":
        options = {"num_variables": size, "num_repetitions": 2, "num_sums": 10}
    else:
        options = {"num_variables": 64, "num_repetitions": size}
    batch_size = size if axis == "batch" else workloads.BATCH_SIZE
    x = workloads.normal_data(batch_size, options.get("num_variables", 784))
    loss = learning.NegativeLogJoint()
    circuit = workloads.gaussian_rat(**options)
    return {
        "log_prob": workloads.log_prob(circuit, x, "graph").call,
        "training step": workloads.gradient_step(circuit, x, loss, "graph").call,
    }


def _one_more(workloads: Any, seconds: float) -> dict[str, Any]:
    """Pairs of circuits that differ by one, timed in turn."""
    import speed_arithmetic

    pairs = {
        "variable": ({"num_variables": 784}, {"num_variables": 785}),
        "class root": ({"num_classes": 10}, {"num_classes": 11}),
    }
    results = {}
    for what, both in pairs.items():
        pair = []
        for options in both:
            x = workloads.normal_data(
                workloads.BATCH_SIZE, options.get("num_variables", 784)
            )
            pair.append(workloads.log_prob(workloads.gaussian_rat(**options), x, "xla"))
        rounds = [
            [measurement.timed(w.call, seconds / 4)["ms"] for w in pair]
            for _ in range(5)
        ]
        before, after = np.median(rounds, axis=0).tolist()
        work = [speed_arithmetic.gflop(w.circuit.program, w.num_examples) for w in pair]
        results[what] = {
            "ms": [before, after],
            "time": after / before,
            "arithmetic": work[1] / work[0],
        }
    return results


def text(axis: str, result: dict[str, Any]) -> str:
    """The result of one axis, to read."""
    if "error" in result:
        return f"{axis}: failed: {result['error']}"
    lines = []
    if axis == "one more":
        for what, found in result["one more"].items():
            lines.append(
                f"one more {what}: time x {found['time']:.3f} "
                f"({found['ms'][0]:.2f} to {found['ms'][1]:.2f} ms), "
                f"arithmetic x {found['arithmetic']:.4f}"
            )
        return "\n".join(lines)
    for kind, found in result.items():
        points = ", ".join(f"{size:,}: {ms:.3g} ms" for size, ms in found["points"])
        lines.append(
            f"{axis}, {kind}: time ~ {axis}^{found['exponent']:.2f}   {points}"
        )
    return "\n".join([f"{axis} ({FIXED[axis]})", *lines])
