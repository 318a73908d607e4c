"""Which optimizer a checkpoint is of."""

from __future__ import annotations

import inspect

import keras

from tfp_spn._serialization import described

_NUMBERED = ("built", "name")  # by Keras


def optimizer_identity(optimizer: keras.optimizers.Optimizer) -> dict[str, str]:
    """Describes an optimizer's class and settings, as far as they can be saved."""
    rate = getattr(optimizer, "_learning_rate", None)
    try:
        config = dict(optimizer.get_config())
    except Exception:  # of a schedule, for one
        config = {
            k: v for k, v in map(_known, vars(optimizer).items()) if v is not None
        }
        config["learning_rate"] = described(rate)
    if inspect.isroutine(rate):
        config["learning_rate"] = described(rate)
    config["class"] = type(optimizer)
    for name in _NUMBERED:
        config.pop(name, None)
    return {key: str(value) for key, value in sorted(config.items())}


def _known(item: tuple[str, object]) -> tuple[str, object]:
    name, value = item
    if isinstance(value, keras.optimizers.Optimizer):
        return name, optimizer_identity(value)
    is_setting = isinstance(value, bool | int | float | str)
    return name, value if is_setting and not name.startswith("_") else None
