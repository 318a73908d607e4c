"""Expected counts of a circuit's sums over a whole data set."""

from __future__ import annotations

import numpy as np

from tfp_spn._typing import TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.data import Data
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.data_validation import validated
from tfp_spn.learning.e_step import PLAIN
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
    total = Replicas(circuit).total_of("expected_counts", PLAIN, batches())
    number = float(total["num_examples"])
    counts = {n: v.numpy() / number for n, v in total["sums"].items()}
    return {name: value for name, value in counts.items() if value.ndim == 3}
