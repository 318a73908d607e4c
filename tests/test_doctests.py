"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("tfp_spn.layers.", "tfp_spn.initializers.", "tfp_spn.constraints.")


def modules() -> list[str]:
    """All that hold an example; those of `region_graphs` have a test of their own."""
    names = []
    for path in sorted((ROOT / "tfp_spn").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts).removesuffix(".__init__"))
    return [name for name in names if not name.startswith("tfp_spn.region_graphs")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow)
        for name in modules()
    ],
)
def test_doctests(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
