"""Circuits node by node, to explore in a browser."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn.visualization._circuit_drawing import PADDING, Drawing, draw
from tfp_spn.visualization._optional import import_graph_objects
from tfp_spn.visualization.circuit_style import EDGE_COLOR, STYLES, scope_label


@reads(
    show_legend=a_flag(),
    show_padding=a_flag(),
    transparent=a_flag(),
    node_size=a_count(),
)
def visualize_dense_spn(
    dense_spn: object,
    show_legend: bool = False,
    show_padding: bool = True,
    transparent: bool = False,
    node_size: int = 30,
) -> Any:
    """Draws every node and edge of a circuit with plotly.

    Leaves are at the bottom, roots at the top. Hovering over a node tells its variables
    and its number within its region. In contrast to LibSPN-Keras any circuit can be
    drawn, not only stacks of dense layers, and a product lies above the children that
    it multiplies (there the factors are drawn in reverse order).

    Args:
        dense_spn: A `keras.Sequential` of `tfp_spn.layers`, a circuit, or a
            distribution.
        show_legend: Whether to explain the kinds of nodes on the right.
        show_padding: Whether to draw padding, as asterisks.
        transparent: Whether the background is transparent; else white.
        node_size: Size of nodes in pixels; they are drawn smaller where they would
            touch.

    Returns:
        A `plotly.graph_objects.Figure`: `show` it, or ``write_html`` it.

    Raises:
        ImportError: plotly is missing.
        TypeError: `dense_spn` has no circuit.
        ValueError: It has too many nodes to be drawn.
    """
    objects = import_graph_objects()
    drawing = draw(dense_spn)
    width, height = 900, max(300, 130 * drawing.num_levels)
    size = _fitting_size(drawing, node_size, width - 120)
    figure = objects.Figure()
    figure.add_trace(_edges(objects, drawing, show_padding))
    for kind, style in STYLES.items():
        nodes = drawing.of_kind(kind)
        if not nodes or (kind == PADDING and not show_padding):
            continue
        figure.add_trace(
            objects.Scatter(
                x=drawing.x[nodes],
                y=[drawing.levels[node] for node in nodes],
                mode="markers+text" if style.sign else "markers",
                text=style.sign,
                textfont={"color": "white", "size": max(6, int(0.6 * size))},
                hovertext=[
                    f"{style.label} {drawing.units[node]} of "
                    f"{scope_label(drawing.scopes[node])}"
                    for node in nodes
                ],
                hoverinfo="text",
                marker={
                    "symbol": style.plotly_symbol,
                    "size": size,
                    "color": style.color,
                    "line": {"color": style.color if kind == PADDING else "white"},
                },
                name=style.label,
            )
        )
    hidden = {"visible": False, "showgrid": False, "zeroline": False}
    background = "rgba(0,0,0,0)" if transparent else "white"
    figure.update_layout(
        width=width,
        height=height,
        showlegend=show_legend,
        xaxis={**hidden, "range": [-0.05, 1.05]},
        yaxis={**hidden, "range": [-0.5, drawing.num_levels - 0.5]},
        plot_bgcolor=background,
        paper_bgcolor=background,
        margin={"l": 20, "r": 20, "t": 20, "b": 20},
    )
    return figure


def _edges(objects: Any, drawing: Drawing, show_padding: bool) -> Any:
    x: list[float | None] = []
    y: list[float | None] = []
    for parent, child in drawing.edges:
        if drawing.kinds[child] == PADDING and not show_padding:
            continue
        x += [drawing.x[parent], drawing.x[child], None]
        y += [drawing.levels[parent], drawing.levels[child], None]
    return objects.Scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": EDGE_COLOR, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )


def _fitting_size(drawing: Drawing, node_size: int, width: int) -> float:
    """`node_size`, or less where nodes of a row would touch."""
    nearest = 1.0
    for level in range(drawing.num_levels):
        row = np.sort(drawing.x[np.array(drawing.levels) == level])
        if len(row) > 1:
            nearest = min(nearest, float(np.diff(row).min()))
    return float(max(3.0, min(node_size, 0.8 * nearest * width)))
