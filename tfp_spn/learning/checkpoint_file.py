"""The file of an interrupted fit: written whole or not at all, read with distrust.

It is an ``.npz`` archive of plain arrays: the state after the last epoch
(``last/...``), the parameters after the best one (``best/...``), the history, and, as
JSON, the settings in which a fit must agree to go on. Reading it takes no more memory
than the file has bytes, a few times over, whatever the file claims, and nothing is ever
unpickled.

Version 1, of tfp_spn 0.1, has no ``version`` among its settings; it tells circuits
apart by their folded structure, and records neither leaves nor learning rules.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tfp_spn._arguments import shown
from tfp_spn._typing import Config
from tfp_spn.learning.history import History

Arrays: TypeAlias = dict[str, np.ndarray]
Settings: TypeAlias = Mapping[str, object]

VERSION = 2
_UNRECORDED = {1: ("leaf", "rules"), 2: ()}
_HISTORY = ("log_likelihood", "validation_log_likelihood")
_REASONS = ("", "epochs", "num_updates", "patience", "tolerance")
_SUFFIX = ".partial"

# --- writing ----------------------------------------------------------------------


def save(
    path: Path, settings: Settings, history: History, last: Arrays, best: Arrays
) -> None:
    """Writes a checkpoint, all or nothing."""
    arrays = {f"last/{name}": value for name, value in last.items()}
    arrays.update({f"best/{name}": value for name, value in best.items()})
    for name in _HISTORY:
        arrays[name] = np.asarray(getattr(history, name), np.float64)
    arrays["stopped_because"] = np.asarray(history.stopped_because)
    text = json.dumps({**settings, "version": VERSION}, sort_keys=True)
    arrays["settings"] = np.asarray(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _replace(path, arrays)
    except FileNotFoundError:  # another fit took the new file for a leftover
        _replace(path, arrays)


def _replace(path: Path, arrays: Arrays) -> None:
    handle, temporary = tempfile.mkstemp(_SUFFIX, f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(path: Path) -> None:
    """Removes the files of fits that were killed while they wrote this checkpoint."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]+{re.escape(_SUFFIX)}")
    with contextlib.suppress(OSError):  # no folder yet, or another user's
        for other in list(path.parent.iterdir()):
            if name.fullmatch(other.name):
                other.unlink(missing_ok=True)


# --- reading ----------------------------------------------------------------------


def load(
    path: Path, settings: Settings, in_version_1: Settings, variables: Arrays
) -> tuple[History, Arrays, Arrays]:
    """Reads a checkpoint: history, last values, best values.

    Args:
        path: The file.
        settings: What the file must agree in.
        in_version_1: Settings that version 1 recorded otherwise.
        variables: Values of the shapes and dtypes that the last values must have.

    Raises:
        ValueError: The file belongs to another fit, is damaged, or is none.
    """
    with _unreadable_if_it_fails(path):
        arrays = _arrays_in(path)
        kept = json.loads(str(arrays.pop("settings")))
        version = kept.pop("version", 1)
        if version not in range(1, VERSION + 1):
            raise ValueError(f"version {version!r} is not known")
        history = _history_of(arrays)
    if version == 1:
        settings = {**settings, **in_version_1}
    unrecorded = _check_agreement(path, kept, json.loads(json.dumps(settings)))
    missing = set(unrecorded) - set(_UNRECORDED[version])
    if missing:
        with _unreadable_if_it_fails(path):
            raise ValueError(f"its settings lack {sorted(missing)}")
    kinds = {f"last/{name}": _kind(value) for name, value in variables.items()}
    if history.validation_log_likelihood:
        params = [name for name in variables if name.startswith("params/")]
        kinds.update({f"best/{name}": _kind(variables[name]) for name in params})
    found = {name: _kind(value) for name, value in arrays.items()}
    _check_agreement(path, {**dict.fromkeys(kinds), **found}, kinds)
    if unrecorded:
        warnings.warn(
            f"fit: checkpoint {str(path)!r} is of an earlier version, received a file "
            f"that does not record {', '.join(unrecorded)}; expected those of this "
            "call. Make sure that they are. After the next epoch the file does.",
            stacklevel=5,  # whoever calls fit
        )
    return history, _below("last/", arrays), _below("best/", arrays)


def settings_of(path: Path) -> Settings:
    """Settings in which a fit must agree to go on; none if there is no file.

    Raises:
        ValueError: The file is damaged, or is no checkpoint.
    """
    if not path.exists():
        return {}
    with _unreadable_if_it_fails(path):
        return dict(json.loads(str(_arrays_in(path)["settings"])))


@contextlib.contextmanager
def _unreadable_if_it_fails(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # archives can be damaged in any way
        raise ValueError(
            f"fit: checkpoint {str(path)!r} cannot be read, received "
            f"{shown(error)}, expected a file written by an earlier fit. Delete it or "
            "choose another path."
        ) from error


def _arrays_in(path: Path) -> Arrays:
    """All arrays, once the sizes that the file claims are found to be possible."""
    if not path.is_file():
        raise ValueError("it is no file")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a member is compressed")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("members are larger than the file")
        return {
            member.filename.removesuffix(".npy"): _array_of(archive.read(member))
            for member in members
        }


def _array_of(data: bytes) -> np.ndarray:
    file, npy = io.BytesIO(data), np.lib.format
    is_first = npy.read_magic(file) == (1, 0)
    read_header = npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    has_size = math.prod(shape) * dtype.itemsize == len(data) - file.tell()
    if dtype.hasobject or not has_size or any(n > len(data) for n in shape):
        raise ValueError(f"an array is not of shape {shape} and {dtype}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _history_of(arrays: Arrays) -> History:
    course = [arrays.pop(name) for name in _HISTORY]
    reason = str(arrays.pop("stopped_because"))
    num_epochs, num_validated = map(len, course)
    if (
        any(values.dtype != np.float64 or values.ndim != 1 for values in course)
        or num_epochs == 0
        or num_validated not in (0, num_epochs)
        or reason not in _REASONS
        or not all((values < np.inf).all() for values in course)  # nor NaN
    ):
        raise ValueError("it has no history")
    return History(course[0].tolist(), course[1].tolist(), reason)


def _check_agreement(path: Path, kept: Settings, now: Settings) -> list[str]:
    """Refuses what differs; returns the names of what was not kept at all."""
    received, expected, unrecorded = _differences(kept, now)
    if received:
        raise ValueError(
            f"fit: checkpoint {str(path)!r} belongs to another fit, received "
            f"{shown(received)}, expected {shown(expected)}. Call fit as before, "
            "delete the file, or choose another path."
        )
    return unrecorded


def _differences(kept: Settings, now: Settings) -> tuple[Config, Config, list[str]]:
    received: Config = {}
    expected: Config = {}
    unrecorded = [name for name in now if name not in kept]
    for name, old in kept.items():
        new = now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            old, new, more = _differences(old, new)
            unrecorded += [f"{name}/{other}" for other in more]
        if old != new and json.dumps(old) != json.dumps(new):  # NaN equals NaN
            received[name], expected[name] = old, new
    return received, expected, unrecorded


def _kind(value: np.ndarray) -> str:
    return f"{value.dtype} {list(value.shape)}"


def _below(prefix: str, arrays: Arrays) -> Arrays:
    start = len(prefix)
    return {k[start:]: v for k, v in arrays.items() if k.startswith(prefix)}
