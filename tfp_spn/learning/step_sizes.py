"""Step sizes of online EM by name, and their defaults.

Any `keras.optimizers.schedules.LearningRateSchedule` is a step size, too, and any
function of the number of steps. Steps that fall to zero average over ever more batches:
the noise that a constant step leaves in the parameters goes away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import keras

from tfp_spn._typing import TensorLike

StepSizeName = Literal["constant", "linear", "cosine"]
StepSize: TypeAlias = float | Callable[[int], TensorLike]

STEP_SIZES = ("constant", "linear", "cosine")
_CONSTANT = 0.1
_HIGHEST = 0.5


def named_step_size(name: str, num_updates: int | None) -> StepSize:
    """The step size of a name.

    Args:
        name: ``"constant"`` (0.1), ``"linear"`` or ``"cosine"``: from 0.5 to zero
            within the fit.
        num_updates: Steps of the fit.

    Raises:
        ValueError: The fit has no known end.
    """
    if name == "constant":
        return _CONSTANT
    if num_updates is None:
        raise ValueError(
            f"fit: a step size that falls to zero needs an end, received step_size="
            f"{name!r} with a dataset and epochs, expected num_updates. Pass "
            "num_updates, or a schedule of your own."
        )
    steps = max(1, num_updates)
    if name == "linear":
        return keras.optimizers.schedules.PolynomialDecay(_HIGHEST, steps, 0.0)
    return keras.optimizers.schedules.CosineDecay(_HIGHEST, steps)
