"""How the nodes of a circuit look, in both drawing packages."""

from __future__ import annotations

from typing import NamedTuple


class NodeStyle(NamedTuple):
    """Colour, sign and outline of a kind of node."""

    color: str
    sign: str
    plotly_symbol: str
    matplotlib_marker: str
    label: str


STYLES = {
    "leaf": NodeStyle("#5b9aa0", "", "circle", "o", "leaf component"),
    "product": NodeStyle("#d08030", "\u00d7", "square", "s", "product"),
    "sum": NodeStyle("#4878a8", "+", "circle", "o", "sum"),
    "root": NodeStyle("#a83c54", "+", "circle", "o", "root"),
    "padding": NodeStyle("#999999", "", "asterisk-open", "x", "padding"),
}
EDGE_COLOR = "#b8b8b8"


def scope_label(scope: frozenset[int], longest: int = 24) -> str:
    """The variables of a node, or how many there are."""
    if not scope:
        return "no variable (padding)"
    text = ", ".join(map(str, sorted(scope)))
    if len(text) <= longest:
        return f"{{{text}}}"
    return f"{len(scope)} variables"
