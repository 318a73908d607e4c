"""The initializer of weights of sums that are given none."""

from __future__ import annotations

from typing import Any

import keras

from tfp_spn.config.default import Default, Replacement
from tfp_spn.initializers.dirichlet import Dirichlet

_DEFAULT: Default[Any] = Default(Dirichlet(axis=-2, alpha=0.2))


def set_default_accumulator_initializer(initializer: Any) -> Replacement[Any]:
    """Sets the initializer of weights of layers made without one.

    Args:
        initializer: A Keras initializer, of the *weights* (layers that store
            logarithms take them), or its name.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `initializer` is no initializer.

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
    return _DEFAULT.replace(found)


def get_default_accumulator_initializer() -> Any:
    """The initializer of weights of layers made without one.

    Returns:
        A new initializer at each call, so that layers with equal shapes do not draw
        equal weights (unless it has a seed): `Dirichlet(alpha=0.2)` if none was set.
    """
    default = _DEFAULT.value
    return type(default).from_config(default.get_config())
