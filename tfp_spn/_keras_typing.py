"""Types of the objects of Keras that layers and models are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypedDict

import keras

from tfp_spn._typing import Config, DTypeLike, Tensor

Initializer: TypeAlias = keras.initializers.Initializer | Callable[..., Tensor]
Constraint: TypeAlias = keras.constraints.Constraint
Regularizer: TypeAlias = keras.regularizers.Regularizer

InitializerLike: TypeAlias = Initializer | Config | str | None
"""An initializer, its configuration or its name; `None` for the default."""

ConstraintLike: TypeAlias = Constraint | Config | str | None
"""A constraint, its configuration or its name; `None` for the default."""

RegularizerLike: TypeAlias = Regularizer | Config | str | None
"""A regularizer, its configuration or its name; `None` for none."""

OptimizerLike: TypeAlias = keras.optimizers.Optimizer | Config | str | None
"""An optimizer, its configuration or its name; `None` for the default."""


class LayerOptions(TypedDict, total=False):
    """The arguments that every layer of Keras takes."""

    name: str | None
    dtype: DTypeLike | keras.DTypePolicy
    trainable: bool
    autocast: bool
    activity_regularizer: RegularizerLike
