"""Keras layers whose output is a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._arguments import LARGEST_SEED, a_seed, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, ShapeLike, Tensor, TensorLike
from tfp_spn.distributions._tensor_outputs import check_caller_takes_distributions

_STATISTICS = ("mean", "mode", "stddev", "variance")
_OUTPUTS = ("distribution", "sample", *_STATISTICS)


class DistributionOutput:
    """Mixin of Keras layers that return a distribution.

    Keras asks symbolic layers for the shape of a tensor. It is told that of a sample,
    and a functional or Sequential model that ends in such a layer returns the
    distribution itself.
    """

    def __call__(self, *args: object, **kwargs: object) -> Tensor:
        """Calls the layer; what it returns has the shape that Keras was told."""
        output = super().__call__(*args, **kwargs)  # type: ignore[misc]
        if not isinstance(output, tfd.Distribution):
            return output
        check_caller_takes_distributions(self)
        if isinstance(output.dtype, tf.DType):
            # Keras weighs the losses of several outputs by the examples in each.
            output.shape = output.batch_shape.concatenate(output.event_shape)
        return output

    def compute_output_spec(self, *args: object, **kwargs: object) -> keras.KerasTensor:
        """Symbolic output: a sample in the place of the distribution."""
        failures: list[Exception] = []

        def placeholder(*args: object, **kwargs: object) -> keras.KerasTensor:
            try:
                return _placeholder(self.call(*args, **kwargs))  # type: ignore[attr-defined]
            except Exception as error:
                failures.append(error)
                raise

        try:
            return _Function(placeholder).compute_output_spec(*args, **kwargs)
        except Exception:
            if failures:  # as it was, not as a part of Keras' advice
                raise failures[0] from None
            raise


@register
class DistributionLayer(DistributionOutput, keras.layers.Layer):
    """A layer that makes a distribution of its inputs, for any model of Keras 3.

    What `tfp.layers.DistributionLambda` is to tf_keras. The model that the layer ends,
    functional, Sequential or subclassed, returns the distribution; the loss
    `tfp_spn.losses.NegativeLogLikelihood` trains it on targets ``y`` by ``-log p(y)``.
    In the middle of a functional model, where only tensors may flow,
    ``output="sample"`` and the like make a tensor of it. (Keras' `predict` and `export`
    take tensors only, and refuse: call the model instead, or use such an output.)

    Args:
        make_distribution: Maps the layer's inputs to a `tfd.Distribution`: a function,
            or a Keras layer, whose weights are then the model's. A function that is to
            be saved must be registered by `keras.saving.register_keras_serializable`,
            and must not hold variables: Keras would not find them.
        output: ``"distribution"``; or ``"sample"``, ``"mean"``, ``"mode"``,
            ``"stddev"`` or ``"variance"`` for that tensor; or a (registered) function
            from distributions to tensors.
        seed: Of samples, an int; default: a random one.
        **kwargs: Passed on to `keras.layers.Layer`.

    Input shape:
        What `make_distribution` takes; a list of inputs is a list of arguments.

    Output shape:
        A distribution, or ``[*batch_shape, *event_shape]``.

    Raises:
        TypeError: If `make_distribution` is not callable or makes something else.
        ValueError: If `output` is unknown; on saving, if a function is not registered.

    Example:
        >>> import keras, tensorflow as tf, tensorflow_probability as tfp, tfp_spn
        >>> def make_normal(h):
        ...     return tfp.distributions.Normal(h[..., 0], tf.math.softplus(h[..., 1]))
        >>> model = keras.Sequential([
        ...     keras.Input((3,)), keras.layers.Dense(2),
        ...     tfp_spn.distributions.DistributionLayer(make_normal)])
        >>> model(tf.zeros([5, 3])).batch_shape
        TensorShape([5])
        >>> model.compile("adam", tfp_spn.losses.NegativeLogLikelihood())
        >>> history = model.fit(tf.zeros([8, 3]), tf.ones([8]), verbose=0)
    """

    @reads(seed=a_seed(most=LARGEST_SEED))
    def __init__(
        self,
        make_distribution: Callable[..., tfd.Distribution],
        output: str | Callable[[tfd.Distribution], Tensor] = "distribution",
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        if not callable(make_distribution):
            raise TypeError(
                "DistributionLayer: make_distribution must map tensors to a "
                f"tfd.Distribution, received {make_distribution!r}. Pass a function, "
                "for example one that returns tfd.Normal(h[..., 0], 1.0)."
            )
        if not (callable(output) or output in _OUTPUTS):
            raise ValueError(
                f"DistributionLayer: received output={output!r}, expected one of "
                f"{list(_OUTPUTS)} or a function of the distribution."
            )
        self.make_distribution = make_distribution
        self.output_of = output
        self.seed = seed
        self.seed_generator = None
        if output == "sample":
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: ShapeLike) -> None:
        make = self.make_distribution
        if isinstance(make, keras.layers.Layer) and not make.built:
            make.build(input_shape)
        self.built = True

    def call(self, inputs: TensorLike) -> Tensor:
        """The distribution, or what `output` asks of it."""
        several = isinstance(inputs, list | tuple)
        make = self.make_distribution
        distribution = make(*inputs) if several else make(inputs)
        if not isinstance(distribution, tfd.Distribution):
            raise TypeError(
                f'DistributionLayer "{self.name}": make_distribution returned '
                f"{type(distribution).__name__}, expected a tfd.Distribution."
            )
        if self.output_of == "distribution":
            return distribution
        if self.output_of == "sample":
            return distribution.sample(seed=_next_seed(self.seed_generator))
        if callable(self.output_of):
            return self.output_of(distribution)
        return getattr(distribution, self.output_of)()

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        make, output = self.make_distribution, self.output_of
        for function in (make, output):
            _check_serializable(function, self.name)
        return {
            **super().get_config(),
            "make_distribution": serialize(make),
            "output": output if isinstance(output, str) else serialize(output),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DistributionLayer:
        config = dict(config)
        key, base = "make_distribution", keras.layers.Layer
        config[key] = deserialize(cls, key, config.get(key), base, functions=True)
        key = "output"
        config[key] = deserialize(cls, key, config.get(key), functions=True)
        return cls(**config)


class _Function(keras.Operation):
    """A function as Keras' shape inference wants it."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.call = function


def _placeholder(output: tfd.Distribution | Tensor) -> keras.KerasTensor:
    """Tensors pass; of a distribution, zeros of the shape of a sample."""
    if not isinstance(output, tfd.Distribution):
        return output
    if not isinstance(output.dtype, tf.DType):  # a joint distribution
        return output.sample(seed=(0, 0))
    shape = tf.concat([output.batch_shape_tensor(), output.event_shape_tensor()], 0)
    static = output.batch_shape.concatenate(output.event_shape)
    return tf.ensure_shape(tf.zeros(shape, output.dtype), static)


def _next_seed(generator: keras.random.SeedGenerator) -> Tensor:
    """An int32 pair, as TFP takes it (Keras' are wider)."""
    return tf.cast(generator.next(), tf.int32)


def _check_serializable(function: object, name: str) -> None:
    """Raises unless a file can name the function."""
    if isinstance(function, str | keras.layers.Layer):
        return
    if keras.saving.get_registered_name(function) == getattr(
        function, "__name__", None
    ):
        raise ValueError(
            f'DistributionLayer "{name}": cannot be saved, received {function!r}, '
            "expected a registered function. Decorate a named function with "
            "@keras.saving.register_keras_serializable(package)."
        )
