"""Labels of any kind, as numbers of class roots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfp_spn._arrays import as_array
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import Data
from tfp_spn.programs.labels import UNLABELLED


class Labels(NamedTuple):
    """Labels of examples, read.

    Attributes:
        given: As they were given.
        values: ``[N]``: whole numbers as integers; anything else as it is.
        hidden: bool of the same shape: which stand for none.
    """

    given: TensorLike
    values: np.ndarray
    hidden: np.ndarray


def read_labels(labels: TensorLike, unlabelled: object = None) -> Labels | None:
    """Reads labels.

    Args:
        labels: ``[N]``: whole numbers, bools or text. `None`: there are none.
        unlabelled: The label that stands for none.
    """
    if labels is None:
        return None
    try:
        values = np.asanyarray(labels)  # masked ones are refused by who checks them
    except ValueError:  # lists of unequal length
        values = as_array(labels, "fit", "labels")
    hidden = _is_unlabelled(values, unlabelled)
    known = values[~hidden]
    if values.dtype.kind == "f" and np.all(
        (np.trunc(known) == known) & (np.abs(known) < 2**53)
    ):
        with np.errstate(invalid="ignore"):
            values = values.astype(np.int64)
    return Labels(labels, values, hidden)


def _is_unlabelled(labels: np.ndarray, unlabelled: object) -> np.ndarray:
    """Which labels stand for none, bool of the same shape."""
    if unlabelled is None:
        return np.zeros(labels.shape, bool)
    is_nan = unlabelled != unlabelled
    values = labels.ravel().tolist()
    hidden = [v == unlabelled or (is_nan and v != v) for v in values]
    return np.array(hidden, bool).reshape(labels.shape)


def classes_of(labels: Labels | None, num_classes: int) -> tuple[object, ...] | None:
    """Returns the labels of the class roots, in order, unless they are class numbers.

    Returns:
        The distinct labels, sorted; `None` of whole numbers from 0 to
        ``num_classes - 1`` and of labels that cannot be those of the circuit's classes.
    """
    if labels is None or num_classes == 1 or np.ma.isMaskedArray(labels.values):
        return None
    known = labels.values[~labels.hidden]
    is_text = known.dtype.kind in "USTO" and all(
        isinstance(label, str | bytes) for label in known.ravel().tolist()
    )
    if not is_text and known.dtype.kind not in "iub":
        return None
    found = sorted(set(known.tolist()))
    if not found:
        return None
    if known.dtype.kind in "iu" and found[:1] >= [0] and found[-1] < num_classes:
        return None
    return tuple(found) if len(found) == num_classes or is_text else None


def numbers_of(
    labels: Labels | None, classes: tuple[object, ...] | None, num_classes: int
) -> TensorLike:
    """Class numbers in the place of labels, `UNLABELLED` where there are none.

    Raises:
        ValueError: A label is none of the classes, or there are too many.
    """
    if labels is None:
        return None
    given, values, hidden = labels
    if np.ma.isMaskedArray(values):
        return given  # for the message of those who check them
    if classes is None:
        if values.dtype.kind not in "iu" and not hidden.all():
            return given
        known = np.where(hidden, 0, values).astype(np.int64)
        return np.where(hidden, UNLABELLED, known)
    if len(classes) > num_classes:
        raise ValueError(
            f"fit: there are more labels than classes, received {len(classes)} "
            f"({', '.join(map(repr, classes[:5]))}, ...), expected at most "
            f"{num_classes}. Build the circuit with num_classes={len(classes)}."
        )
    number = {label: n for n, label in enumerate(classes)}
    known = values[~hidden].tolist()
    unknown = sorted({repr(label) for label in known if label not in number})
    if unknown:
        raise ValueError(
            f"fit: labels are none of the training data's, received "
            f"{', '.join(unknown[:5])}, expected any of {list(classes)}. Correct them, "
            "or train on examples of all classes."
        )
    numbers = np.full(values.shape, UNLABELLED, np.int64)
    numbers[~hidden] = [number[label] for label in known]
    return numbers


def numbered(
    data: Data,
    classes: tuple[object, ...] | None,
    num_classes: int,
    unlabelled: object = None,
) -> Data:
    """The data with class numbers for labels, see `numbers_of`."""
    labels = read_labels(data.labels, unlabelled)
    return data._replace(labels=numbers_of(labels, classes, num_classes))
