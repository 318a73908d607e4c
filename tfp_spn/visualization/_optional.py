"""The one place where the optional plotting packages are imported."""

from __future__ import annotations

import importlib
from typing import Any


def import_pyplot() -> Any:
    """`matplotlib.pyplot`.

    Raises:
        ImportError: If matplotlib is not installed; names the extra that brings it.
    """
    return _imported("matplotlib.pyplot", "tfp_spn.visualization")


def import_graph_objects() -> Any:
    """`plotly.graph_objects`.

    Raises:
        ImportError: If plotly is not installed; names the extra that brings it.
    """
    remedy = ", or use plot_circuit, which draws with matplotlib."
    return _imported("plotly.graph_objects", "visualize_dense_spn", remedy)


def _imported(module: str, owner: str, remedy: str = "") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{owner} draws with {module.split('.')[0]}, which cannot be imported "
            f'({error}). Install it with: pip install "tfp_spn[visualization]"{remedy}'
        ) from error
