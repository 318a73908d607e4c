"""Labels of any kind, as numbers of class roots."""

from __future__ import annotations

import numpy as np

from tfp_spn._typing import TensorLike
from tfp_spn.learning.data_validation import Data
from tfp_spn.programs.labels import UNLABELLED


def classes_of(
    labels: TensorLike, num_classes: int, unlabelled: object = None
) -> tuple[object, ...] | None:
    """Returns the labels of the class roots, in order, unless they are class numbers.

    Args:
        labels: ``[N]``: integers, bools or text.
        num_classes: Number of class roots.
        unlabelled: The label that stands for none.

    Returns:
        The distinct labels, sorted; `None` of integers from 0 to ``num_classes - 1``
        and of labels that cannot be those of the circuit's classes.
    """
    if labels is None or num_classes == 1:
        return None
    labels = np.asarray(labels)
    labels = labels[~is_unlabelled(labels, unlabelled)]
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
    return np.array([label == unlabelled for label in labels.ravel()], bool).reshape(
        labels.shape
    )


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
    if data.labels is None or (classes is None and unlabelled is None):
        return data
    labels = np.asarray(data.labels)
    hidden = is_unlabelled(labels, unlabelled)
    if classes is None:
        if labels.dtype.kind not in "iu" and not hidden.all():
            return data  # for the message of those who check them
        known = np.where(hidden, 0, labels).astype(np.int64)
        return data._replace(labels=np.where(hidden, UNLABELLED, known))
    if len(classes) > num_classes:
        raise ValueError(
            f"fit: there are more labels than classes, received {len(classes)} "
            f"({', '.join(map(repr, classes[:5]))}, ...), expected at most "
            f"{num_classes}. Build the circuit with num_classes={len(classes)}."
        )
    number = {label: n for n, label in enumerate(classes)}
    if unlabelled is not None:
        number[unlabelled] = UNLABELLED
    values = labels.ravel().tolist()
    unknown = sorted({repr(label) for label in values if label not in number})
    if unknown:
        raise ValueError(
            f"fit: labels are none of the training data's, received "
            f"{', '.join(unknown[:5])}, expected any of {list(classes)}. Correct them, "
            "or train on examples of all classes."
        )
    numbers = np.array([number[label] for label in values], np.int64)
    return data._replace(labels=numbers.reshape(labels.shape))
