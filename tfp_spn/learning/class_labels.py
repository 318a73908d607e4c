"""Labels of any kind, as numbers of class roots."""

from __future__ import annotations

import numpy as np

from tfp_spn._arrays import as_array
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.data import Data
from tfp_spn.programs.labels import UNLABELLED


def classes_of(
    labels: TensorLike, num_classes: int, unlabelled: object = None
) -> tuple[object, ...] | None:
    """Returns the labels of the class roots, in order, unless they are class numbers.

    Args:
        labels: ``[N]``: whole numbers, bools or text.
        num_classes: Number of class roots.
        unlabelled: The label that stands for none.

    Returns:
        The distinct labels, sorted; `None` of whole numbers from 0 to
        ``num_classes - 1`` and of labels that cannot be those of the circuit's classes.
    """
    if labels is None or num_classes == 1:
        return None
    labels, hidden = _read(labels, unlabelled)
    if isinstance(labels, np.ma.MaskedArray):
        return None
    labels = labels[~hidden]
    is_text = labels.dtype.kind in "USTO" and all(
        isinstance(label, str | bytes) for label in labels.ravel().tolist()
    )
    if not is_text and labels.dtype.kind not in "iub":
        return None
    found = sorted(set(labels.tolist()))
    if not found:
        return None
    if labels.dtype.kind in "iu" and found[:1] >= [0] and found[-1] < num_classes:
        return None
    return tuple(found) if len(found) == num_classes or is_text else None


def is_unlabelled(labels: np.ndarray, unlabelled: object) -> np.ndarray:
    """Which labels stand for none, bool of the same shape."""
    if unlabelled is None:
        return np.zeros(labels.shape, bool)
    is_nan = unlabelled != unlabelled
    values = labels.ravel().tolist()
    hidden = [v == unlabelled or (is_nan and v != v) for v in values]
    return np.array(hidden, bool).reshape(labels.shape)


def _read(labels: TensorLike, unlabelled: object) -> tuple[np.ndarray, np.ndarray]:
    """Labels, whole numbers as integers, and which of them stand for none."""
    try:
        labels = np.asanyarray(labels)  # masked ones are refused by who checks them
    except ValueError:  # lists of unequal length
        labels = as_array(labels, "fit", "labels")
    hidden = is_unlabelled(labels, unlabelled)
    known = labels[~hidden]
    if labels.dtype.kind == "f" and np.all(
        (np.trunc(known) == known) & (np.abs(known) < 2**53)
    ):
        with np.errstate(invalid="ignore"):
            labels = labels.astype(np.int64)
    return labels, hidden


def numbered(
    data: Data,
    classes: tuple[object, ...] | None,
    num_classes: int,
    unlabelled: object = None,
) -> Data:
    """The data with class numbers for labels, `UNLABELLED` where there are none.

    Raises:
        ValueError: A label is none of the classes, or there are too many.
    """
    if data.labels is None:
        return data
    labels, hidden = _read(data.labels, unlabelled)
    if isinstance(labels, np.ma.MaskedArray):
        return data  # for the message of those who check them
    if classes is None:
        if labels.dtype.kind not in "iu" and not hidden.all():
            return data
        known = np.where(hidden, 0, labels).astype(np.int64)
        return data._replace(labels=np.where(hidden, UNLABELLED, known))
    if len(classes) > num_classes:
        raise ValueError(
            f"fit: there are more labels than classes, received {len(classes)} "
            f"({', '.join(map(repr, classes[:5]))}, ...), expected at most "
            f"{num_classes}. Build the circuit with num_classes={len(classes)}."
        )
    number = {label: n for n, label in enumerate(classes)}
    values = labels[~hidden].tolist()
    unknown = sorted({repr(label) for label in values if label not in number})
    if unknown:
        raise ValueError(
            f"fit: labels are none of the training data's, received "
            f"{', '.join(unknown[:5])}, expected any of {list(classes)}. Correct them, "
            "or train on examples of all classes."
        )
    numbers = np.full(labels.shape, UNLABELLED, np.int64)
    numbers[~hidden] = [number[label] for label in values]
    return data._replace(labels=numbers)
