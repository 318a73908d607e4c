"""The constraints of accumulators of sums that are given none."""

from __future__ import annotations

from typing import Any

import keras

from tfp_spn.config.default import Default, Replacement
from tfp_spn.constraints.greater_equal_epsilon import GreaterEqualEpsilon

_LINEAR: Default[Any] = Default(GreaterEqualEpsilon(1e-10))
_LOGSPACE: Default[Any] = Default(None)


def set_default_linear_accumulators_constraint(constraint: Any) -> Replacement[Any]:
    """Sets the constraint of linear accumulators of layers made without one.

    Args:
        constraint: A Keras constraint.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `constraint` is no constraint.
    """
    name = "set_default_linear_accumulators_constraint"
    return _LINEAR.replace(_checked(name, constraint))


def get_default_linear_accumulators_constraint() -> Any:
    """The constraint of linear accumulators of layers made without one.

    Returns:
        The constraint, ``GreaterEqualEpsilon(1e-10)`` unless another was set.
    """
    return _LINEAR.value


def set_default_logspace_accumulators_constraint(constraint: Any) -> Replacement[Any]:
    """Sets the constraint of logarithmic accumulators of layers made without one.

    Args:
        constraint: A Keras constraint, or `None` for none.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `constraint` is no constraint.
    """
    name = "set_default_logspace_accumulators_constraint"
    if constraint is not None:
        constraint = _checked(name, constraint)
    return _LOGSPACE.replace(constraint)


def get_default_logspace_accumulators_constraint() -> Any:
    """The constraint of logarithmic accumulators of layers made without one.

    Returns:
        The constraint; `None`, as weights are normalised when they are read, unless one
        was set (LibSPN-Keras has `LogNormalized` here).
    """
    return _LOGSPACE.value


def _checked(name: str, constraint: Any) -> Any:
    if not isinstance(constraint, keras.constraints.Constraint):
        raise TypeError(
            f"{name}: received {constraint!r}, expected a Keras constraint. Pass, for "
            "example, tfp_spn.constraints.GreaterEqualEpsilon(1e-10)."
        )
    return constraint
