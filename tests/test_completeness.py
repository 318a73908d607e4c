"""Nothing public is left out: new names must join a registry or a test."""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.cases import CASES
from tfp_spn import (
    circuits,
    config,
    constraints,
    distributions,
    initializers,
    layers,
    learning,
    metrics,
    models,
    region_graphs,
    structure,
    sum_ops,
    visualization,
)

TESTS = Path(__file__).resolve().parent


@functools.cache
def exercised() -> tuple[Any, ...]:
    """Every object that the registry's circuits and distributions are made of."""
    objects: list[Any] = []
    for make in CASES.values():
        case = make()
        objects += [case.circuit, case.distribution]
        objects.extend(getattr(case.circuit, "stack", ()))
        objects += case.circuit._flatten_layers(include_self=False)
        objects += [spec.rule for spec in case.circuit.program.sum_specs]
    return tuple(objects)


@functools.cache
def identifiers(path: Path) -> frozenset[str]:
    """Names and attributes that the code of a file uses; comments do not count."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return frozenset(names)


def used_in(name: str, *paths: Path) -> bool:
    return any(name in identifiers(path) for path in paths)


# Public layers that are no part of a circuit of the registry, and who tests them.
LAYERS_TESTED_ELSEWHERE = {
    "InputDropout": TESTS / "layers" / "test_dropout.py",
    "LogDropout": TESTS / "layers" / "test_dropout.py",
    "NormalizeAxes": TESTS / "layers" / "test_normalize_standard_score.py",
    "NormalizeStandardScore": (TESTS / "layers" / "test_normalize_standard_score.py"),
    "PermuteAndPadScopes": TESTS / "layers" / "test_region_layers.py",
    "TemporalDenseProduct": TESTS / "layers" / "test_temporal_dense_product.py",
}

# Layers that return distributions, which are in the registry.
LAYERS_OF_DISTRIBUTIONS = {
    "ConditionalSumProductNetwork": TESTS / "distributions" / "test_conditional.py",
    "DistributionLayer": TESTS / "distributions" / "test_distribution_layer.py",
}

PUBLIC_CLASSES = {
    f"{module.__name__.split('.')[-1]}.{name}": getattr(module, name)
    for module in (layers, circuits, distributions, sum_ops)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
}


@pytest.mark.parametrize("name", PUBLIC_CLASSES)
def test_class_is_in_the_registry(name):
    short = name.split(".")[-1]
    elsewhere = {**LAYERS_TESTED_ELSEWHERE, **LAYERS_OF_DISTRIBUTIONS}
    if short in elsewhere:
        assert used_in(short, elsewhere[short])
        return
    assert any(isinstance(thing, PUBLIC_CLASSES[name]) for thing in exercised()), (
        f"tests/cases.py builds no {name}: add a case"
    )


@pytest.mark.parametrize("name", LAYERS_TESTED_ELSEWHERE)
def test_exceptions_are_public(name):
    assert name in layers.__all__


@pytest.mark.parametrize("name", circuits.__all__)
def test_circuit_builder_is_used_by_the_registry(name):
    if name == "clear_traces":
        assert used_in(name, TESTS / "programs" / "test_traces.py")
    elif name == "assign_log_weights":
        assert used_in(name, TESTS / "circuits" / "test_region_weights.py")
    elif inspect.isfunction(getattr(circuits, name)):
        assert used_in(name, TESTS / "cases.py")


@pytest.mark.parametrize("name", region_graphs.__all__)
def test_generator_is_in_the_registry_of_region_graphs(name):
    folder = TESTS / "region_graphs"
    public = getattr(region_graphs, name)
    makes_graphs = inspect.isfunction(public) and (
        inspect.signature(public).return_annotation in ("RegionGraph", "r.RegionGraph")
    )
    if makes_graphs:
        assert used_in(name, folder / "region_graph_examples.py")
    else:
        assert used_in(name, *folder.glob("*.py"))


# Units whose own folder of tests names every public thing.
UNITS_WITH_A_FOLDER = [
    config,
    constraints,
    initializers,
    metrics,
    models,
    structure,
    visualization,
]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (module.__name__.split(".")[-1], name)
        for module in UNITS_WITH_A_FOLDER
        for name in module.__all__
    ],
)
def test_unit_is_used_by_its_tests(folder, name):
    assert used_in(name, *(TESTS / folder).glob("*.py"))


# Parts of learning that tests reach through another public name.
REACHED_THROUGH = {
    "Batch": "Batches",
    "GradientAscent": "fit",
    "History": "fit",
    "add_expectations": "fit",
}


@pytest.mark.parametrize("name", learning.__all__)
def test_learning_is_used_by_its_tests(name):
    files = (TESTS / "learning").glob("*.py")
    assert used_in(REACHED_THROUGH.get(name, name), *files)
