"""Arrays of what users pass in, nothing of which is dropped without a word."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(owner: str, name: str, value: Any) -> np.ndarray:
    """What `np.asarray` makes of `value`, which would drop the mask of a masked array.

    Args:
        owner: Who reads it, for messages.
        name: What it is, for messages.
        value: Anything that NumPy takes.

    Raises:
        TypeError: Some of it is masked.
    """
    if _is_masked(value):
        raise TypeError(
            f"{owner}: {name} is a NumPy masked array, received some masked entries, "
            "expected an array without a mask. Pass its values and which of them count "
            "apart: x.filled(0) and observed=~np.ma.getmaskarray(x)."
        )
    return np.asarray(value)


def _is_masked(value: Any) -> bool:
    if isinstance(value, np.ma.MaskedArray):
        return bool(np.ma.is_masked(value))
    return isinstance(value, list | tuple) and any(map(_is_masked, value))
