"""How strongly `fit` smooths by default: by what the data can tell of a circuit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batches
from tfp_spn.learning.checkpoint_file import settings_of
from tfp_spn.learning.method import Method
from tfp_spn.learning.sum_regularization import MarginalPseudocount

_USUAL = 0.01
_VALUES_PER_PARAMETER = 2.0


def default_smoothing(
    circuit: Circuit,
    train: Batches,
    method: Method,
    regularization: object,
    checkpoint: str | os.PathLike[str] | None = None,
) -> tuple[float, object]:
    """Pseudocount and regularization of a fit whose pseudocount was not given.

    Usually 0.01 examples. Where there are fewer than two observed values (of an example
    of weight two each twice) for each parameter, one example that looks like the data's
    columns (in an epoch, of methods that learn from batches), for EM on arrays: such
    circuits learn single rows by heart. (500 rows of 839 words, on others: -166 nats
    with 8 states and -183 with 32 by the former, -160 and -161 by the latter;
    independent columns have -181.)

    Args:
        circuit: The circuit.
        train: The data.
        method: The method.
        regularization: What was given; if anything was, it is kept as it is.
        checkpoint: Of a fit that goes on as it began.
    """
    kept = {} if checkpoint is None else settings_of(Path(checkpoint))
    began_with = kept.get("pseudocount")
    if isinstance(began_with, float) and "regularization" not in kept:
        return began_with, regularization
    program: Any = circuit.program
    if (
        regularization is not None
        or method.is_gradient
        or train.is_dataset
        or program.chain_specs
    ):
        return _USUAL, regularization
    x, observed = train.data.x, train.data.observed
    weight = train.data.sample_weight
    weight = np.ones(len(x)) if weight is None else weight
    values_of_row = np.size(x[0]) * np.ones(len(x))
    if observed is not None:
        values_of_row = np.sum(observed.reshape(len(x), -1), axis=1)
    num_values = float(weight @ values_of_row)
    num_parameters = sum(np.prod(v.shape) for v in circuit.trainable_variables)
    if num_values >= _VALUES_PER_PARAMETER * num_parameters:
        return _USUAL, regularization
    part = 1.0 if method.is_full_batch else min(1.0, train.batch_size / len(x))
    return part, MarginalPseudocount()
