"""The one place where the optional plotly is imported."""

from __future__ import annotations

from typing import Any


def import_graph_objects() -> Any:
    """`plotly.graph_objects`.

    Raises:
        ImportError: If plotly is not installed; names the extra that brings it.
    """
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ImportError(
            "visualize_dense_spn draws with plotly, which cannot be imported "
            f'({error}). Install it with: pip install "tfp_spn[visualization]", or '
            "use plot_circuit, which draws with matplotlib."
        ) from error
    return graph_objects
