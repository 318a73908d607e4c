"""The state of a fit: taken, restored, and kept on disk for the next run.

Files are ``.npz`` archives of plain arrays (no pickle), written to a temporary file and
renamed, so that an interruption leaves the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params
from tfp_spn.learning.history import History
from tfp_spn.programs.dynamic.dynamic_program import DynamicProgram

Arrays: TypeAlias = dict[str, np.ndarray]


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


def structure_digest(program: Any) -> str:
    """A hash of the structure: equal shapes do not make equal circuits."""
    if isinstance(program, DynamicProgram):
        shape = (program.num_steps, program.sum_product, program.chain_shapes)
        text = f"{structure_digest(program.step)} {shape}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]
    digest = hashlib.sha256(repr(program.layout.scopes).encode())
    for gather in [*(g for s in program.steps for g in s.factors), program.root]:
        digest.update(repr((gather.sources, gather.index.tolist())).encode())
    return digest.hexdigest()[:16]


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


def save(
    path: Path, settings: dict[str, Any], history: History, last: Arrays, best: Arrays
) -> None:
    """Writes a checkpoint, all or nothing."""
    arrays = {f"last/{name}": value for name, value in last.items()}
    arrays.update({f"best/{name}": value for name, value in best.items()})
    arrays["log_likelihood"] = np.asarray(history.log_likelihood, np.float64)
    arrays["validation_log_likelihood"] = np.asarray(
        history.validation_log_likelihood, np.float64
    )
    arrays["stopped_because"] = np.asarray(history.stopped_because)
    arrays["settings"] = np.asarray(json.dumps(settings, sort_keys=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(
    path: Path, settings: dict[str, Any], state: TrainingState
) -> tuple[History, Arrays, Arrays]:
    """Reads a checkpoint: history, last values, best values.

    Raises:
        ValueError: The file belongs to another fit, or is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        kept = json.loads(str(arrays["settings"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"fit: checkpoint {str(path)!r} cannot be read, received {error!r}, "
            "expected a file written by an earlier fit. Delete it or choose another "
            "path."
        ) from error
    last, best = _below("last/", arrays), _below("best/", arrays)
    shapes = {name: tuple(v.shape) for name, v in state.variables.items()}
    if kept != settings or {name: v.shape for name, v in last.items()} != shapes:
        different = [k for k in settings if kept.get(k) != settings[k]]
        received = {k: kept.get(k) for k in different} or "other variables"
        expected = {k: settings[k] for k in different} or "those of this circuit"
        raise ValueError(
            f"fit: checkpoint {str(path)!r} belongs to another fit, received "
            f"{received}, expected {expected}. Call fit as before, delete the file, or "
            "choose another path."
        )
    history = History(
        arrays["log_likelihood"].tolist(),
        arrays["validation_log_likelihood"].tolist(),
        str(arrays["stopped_because"]),
    )
    return history, last, best


def _below(prefix: str, arrays: Arrays) -> Arrays:
    start = len(prefix)
    return {k[start:]: v for k, v in arrays.items() if k.startswith(prefix)}
