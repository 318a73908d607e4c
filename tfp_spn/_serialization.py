"""Registration of classes with Keras, under the package's name."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

T = TypeVar("T")


def register(cls: type[T]) -> type[T]:
    """Class decorator: makes `cls` known to Keras' saving as ``tfp_spn>Name``."""
    return keras.saving.register_keras_serializable("tfp_spn")(cls)


def serialize(value: Any) -> Any:
    """A JSON-able description of a layer, initializer, rule or plain value."""
    return keras.saving.serialize_keras_object(value)


def deserialize(value: Any) -> Any:
    """Inverse of `serialize`; what is not a description is returned as it is."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
