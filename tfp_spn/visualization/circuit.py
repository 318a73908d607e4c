"""Circuits node by node, as still pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfp_spn._arguments import a_flag, a_text, reads
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.visualization._circuit_drawing import LEAF, PADDING, Drawing, draw
from tfp_spn.visualization._optional import import_pyplot
from tfp_spn.visualization.circuit_style import EDGE_COLOR, STYLES, scope_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 16.0  # points across
_MOST_LABELS = 24  # leaf regions


@reads(show_padding=a_flag(), show_legend=a_flag(), title=a_text())
def plot_circuit(
    circuit: Circuit,
    ax: Axes | None = None,
    *,
    show_padding: bool = True,
    show_legend: bool = True,
    title: str | None = None,
) -> Axes:
    """Draws every node and edge of a circuit with matplotlib.

    Leaves are at the bottom, with their variables where there is room, roots at the
    top. It needs no browser; `visualize_dense_spn` draws the same with plotly.

    Args:
        circuit: A circuit, a `keras.Sequential` of `tfp_spn.layers`, or a distribution.
        ax: The matplotlib `Axes` to draw on. Default: that of a new figure.
        show_padding: Whether to draw padding, as crosses.
        show_legend: Whether to explain the kinds of nodes.
        title: Title of the picture.

    Returns:
        The matplotlib `Axes`.

    Raises:
        ImportError: matplotlib is missing.
        TypeError: There is no circuit.
        ValueError: It has too many nodes to be drawn.
    """
    drawing = draw(circuit)
    pyplot = import_pyplot()
    widest = int(np.bincount(drawing.levels).max())
    if ax is None:
        size = (min(14.0, max(5.0, 0.3 * widest)), 1.2 + 0.9 * drawing.num_levels)
        figure, ax = pyplot.subplots(figsize=size, layout="constrained")
    else:
        figure = ax.figure
    from matplotlib.collections import LineCollection

    y = np.array(drawing.levels, float)
    points = np.stack([drawing.x, y], axis=-1)
    shown = [
        edge
        for edge in drawing.edges
        if show_padding or drawing.kinds[edge[1]] != PADDING
    ]
    lines = [points[list(edge)] for edge in shown]
    ax.add_collection(
        LineCollection(lines, colors=EDGE_COLOR, linewidths=0.6, zorder=1)
    )
    width = ax.get_window_extent().width * 72 / figure.dpi  # in points
    diameter = max(2.0, min(_LARGEST, 0.75 * width / (1.1 * widest)))
    for kind, style in STYLES.items():
        nodes = drawing.of_kind(kind)
        if not nodes or (kind == PADDING and not show_padding):
            continue
        # Crosses have no face: they take the colour by their lines.
        ax.scatter(
            drawing.x[nodes],
            y[nodes],
            s=diameter**2,
            marker=style.matplotlib_marker,
            color=style.color,
            label=style.label,
            zorder=2,
        )
        if style.sign and diameter >= 7:
            for node in nodes:
                ax.annotate(
                    style.sign,
                    points[node],
                    color="white",
                    fontsize=0.8 * diameter,
                    ha="center",
                    va="center_baseline",
                    zorder=3,
                )
    _write_scopes(ax, drawing, points, diameter)
    ax.set_xlim(-0.06, 1.06)
    ax.set_ylim(-0.6, drawing.num_levels - 0.5)
    ax.set_axis_off()
    if show_legend:
        figure.legend(
            *ax.get_legend_handles_labels(),
            loc="outside lower center",
            ncols=5,
            frameon=False,
            fontsize=8,
            markerscale=min(1.0, 8 / diameter),
        )
    if title is not None:
        ax.set_title(title, fontsize=10)
    return ax


def _write_scopes(
    ax: Axes, drawing: Drawing, points: np.ndarray, diameter: float
) -> None:
    """The variables below the leaves of each region."""
    regions: dict[int, list[int]] = {}
    for node in drawing.of_kind(LEAF):
        regions.setdefault(drawing.groups[node], []).append(node)
    if len(regions) > _MOST_LABELS:
        return
    for nodes in regions.values():
        ax.annotate(
            scope_label(drawing.scopes[nodes[0]], longest=10).strip("{}"),
            points[nodes].mean(0),
            xytext=(0, -diameter / 2 - 4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7,
        )
