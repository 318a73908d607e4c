"""Circuits drawn node by node: the right nodes and edges, in the right places."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfp_spn
from tests.cases import CASES
from tests.processes import run_program
from tfp_spn import layers, region_graphs, visualization
from tfp_spn.visualization._circuit_drawing import draw

V = [tfp_spn.RegionVariable(i) for i in range(6)]
Node = tfp_spn.RegionNode
BALANCED = Node([Node([V[2], V[0]]), Node([V[1], V[3]])])
PADDED = Node([Node([V[0], V[1], V[2]]), V[3]])


def stack(tree, num_classes=None, logits=False):
    return tfp_spn.region_graph_to_dense_spn(
        tree, layers.BernoulliLeaf(2), [3], logits, num_classes=num_classes
    )


def counts(drawing):
    return {
        kind: len(drawing.of_kind(kind))
        for kind in ("leaf", "product", "sum", "root", "padding")
    }


def test_nodes_of_a_dense_stack():
    drawing = draw(stack(BALANCED))
    # 4 variables of 2; 2 regions of 4 products and 3 sums; 9 products; the root.
    want = {"leaf": 8, "product": 8 + 9, "sum": 6, "root": 1, "padding": 0}
    assert counts(drawing) == want
    assert len(drawing.edges) == 8 * 2 + 6 * 4 + 9 * 2 + 9
    assert drawing.num_levels == 5


def test_padding_and_classes():
    drawing = draw(stack(PADDED, num_classes=2, logits=True))
    assert counts(drawing) == {
        "leaf": 8, "product": 16 + 9, "sum": 6 + 2, "root": 1, "padding": 4
    }  # fmt: skip
    root = drawing.of_kind("root")[0]
    assert drawing.scopes[root] == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["deep", "tucker", "classes", "layers", "quad graph"])
def test_every_sum_and_product_has_the_scope_of_its_children(name):
    case = CASES[name]()
    drawing = draw(case.distribution)
    children: dict[int, list[int]] = {}
    for parent, child in drawing.edges:
        children.setdefault(parent, []).append(child)
        assert drawing.levels[parent] > drawing.levels[child]
    for node, below in children.items():
        union = frozenset().union(*(drawing.scopes[child] for child in below))
        assert drawing.scopes[node] == union
        if drawing.kinds[node] == "product":
            assert sum(len(drawing.scopes[child]) for child in below) == len(union)
        elif drawing.kinds[node] == "sum":
            assert {drawing.scopes[child] for child in below} == {union}
    assert set(range(len(drawing.kinds))) == set(children) | {
        child for below in children.values() for child in below
    }
    weights = sum(int(np.prod(v.shape)) for k, v in case.circuit.live_params().items()
                  if not k.startswith("leaf"))  # fmt: skip
    of_sums = [e for e in drawing.edges if drawing.kinds[e[0]] in ("sum", "root")]
    assert len(of_sums) == weights


def test_products_multiply_what_the_layer_multiplies():
    """The first factor is the most significant digit of a product's number."""
    drawing = draw(stack(BALANCED))
    products = [n for n in drawing.of_kind("product") if drawing.scopes[n] == {0, 2}]
    for product in products:
        digits = [
            drawing.units[child]
            for variable in (2, 0)
            for parent, child in drawing.edges
            if parent == product and drawing.scopes[child] == {variable}
        ]
        assert drawing.units[product] == 2 * digits[0] + digits[1]


def test_nodes_of_a_row_do_not_touch():
    drawing = draw(CASES["deep"]().circuit)
    for level in range(drawing.num_levels):
        row = np.sort(drawing.x[np.array(drawing.levels) == level])
        assert np.all(np.diff(row) > 0)
        assert row.min() >= 0
        assert row.max() <= 1


def test_plot_circuit(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    ax = visualization.plot_circuit(stack(PADDED), title="padded")
    drawn = sum(len(marks.get_offsets()) for marks in ax.collections[1:])
    assert drawn == len(draw(stack(PADDED)).kinds)
    assert ax.get_title() == "padded"
    path = tmp_path / "circuit.png"
    ax.figure.savefig(path)
    assert path.stat().st_size > 5_000
    _, given = plt.subplots()
    again = visualization.plot_circuit(
        CASES["deep"]().distribution, given, show_padding=False, show_legend=False
    )
    assert again is given
    plt.close("all")


def test_the_module_of_libspn_keras_has_the_same_function():
    assert (
        tfp_spn.visualize.visualize_dense_spn
        is tfp_spn.visualization.visualize_dense_spn
    )


def test_visualize_dense_spn(tmp_path):
    pytest.importorskip("plotly")
    model = stack(PADDED)
    figure = visualization.visualize_dense_spn(model, show_legend=True, node_size=12)
    drawing, named = draw(model), {trace.name: trace for trace in figure.data}
    assert len(named["product"].x) == len(drawing.of_kind("product"))
    assert len(named["padding"].x) == 4
    assert named["sum"].marker.size <= 12
    assert figure.layout.showlegend is True
    assert len(figure.data[0].x) == 3 * len(drawing.edges)
    assert "3 of {0, 1, 2}" in " ".join(named["product"].hovertext)
    figure.write_html(tmp_path / "spn.html", include_plotlyjs=False)
    assert (tmp_path / "spn.html").stat().st_size > 5_000
    bare = visualization.visualize_dense_spn(
        model, show_padding=False, transparent=True
    )
    assert "padding" not in {trace.name for trace in bare.data}
    assert len(bare.data[0].x) < len(figure.data[0].x)
    assert bare.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert bare.layout.showlegend is False


def test_plotly_is_asked_for_by_name():
    code = "from tfp_spn import visualization\nvisualization.visualize_dense_spn(None)"
    done = run_program(code=code, hidden=["plotly"])
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: visualize_dense_spn draws with plotly")
    assert 'pip install "tfp_spn[visualization]"' in last


def test_errors():
    with pytest.raises(TypeError, match="nothing to draw in an object of type RegionG"):
        draw(region_graphs.fully_factorized(3))
    with pytest.raises(TypeError, match="nothing to draw in an object of type Dense"):
        draw(keras.layers.Dense(2))
    graph = region_graphs.fully_factorized(600)
    wide = tfp_spn.circuits.from_region_graph(graph, layers.BernoulliLeaf(10), 2)
    with pytest.raises(ValueError, match="more than 5000 nodes, too many to draw"):
        draw(wide)
