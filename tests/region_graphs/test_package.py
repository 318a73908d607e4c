"""The folder as a whole: its imports, its public list and its examples."""

import ast
import doctest
import importlib
import pathlib

import pytest

from tfp_spn import region_graphs

FOLDER = pathlib.Path(region_graphs.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
ALLOWED = {"__future__", "collections", "json", "numpy", "operator", "os", "pathlib"}
ALLOWED |= {"itertools", "reprlib", "scipy", "typing"}  # never TensorFlow


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_tensorflow_is_imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module]
        for name in names:
            # The private modules know NumPy only.
            inside = name.startswith("tfp_spn.region_graphs") or name in (
                "tfp_spn._arrays",
                "tfp_spn._arguments",
                "tfp_spn._masks",
            )
            assert inside or name.split(".")[0] in ALLOWED, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_are_short_and_ascii(path):
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert len(text.splitlines()) <= 300


def test_public_list():
    assert sorted(region_graphs.__all__) == region_graphs.__all__
    for name in region_graphs.__all__:
        assert getattr(region_graphs, name).__doc__


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_doctests(path):
    module = importlib.import_module(f"tfp_spn.region_graphs.{path.stem}")
    assert doctest.testmod(module).failed == 0
    if path.stem in region_graphs.__all__:
        assert doctest.testmod(module).attempted > 0
