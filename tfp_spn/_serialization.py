"""How objects are saved by Keras, and what a file may call when they are loaded.

Keras describes an object by a dict of its module, class and config, and loads it by
calling whatever the dict names, functions included. Here each slot of a layer or model
says what it may hold, and a description is judged by the names in it before anything is
imported, made or called: see `deserialize`. Anywhere else within the config of one of
the package's classes nothing may be named but parts of models, and what was registered
by `keras.saving.register_keras_serializable`: see `register`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import keras

from tfp_spn._function_identity import function_identity
from tfp_spn._keras_typing import Constraint, Initializer, Regularizer
from tfp_spn._typing import Config

T = TypeVar("T")

# To make one of these does nothing but keep numbers and names.
_SETTINGS: tuple[type, ...] = (
    keras.constraints.Constraint,
    keras.dtype_policies.DTypePolicy,
    keras.initializers.Initializer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.random.SeedGenerator,
    keras.regularizers.Regularizer,
)
_PARTS: tuple[type, ...] = (
    *_SETTINGS,
    keras.Operation,  # which layers and models are
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.quantizers.QuantizationConfig,
    keras.quantizers.Quantizer,
)
_DATA = ("bytes", "ellipsis", "keras_tensor", "numpy", "slice", "tensor")
_FUNCTION_MODULES = (keras.activations, keras.losses, keras.metrics)
_FUNCTIONS = {
    name: value
    for module in _FUNCTION_MODULES
    for name, value in vars(module).items()
    if inspect.isfunction(value) and name not in ("deserialize", "get", "serialize")
}
# Ends of the names of slots that Keras itself fills, in layers and optimizers.
_SLOTS_OF_KERAS: dict[str, type] = {
    "constraint": keras.constraints.Constraint,
    "dtype": keras.dtype_policies.DTypePolicy,
    "initializer": keras.initializers.Initializer,
    "learning_rate": keras.optimizers.schedules.LearningRateSchedule,
    "regularizer": keras.regularizers.Regularizer,
}


class _Allowed(NamedTuple):
    """The objects that a file may name in some place.

    Attributes:
        bases: Base classes.
        functions: Whether registered functions.
        data: Whether arrays and the like.
        in_model: Whether functions that Keras' layers take, such as activations.
        registered: Whether any registered class.
    """

    bases: tuple[type, ...]
    functions: bool = False
    data: bool = False
    in_model: bool = False
    registered: bool = False

    def __str__(self) -> str:
        of = [f"{b.__module__.split('.')[0]} {b.__name__}" for b in self.bases]
        is_any = self.bases == _PARTS
        kinds = ["a part of a model"] if is_any else [f"a {name}" for name in of]
        kinds += ["a registered function"] * self.functions
        return " or ".join(kinds or ["numbers and names"])


_IN_SETTINGS = _Allowed(_SETTINGS, data=True)
_IN_KERAS = _Allowed(_PARTS, functions=True, data=True, in_model=True)
# The slots of ours are judged one by one by `deserialize`; what is registered by others
# deserializes its own.
_IN_REGISTERED = _IN_KERAS._replace(registered=True)
_METRICS = _Allowed(
    (keras.metrics.Metric, keras.losses.Loss), functions=True, in_model=True
)
# Those of `keras.Model.compile`; its other arguments are numbers and names.
_IN_COMPILE: dict[str, _Allowed] = {
    "optimizer": _Allowed((keras.optimizers.Optimizer,)),
    "loss": _Allowed((keras.losses.Loss,), functions=True, in_model=True),
    "metrics": _METRICS,
    "weighted_metrics": _METRICS,
}
_NOTHING = _Allowed((), data=True)


class _Named(NamedTuple):
    """A class or function that a description names; `None` if Keras knows none."""

    object: Callable | None
    is_registered: bool

    def fits(self, allowed: _Allowed) -> bool:
        """Whether it may be called."""
        if inspect.isclass(self.object):
            is_known = self.is_registered and allowed.registered
            return is_known or issubclass(self.object, allowed.bases)
        is_known = self.is_registered or allowed.in_model
        return allowed.functions and is_known and callable(self.object)

    @property
    def inside(self) -> _Allowed | None:
        """What its config may name; `None` if it is one of ours, which `register`."""
        if not inspect.isclass(self.object) or self.object.__module__.startswith(
            f"{__package__}."
        ):
            return None
        if self.is_registered:
            return _IN_REGISTERED
        return _IN_SETTINGS if issubclass(self.object, _SETTINGS) else _IN_KERAS


def register(cls: type[T]) -> type[T]:
    """Class decorator: makes `cls` known to Keras' saving as ``tfp_spn>Name``.

    Its `from_config` refuses a config that names anything but parts of models, and the
    `compile_from_config` of a model one that names what `compile` does not take.
    """
    registered: Any = cls
    build = registered.from_config.__func__

    @functools.wraps(build)
    def from_config(
        cls: object, config: object, *args: object, **kwargs: object
    ) -> Any:
        for slot, value in config.items() if isinstance(config, dict) else ():
            _check(cls, slot, value, _allowed_at(slot, _IN_REGISTERED))
        return build(cls, config, *args, **kwargs)

    registered.from_config = classmethod(from_config)
    if issubclass(cls, keras.Model):
        compile_model = registered.compile_from_config

        @functools.wraps(compile_model)
        def compile_from_config(self: object, config: object) -> None:
            for slot, value, allowed in _arguments_of_compile(config):
                _check(self, slot, value, allowed)
            compile_model(self, config)

        registered.compile_from_config = compile_from_config
    return keras.saving.register_keras_serializable("tfp_spn")(cls)


serialize: Callable[[object], Any] = keras.saving.serialize_keras_object
"""Describes a layer, initializer, rule or plain value, ready for JSON."""


def configuration_of(layer: keras.Operation, config: Config | None = None) -> Config:
    """Returns what tells a layer from another in function, ready for JSON.

    Args:
        layer: The layer.
        config: Its configuration. Default: what `get_config` returns.

    Returns:
        The name of its class, and its configuration without names and initial values.
    """
    try:
        config = layer.get_config() if config is None else config
    except NotImplementedError:  # it cannot be saved
        config = {}
    chosen = {
        key: described(value)
        for key, value in config.items()
        if key != "name" and not key.endswith(("initializer", "initializers"))
    }
    cls = type(layer)
    identity = {"class": keras.saving.get_registered_name(cls), **chosen}
    if _is_unknown(cls) and not cls.__module__.startswith("keras."):
        identity["code"] = function_identity(cls)["code"]
    return identity


def described(value: object) -> object:
    """Returns what tells a value from others, ready for JSON."""
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, dict):
        return {k: described(v) for k, v in value.items() if k != "module"}
    if callable(value) and not hasattr(value, "get_config") and _is_unknown(value):
        return function_identity(value)
    try:
        return _without_modules(serialize(value))
    except Exception:  # whatever a class does
        return function_identity(value)


def _is_unknown(value: object) -> bool:
    """Whether a class, function or other callable was not registered."""
    if not hasattr(value, "__qualname__"):
        return True
    name = keras.saving.get_registered_name(value)
    return keras.saving.get_registered_object(name) is None


def _without_modules(value: object) -> object:
    """Modules of the same class may differ between versions."""
    if isinstance(value, list | tuple):
        return [_without_modules(item) for item in value]
    if isinstance(value, dict):
        return {k: _without_modules(v) for k, v in value.items() if k != "module"}
    return value


def deserialize(
    owner: object, slot: str, value: object, *bases: type, functions: bool = False
) -> Any:
    """Restores the object of one slot; the inverse of `serialize`.

    Args:
        owner: The object that has the slot, or its class.
        slot: The name of the slot.
        value: A description, or the object itself.
        *bases: Base classes of what the slot may hold.
        functions: Whether it may also hold a registered function.

    Raises:
        ValueError: The description, or one within it, names something else.
    """
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    allowed = _Allowed(bases, functions)
    _check(owner, slot, value, allowed)
    made = keras.saving.deserialize_keras_object(value)
    if not (isinstance(made, bases) or made is _named(value).object):
        # Keras found an object that the file shares with another slot.
        raise _refusal(owner, slot, value, allowed)
    return made


def initializer_of(owner: object, slot: str, value: object) -> Initializer:
    """A Keras initializer by its description, name or itself; `None` for `None`."""
    value = _of_kind(owner, slot, value, keras.initializers.Initializer)
    return keras.initializers.get(value)


def constraint_of(owner: object, slot: str, value: object) -> Constraint | None:
    """A Keras constraint by its description, name or itself; `None` for `None`."""
    value = _of_kind(owner, slot, value, keras.constraints.Constraint)
    return keras.constraints.get(value)


def regularizer_of(owner: object, slot: str, value: object) -> Regularizer | None:
    """A Keras regularizer by its description, name or itself; `None` for `None`."""
    value = _of_kind(owner, slot, value, keras.regularizers.Regularizer)
    return keras.regularizers.get(value)


def _of_kind(owner: object, slot: str, value: object, base: type) -> object:
    if isinstance(value, str):
        _check(owner, slot, value, _Allowed((base,), functions=True))
    return deserialize(owner, slot, value, base, functions=True)


def _allowed_at(slot: str, otherwise: _Allowed) -> _Allowed:
    for end, base in _SLOTS_OF_KERAS.items():
        if slot.endswith(end):
            return _Allowed((base,), functions=True)
    return otherwise


def _arguments_of_compile(config: object) -> list[tuple[str, object, _Allowed]]:
    """Name, description and what may be named, of each; of the whole if it is odd."""
    if not isinstance(config, dict) or "class_name" in config:
        return [("compile_config", config, _NOTHING)]
    return [(k, v, _IN_COMPILE.get(k, _NOTHING)) for k, v in config.items()]


def _check(owner: object, slot: str, value: object, allowed: _Allowed) -> None:
    """Refuses descriptions, at any depth, of what is not allowed where they are."""
    waiting: list[tuple[object, _Allowed]] = [(value, allowed)]
    while waiting:  # no recursion: the depth is the file's choice
        part, allowed = waiting.pop()
        if isinstance(part, str) and not allowed.data:  # a name, to a slot of Keras
            named = _Named(keras.saving.get_registered_object(part), True)
            if named.object is not None and not named.fits(allowed):
                raise _refusal(owner, slot, part, allowed)
        elif isinstance(part, list | tuple):
            waiting.extend((item, allowed) for item in part)
        elif isinstance(part, dict) and ("class_name" not in part or _is_data(part)):
            if "class_name" in part and not allowed.data:
                raise _refusal(owner, slot, part, allowed)
            waiting.extend((item, allowed) for item in part.values())
        elif isinstance(part, dict):
            named, config = _named(part), part.get("config")
            if not named.fits(allowed):
                raise _refusal(owner, slot, part, allowed)
            compiled = _arguments_of_compile(part.get("compile_config"))
            waiting.extend((v, of_argument) for _, v, of_argument in compiled)
            others = part.keys() - {"config", "compile_config"}
            waiting.extend((part[k], _IN_KERAS) for k in others)
            if named.inside is _IN_KERAS and isinstance(config, dict):
                waiting.extend(
                    (v, _allowed_at(k, _IN_KERAS)) for k, v in config.items()
                )
            elif named.inside is not None:
                waiting.append((config, named.inside))


def _is_data(description: Config) -> bool:
    return description["class_name"] in [f"__{kind}__" for kind in _DATA]


def _named(description: Config) -> _Named:
    """Returns the object that Keras would call; nothing is imported to find it."""
    name, module = description["class_name"], description.get("module")
    registered_name = description.get("registered_name", name)
    if str(name).startswith("__"):  # which Keras reads in a way of its own
        return _Named(None, is_registered=False)
    is_function = name == "function"
    if is_function:
        registered_name = name = description.get("config")
    found: Callable | None = None
    if isinstance(registered_name, str):
        found = keras.saving.get_registered_object(registered_name)
    is_registered = found is not None
    if not is_registered and isinstance(name, str) and isinstance(module, str):
        if is_function:
            modules = ["builtins", *(m.__name__ for m in _FUNCTION_MODULES)]
            found = _FUNCTIONS.get(name) if module in modules else None
        elif module.split(".")[0] == "keras" and module in sys.modules:
            found = vars(sys.modules[module]).get(name)
    if inspect.isclass(found) == is_function:  # Keras would take one for the other
        found = None
    return _Named(found, is_registered)


def _refusal(owner: object, slot: str, value: object, allowed: _Allowed) -> ValueError:
    name = (owner if inspect.isclass(owner) else type(owner)).__name__
    if isinstance(value, dict):
        keys = ("module", "class_name", "config", "registered_name")
        value = {k: value[k] for k in keys if isinstance(value.get(k), str)}
    return ValueError(
        f"{name}: {slot} names what loading must not call, received "
        f"{str(value)[:200]}, expected {allowed}. If it is your own, register it by "
        "@keras.saving.register_keras_serializable(package) before loading; if it is "
        "not, distrust the file."
    )
