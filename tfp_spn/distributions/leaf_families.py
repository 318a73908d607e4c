"""TFP families of the components of leaf layers, as version 0.1 registered them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Params


class _Registry:
    """What was a `functools.singledispatch` function is a method of leaf layers now."""

    def __call__(self, leaf: Any, rows: Params) -> Distribution:
        """Returns ``leaf.component_distribution(rows)``."""
        return leaf.component_distribution(rows)

    def register(self, kind: type, function: Callable | None = None) -> Any:
        """Makes a function the method `component_distribution` of a leaf layer."""
        if function is None:
            return lambda function: self.register(kind, function)
        warnings.warn(
            "leaf_families.component_distribution.register will go: give your leaf "
            f"layer {kind.__name__} a method component_distribution(rows) instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        kind.component_distribution = (  # type: ignore[attr-defined]
            lambda self, rows: function(self, rows)
        )
        return function


component_distribution = _Registry()
