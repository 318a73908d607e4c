"""Defaults of sum layers that are made without an explicit argument.

Each ``set_default_*`` takes effect at once and for good, or, in a ``with`` statement,
until its end:

    tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop())
    with tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop()): ...

A layer takes the defaults when it is constructed and holds them from then on: its
config names them, so that a saved model does not depend on the defaults of the process
that loads it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

import keras

from tfp_spn._keras_typing import Constraint, Initializer
from tfp_spn.constraints import GreaterEqualEpsilon
from tfp_spn.initializers.dirichlet import Dirichlet
from tfp_spn.sum_ops import SumOpGradBackprop, SumRule

__all__ = [
    "get_default_accumulator_initializer",
    "get_default_linear_accumulators_constraint",
    "get_default_logspace_accumulators_constraint",
    "get_default_sum_op",
    "set_default_accumulator_initializer",
    "set_default_linear_accumulators_constraint",
    "set_default_logspace_accumulators_constraint",
    "set_default_sum_op",
]


T = TypeVar("T")


class Default(Generic[T]):
    """Holds a value; see `tfp_spn.config` for how it is used.

    Args:
        value: The first value.
    """

    def __init__(self, value: T) -> None:
        self.value = value

    def replace(self, value: T) -> Replacement[T]:
        """Sets the value, and returns what sets it back."""
        replacement = Replacement(self, self.value)
        self.value = value
        return replacement


class Replacement(Generic[T]):
    """A default that was set: as a context manager, until the end of the block.

    Args:
        default: The default.
        previous: What it was before.
    """

    def __init__(self, default: Default[T], previous: T) -> None:
        self._default = default
        self._previous = previous

    def __enter__(self) -> T:
        return self._default.value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._default.value = self._previous


_SUM_OP: Default[SumRule] = Default(SumOpGradBackprop())


def set_default_sum_op(op: SumRule) -> Replacement[SumRule]:
    """Sets the learning rule of layers and circuits made without `sum_op`.

    Args:
        op: The rule.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `op` is not a learning rule.

    Example:
        >>> import tfp_spn
        >>> with tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop()):
        ...     layer = tfp_spn.layers.DenseSum(4)
        >>> layer.sum_op, tfp_spn.layers.DenseSum(4).sum_op
        (SumOpEMBackprop(), SumOpGradBackprop(logspace_accumulators=None))
    """
    if not isinstance(op, SumRule):
        raise TypeError(
            f"set_default_sum_op: received {op!r}, expected a learning rule. Pass, for "
            "example, tfp_spn.SumOpEMBackprop()."
        )
    return _SUM_OP.replace(op)


def get_default_sum_op() -> SumRule:
    """The learning rule of layers made without `sum_op`.

    Returns:
        The rule, `SumOpGradBackprop` unless another was set.
    """
    return _SUM_OP.value


_INITIALIZER: Default[keras.initializers.Initializer | None] = Default(None)


def set_default_accumulator_initializer(
    initializer: Initializer,
) -> Replacement[Initializer]:
    """Sets the initializer of weights of layers made without one.

    Args:
        initializer: A Keras initializer, of the *weights* (layers that store
            logarithms take them), or its name.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `initializer` is not an initializer.

    Example:
        >>> import keras, tfp_spn
        >>> with tfp_spn.set_default_accumulator_initializer(
        ...     keras.initializers.TruncatedNormal(mean=1.0, stddev=0.5)):
        ...     layer = tfp_spn.layers.DenseSum(4)
        >>> type(layer.accumulator_initializer).__name__
        'TruncatedNormal'
    """
    found = keras.initializers.get(initializer)
    if not isinstance(found, keras.initializers.Initializer):
        raise TypeError(
            f"set_default_accumulator_initializer: received {initializer!r}, expected "
            "a Keras initializer. Pass, for example, "
            "tfp_spn.initializers.Dirichlet(alpha=1.0)."
        )
    return _INITIALIZER.replace(found)


def get_default_accumulator_initializer() -> Initializer:
    """The initializer of weights of layers made without one.

    Returns:
        A new initializer at each call, so that layers with equal shapes do not draw
        equal weights (unless it has a seed): `Dirichlet(alpha=0.2)` if none was set.
    """
    default = _INITIALIZER.value
    if default is None:
        return Dirichlet(axis=-2, alpha=0.2)
    return type(default).from_config(default.get_config())


def default_root_initializer() -> Initializer:
    """The initializer of weights of a root in a stack, made without one.

    Returns:
        Equal weights, which are a uniform prior of classes, if no default was set.
    """
    if _INITIALIZER.value is None:
        return keras.initializers.Constant(1.0)
    return get_default_accumulator_initializer()


_LINEAR: Default[Constraint] = Default(GreaterEqualEpsilon(1e-10))
_LOGSPACE: Default[Constraint | None] = Default(None)


def set_default_linear_accumulators_constraint(
    constraint: object,
) -> Replacement[Constraint]:
    """Sets the constraint of linear accumulators of layers made without one.

    Args:
        constraint: A Keras constraint.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `constraint` is not a constraint.
    """
    name = "set_default_linear_accumulators_constraint"
    return _LINEAR.replace(_checked(name, constraint))


def get_default_linear_accumulators_constraint() -> Constraint:
    """The constraint of linear accumulators of layers made without one.

    Returns:
        The constraint, ``GreaterEqualEpsilon(1e-10)`` unless another was set.
    """
    return _LINEAR.value


def set_default_logspace_accumulators_constraint(
    constraint: object,
) -> Replacement[Constraint | None]:
    """Sets the constraint of logarithmic accumulators of layers made without one.

    Args:
        constraint: A Keras constraint, or `None` for none.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `constraint` is not a constraint.
    """
    name = "set_default_logspace_accumulators_constraint"
    if constraint is not None:
        constraint = _checked(name, constraint)
    return _LOGSPACE.replace(constraint)


def get_default_logspace_accumulators_constraint() -> Constraint | None:
    """The constraint of logarithmic accumulators of layers made without one.

    Returns:
        The constraint; `None`, as weights are normalised when they are read, unless one
        was set (LibSPN-Keras has `LogNormalized` here).
    """
    return _LOGSPACE.value


def _checked(name: str, constraint: object) -> Constraint:
    if not isinstance(constraint, keras.constraints.Constraint):
        raise TypeError(
            f"{name}: received {constraint!r}, expected a Keras constraint. Pass, for "
            "example, tfp_spn.constraints.GreaterEqualEpsilon(1e-10)."
        )
    return constraint
