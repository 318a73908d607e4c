"""The one place where the optional plotting package is imported."""

from __future__ import annotations

from typing import Any


def import_pyplot() -> Any:
    """`matplotlib.pyplot`.

    Raises:
        ImportError: If matplotlib is not installed; names the extra that brings it.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "tfp_spn.visualization draws with matplotlib, which cannot be imported "
            f'({error}). Install it with: pip install "tfp_spn[visualization]"'
        ) from error
    return pyplot
