"""Region graphs as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfp_spn._arguments import a_flag, a_text, reads
from tfp_spn.region_graphs import RegionGraph
from tfp_spn.visualization._image_arrays import check_shape
from tfp_spn.visualization._optional import import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Position = tuple[float, float]

_SMALLEST_THUMBNAIL = 5.0  # points; below that a region is drawn as a circle
_LARGEST_THUMBNAIL = 32.0
_FINE = 8  # so that a thumbnail's pixels keep their places when it is resampled
_LONGEST_LABEL = 12  # characters
_MOST_LABELS = 40  # regions
_REGION, _PARTITION, _EDGE = "#4878a8", "#d08030", "0.75"


@reads(show_scopes=a_flag(), title=a_text())
def plot_region_graph(
    region_graph: RegionGraph,
    ax: Axes | None = None,
    shape: Sequence[int] | None = None,
    *,
    show_scopes: bool | None = None,
    title: str | None = None,
) -> Axes:
    """Draws a region graph: regions as circles, partitions as small squares.

    Leaves are at the bottom; a region is at the height of the longest path below it,
    and its partitions are right below it. The lines of a tree do not cross, except
    where leaves hang at different heights.

    Args:
        region_graph: The graph.
        ax: The matplotlib `Axes` to draw on. Default: that of a new figure.
        shape: Height and width, if variables are the pixels of an image, row by row.
            A region is then drawn as a thumbnail in which its pixels are dark, as long
            as there is room for it.
        show_scopes: Whether to write the variables of a region beside it. Default: in
            small graphs, where there are no thumbnails.
        title: Title of the picture.

    Returns:
        The matplotlib `Axes`.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If `region_graph` is of another type.
        ValueError: If `shape` does not have as many pixels as the graph has variables.
    """
    if not isinstance(region_graph, RegionGraph):
        raise TypeError(
            "`region_graph` must be a tfp_spn.region_graphs.RegionGraph. Received "
            f"{type(region_graph).__name__}. Of a circuit pass circuit.region_graph."
        )
    if shape is not None:
        shape = check_shape(shape)
        if shape[0] * shape[1] != region_graph.num_variables:
            raise ValueError(
                f"`shape` does not fit the graph. Received {shape}, that is "
                f"{shape[0] * shape[1]} pixels; expected {region_graph.num_variables}, "
                "one for each variable. Pass the shape that the graph was made for."
            )
    positions = region_positions(region_graph)
    num_at_height = np.bincount(region_graph.heights)
    widest = int(num_at_height.max())
    if ax is None:
        size = (min(14.0, max(4.0, 0.5 * widest)), 1.0 + 0.8 * region_graph.depth)
        figure, ax = import_pyplot().subplots(figsize=size, layout="constrained")
    else:
        import_pyplot()
        figure = ax.figure
    _draw_partitions(ax, region_graph, positions)
    width = ax.get_window_extent().width * 72 / figure.dpi  # in points
    rooms = np.minimum(_LARGEST_THUMBNAIL, 0.8 * width / num_at_height)
    room = float(rooms.min())
    if shape is not None and room >= _SMALLEST_THUMBNAIL:
        sizes = rooms[list(region_graph.heights)]
        _draw_thumbnails(ax, region_graph, positions, shape, sizes)
        show_scopes = bool(show_scopes)
    else:
        x, y = np.transpose(positions)
        ax.scatter(x, y, s=min(60.0, room**2), color=_REGION, zorder=3)
    if show_scopes is None:
        show_scopes = region_graph.num_regions <= _MOST_LABELS
    if show_scopes:
        _write_scopes(ax, region_graph, positions)
    ax.margins(x=0.06, y=0.08)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title, fontsize=10)
    return ax


def region_positions(region_graph: RegionGraph) -> list[Position]:
    """Where to draw each region: x from 0 to 1, y its height."""
    levels: list[list[int]] = [[] for _ in range(max(region_graph.heights) + 1)]
    for region in depth_first(region_graph):
        levels[region_graph.heights[region]].append(region)
    positions: dict[int, Position] = {}
    for height, level in enumerate(levels):
        for place, region in enumerate(level):
            positions[region] = ((place + 0.5) / len(level), float(height))
    return [positions[region] for region in range(region_graph.num_regions)]


def depth_first(region_graph: RegionGraph) -> list[int]:
    """All regions, parents first, each followed by what it consists of."""
    waiting, found = list(reversed(region_graph.roots)), dict[int, None]()
    while waiting:
        region = waiting.pop()
        if region not in found:
            found[region] = None
            for children in reversed(region_graph.partitions[region]):
                waiting.extend(reversed(children))
    return list(found)


def _draw_partitions(ax: Axes, graph: RegionGraph, positions: list[Position]) -> None:
    """A square below its region, with a line to the region and to each child."""
    from matplotlib.collections import LineCollection

    squares, lines = [], []
    widths = np.bincount(graph.heights)
    for region, partitions in enumerate(graph.partitions):
        x, y = positions[region]
        step = 0.6 / (widths[graph.heights[region]] * max(len(partitions), 1))
        for number, children in enumerate(partitions):
            square = (x + step * (number - (len(partitions) - 1) / 2), y - 0.4)
            squares.append(square)
            lines.append((positions[region], square))
            lines.extend((square, positions[child]) for child in children)
    ax.add_collection(LineCollection(lines, colors=_EDGE, linewidths=0.5, zorder=1))
    if squares:
        x, y = np.transpose(squares)
        ax.scatter(x, y, s=8, marker="s", color=_PARTITION, zorder=2)


def _draw_thumbnails(
    ax: Axes,
    graph: RegionGraph,
    positions: list[Position],
    shape: Sequence[int],
    sizes: Sequence[float],
) -> None:
    """The pixels of each region, at most so many points wide and high."""
    from matplotlib.colors import Normalize
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for scope, position, size in zip(graph.scopes, positions, sizes, strict=True):
        pixels = np.zeros(shape)
        pixels.flat[list(scope)] = 1.0
        enlarged = np.kron(0.88 - 0.63 * pixels, np.ones([_FINE, _FINE]))
        image = OffsetImage(
            enlarged,
            zoom=size / max(enlarged.shape),
            cmap="gray",
            norm=Normalize(0.0, 1.0),
        )
        ax.add_artist(AnnotationBbox(image, position, frameon=False, zorder=3))
    ax.update_datalim(positions)
    ax.autoscale_view()


def _write_scopes(ax: Axes, graph: RegionGraph, positions: list[Position]) -> None:
    for region, position in enumerate(positions):
        is_leaf = not graph.partitions[region]
        ax.annotate(
            _label(graph.scopes[region]),
            position,
            xytext=(0, -7 if is_leaf else 7),
            textcoords="offset points",
            ha="center",
            va="top" if is_leaf else "bottom",
            fontsize=7,
            bbox={"color": "white", "alpha": 0.8, "pad": 0.5},
        )


def _label(scope: tuple[int, ...]) -> str:
    """The variables, or how many there are if the list would be long."""
    text = ", ".join(map(str, scope))
    if len(text) <= _LONGEST_LABEL:
        return text
    if scope == tuple(range(scope[0], scope[-1] + 1)):
        return f"{scope[0]} - {scope[-1]}"
    return f"{len(scope)} variables"
