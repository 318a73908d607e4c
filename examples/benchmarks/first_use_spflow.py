"""SPFlow's first calls on a circuit like the README's, where SPFlow is installed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
RECORDS: dict[str, dict[str, float]] = {}


def mebibytes(field: str) -> float:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS} has no line {field!r}: this is not Linux.")


def call(name: str, function: Callable[[], Any], base: float) -> Any:
    start = time.perf_counter()
    result = function()
    RECORDS[name] = {
        "s": time.perf_counter() - start,
        "mib": mebibytes("VmRSS") - base,
        "peak_mib": mebibytes("VmHWM") - base,
    }
    return result


def main() -> None:
    start = time.perf_counter()
    import torch

    seconds = time.perf_counter() - start
    from spflow.learn.expectation_maximization import expectation_maximization
    from spflow.modules.leaves import Normal
    from spflow.zoo.einet.einet import Einet

    RECORDS["import above torch"] = {"s": time.perf_counter() - start - seconds}
    base = mebibytes("VmRSS")
    torch.manual_seed(0)
    x = torch.randn(1_500, 10)

    def construct() -> Any:
        leaf = Normal(scope=list(range(10)), out_channels=8, num_repetitions=5)
        return Einet(
            leaf_modules=[leaf],
            num_classes=1,
            num_sums=8,
            num_leaves=8,
            depth=2,
            num_repetitions=5,
            layer_type="linsum",
        )

    circuit = call("construction", construct, base)
    for number in ("first", "second"):
        call(
            f"fit em, {number} epoch",
            lambda: expectation_maximization(circuit, x, max_steps=1),
            base,
        )
    rows = x[:10]
    evidence = rows.clone()
    evidence[:, ::2] = float("nan")
    queries = {
        "log_prob": lambda: circuit.log_likelihood(rows),
        "log_prob with a mask": lambda: circuit.log_likelihood(evidence.clone()),
        "sample": lambda: circuit.sample(num_samples=10),
        "condition().sample()": lambda: circuit.sample_with_evidence(
            evidence=evidence.clone()
        ),
        "condition().mode()": lambda: circuit.sample_with_evidence(
            evidence=evidence.clone(), is_mpe=True
        ),
    }
    with torch.no_grad():
        for query, function in queries.items():
            for number in ("first", "second", "third"):
                call(f"{query}, {number} call", function, base)
    print(json.dumps(RECORDS))


if __name__ == "__main__":
    main()
