"""Expected counts of a circuit's sums over a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfp_spn._typing import TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.data import Data
from tfp_spn.learning.batch_functions import expectations_of
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.data_validation import validated
from tfp_spn.learning.replicas import Replicas

_BATCH = 1024


def batches_of(
    circuit: Circuit,
    x: TensorLike,
    observed: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> Batches:
    """Checked data in batches."""
    data = validated(circuit.program, Data(x, observed, None, sample_weight))
    return Batches(circuit.program, data, _BATCH)


def expected_counts(circuit: Circuit, batches: Batches) -> dict[str, np.ndarray]:
    """Counts ``[R, I, O]`` per example, by parameter of sums, without the prior."""
    replicas = Replicas(circuit)
    total: Any = None
    for batch in batches():
        found = replicas.run(expectations_of, batch)
        total = found if total is None else replicas.sum(total, found)
    total = replicas.total(total)
    number = float(total["num_examples"])
    counts = {n: v.numpy() / number for n, v in total["sums"].items()}
    return {name: value for name, value in counts.items() if value.ndim == 3}
