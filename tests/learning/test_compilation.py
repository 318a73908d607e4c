"""Which fits XLA compiles unless somebody says."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tfp_spn import circuits, layers, region_graphs
from tfp_spn.learning import fit
from tfp_spn.learning.compilation import is_worth_compiling
from tfp_spn.programs.traces import Traces


def circuit_of(num_variables: int, num_units: int):
    graph = region_graphs.random_binary_trees(num_variables, 2, 4, seed=0)
    return circuits.from_region_graph(
        graph, layers.NormalLeaf(num_units), num_sums=num_units
    )


def test_long_fits_of_large_circuits_are_worth_it():
    small, large = circuit_of(8, 2).program, circuit_of(256, 32).program
    assert not is_worth_compiling(small, 10_000, 50)
    assert is_worth_compiling(large, 1_000_000, 50)
    assert not is_worth_compiling(large, 1_000_000, 0)
    assert not is_worth_compiling(large, 10, 50)
    # So that a fit that goes on with more epochs computes what an unbroken one does.
    assert is_worth_compiling(large, 9_000, 10) == is_worth_compiling(large, 9_000, 99)


@pytest.mark.parametrize("wanted", [None, True, False])
def test_fit_asks_unless_it_is_told(wanted, monkeypatch):
    found = set()
    call = Traces.call

    def noted(self, body, certainty, *arguments, **options):
        if "jit_compile" in options:
            found.add(options["jit_compile"])
        return call(self, body, certainty, *arguments)

    monkeypatch.setattr(Traces, "call", noted)
    module = sys.modules[fit.__module__]
    monkeypatch.setattr(module, "is_worth_compiling", lambda *sizes: sizes[-1] == 3)
    x = np.zeros([4, 8], np.float32)
    fit(circuit_of(8, 2), x, epochs=3, verbose=False, jit_compile=wanted)
    assert found == {True if wanted is None else wanted}
