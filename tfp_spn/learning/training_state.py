"""The state of a fit, taken and restored, and which data it is about."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.learning.checkpoint_file import Arrays


class TrainingState:
    """All variables that a fit changes, by name.

    Args:
        params: The circuit's parameters, `tf.Variable` each.
        others: Variables of the method, such as an optimizer's.
    """

    def __init__(self, params: Params, others: list[tf.Variable]) -> None:
        self.variables = {f"params/{name}": v for name, v in params.items()}
        self.variables.update({f"method/{n}": v for n, v in enumerate(others)})

    def take(self) -> Arrays:
        """A copy of all values."""
        return {name: v.numpy().copy() for name, v in self.variables.items()}

    def restore(self, arrays: Arrays) -> None:
        """Puts copied values back; arrays may name some of the variables only."""
        for name, value in arrays.items():
            self.variables[name].assign(value)


def params_of(arrays: Arrays) -> Arrays:
    """The circuit's own parameters."""
    return {k: v for k, v in arrays.items() if k.startswith("params/")}


def data_digest(data: Any, num_rows: int = 64) -> dict[str, Any]:
    """Which data these are, as far as it is cheap to tell.

    Args:
        data: A `Data` of arrays, or a dataset, of which only the types are told.
        num_rows: How many rows at both ends are looked at.

    Returns:
        Shapes by part and a hash of the rows, ready for JSON.
    """
    if isinstance(data, tf.data.Dataset):
        return {"dataset": str(data.element_spec)}
    shapes, digest = {}, hashlib.sha256()
    for name, part in data._asdict().items():
        if part is not None:
            shapes[name] = list(part.shape)
            for rows in (part[:num_rows], part[-num_rows:]):
                digest.update(np.asarray(rows, np.float64).tobytes())
    return {**shapes, "rows": digest.hexdigest()[:16]}
