"""The names at the top of the package."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import tfp_spn

OWN = {
    "DynamicSumProductNetwork",
    "SumProductNetwork",
    "dynamic_from_circuit",
    "export_saved_model",
    "fit",
    "from_layers",
    "from_nan",
    "from_region_graph",
    "learn",
}
HEADING = "Names of LibSPN-Keras\n"
GUIDE = Path(__file__).resolve().parents[1] / "examples" / "from_libspn_keras.md"


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_what_a_program_needs_stands_at_the_top():
    circuit = tfp_spn.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(2),
        tfp_spn.layers.BernoulliLeaf(2),
        num_sums=2,
        num_classes=2,
    )
    chain = tfp_spn.dynamic_from_circuit(circuit, num_steps=2)
    assert tfp_spn.SumProductNetwork(circuit).event_shape == [2]
    assert tfp_spn.DynamicSumProductNetwork(chain).event_shape == [2, 2]
    assert tfp_spn.fit is tfp_spn.learning.fit
    assert tfp_spn.from_layers is tfp_spn.circuits.from_layers


def test_names_of_the_predecessor_have_one_heading():
    flat = {
        name
        for name in set(tfp_spn.__all__) - OWN - {"__version__"}
        if name == "visualize_dense_spn"  # loaded on first use
        or not inspect.ismodule(getattr(tfp_spn, name))
    }
    for text in (tfp_spn.__doc__, GUIDE.read_text(encoding="utf-8")):
        before, after = text.split(HEADING)
        section = after.split("\n## ")[0]
        assert flat <= names_in(section)
        assert not flat & names_in(before)
