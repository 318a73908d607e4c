"""A network that uses its nodes again at every step of a sequence."""

from __future__ import annotations

from typing import Any, Unpack

import keras
import tensorflow as tf

from tfp_spn._arguments import a_flag, reads
from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, ShapeLike, Tensor, TensorLike
from tfp_spn.circuits.example_weights import given_targets
from tfp_spn.circuits.lengths import check_are_no_lengths
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.held_weights import hold_log_weights
from tfp_spn.layers.regions.temporal_dense_product import TemporalDenseProduct
from tfp_spn.models.dynamic_wiring import NETWORKS, connect
from tfp_spn.models.interface_recursion import interfaces_before
from tfp_spn.models.sequences import (
    PADDINGS,
    Sequences,
    fill_padding,
    over_axes,
    to_sequences,
)
from tfp_spn.models.unsupervised import UnsupervisedTraining
from tfp_spn.ops.axes import merge_axes, move_axis


@register
class DynamicSumProductNetwork(UnsupervisedTraining, keras.Model):
    """A dynamic sum-product network: four networks, the same ones at every step.

    With the interface ``I`` of all steps before, which begins as ``log I[-1] = 0``,

        log c[t] = interface_network_t0(template_network(x[t]))
        log z[t] = TemporalDenseProduct()([log I[t - 1], log c[t]])
        log I[t] = interface_network_t_minus_1(log z[t])
        output[t] = top_network(log z[t]) = log p(x[0], ..., x[t])

    All steps share the weights. The output at ``t`` is the log-probability of a
    sequence that *ends* there: each is normalised, but, since the top belongs to the
    last step, they are not the marginals of one longer sequence, and their differences
    are not predictive probabilities. (`tfp_spn.distributions.DynamicSumProductNetwork`,
    whose time runs forward, offers those, with samples, forecasts and all the rest.)

    Template and first interface are evaluated once, for all steps as one batch; the
    recursion is one `tf.while_loop`; the top is evaluated once. Under the rules of EM
    the counts of a weight are those of all steps together.

    In contrast to LibSPN-Keras: padding may lie on either side and hold anything;
    masks and ragged data serve as well as lengths; lengths travel with the data, so
    that there are labels; the two interfaces may differ in width; float64 works; and
    configs hold every argument.

    Args:
        template_network: From ``[batch, num_variables]`` (what a step holds) to
            regions ``[batch, 1, decomps, nodes]`` that cover all variables. Like the
            others a `keras.Sequential` or a functional model.
        interface_network_t0: From the template's output to ``[batch, 1, decomps,
            nodes]``, the interface's nodes of the current step.
        interface_network_t_minus_1: From the product of the interface before and that
            of the current step to the interface after it.
        top_network: From the same product to ``[batch, outputs]``: ends with a
            `RootSum`.
        return_last_step: Whether to return the output of each sequence's last step
            only.
        unsupervised: Whether data have no labels, or labels to be ignored.
        padding: On which side sequences with lengths are padded, ``"pre"`` or
            ``"post"``.
        **kwargs: Passed on to `keras.Model`.

    Input shape:
        ``[batch, num_steps, num_variables]``, or whatever axes the template takes; a
        ragged tensor of that shape; or a pair of that and either lengths, integers
        ``[batch]``, or a mask, bool ``[batch, num_steps]``. A step that is masked does
        not exist, wherever it lies: the sequence goes on behind it. Keras masks, as of
        a `keras.layers.Masking` before, count too.

    Output shape:
        ``[batch, outputs]``; else ``[batch, num_steps, outputs]``, 0 at steps that do
        not exist, and with a Keras mask, so that losses and the metrics of this package
        leave them out.

    Raises:
        TypeError: A network is not a Keras model; lengths are not integers.
        ValueError: Widths do not match, the template does not cover the variables of a
            step, or a length is below 1 or above the number of steps (under
            `tf.function`: `tf.errors.InvalidArgumentError`).

    Example:
        >>> import keras, numpy as np, tfp_spn
        >>> layers = tfp_spn.layers
        >>> model = tfp_spn.models.DynamicSumProductNetwork(
        ...     template_network=keras.Sequential([
        ...         keras.Input((2,)), layers.FlatToRegions(num_decomps=1),
        ...         layers.NormalLeaf(num_components=3), layers.DenseProduct(2)]),
        ...     interface_network_t0=keras.Sequential([layers.DenseSum(4)]),
        ...     interface_network_t_minus_1=keras.Sequential([layers.DenseSum(4)]),
        ...     top_network=keras.Sequential([layers.RootSum(False)]))
        >>> x, lengths = np.zeros([3, 5, 2]), np.array([5, 2, 4])
        >>> model((x, lengths)).shape
        TensorShape([3, 1])
        >>> model.compile("adam", tfp_spn.losses.NegativeLogLikelihood())
        >>> history = model.fit((x, lengths), verbose=0)

    References:
        [1]: Melibari et al. Dynamic Sum Product Networks for Tractable Inference on
            Sequence Data. PGM, 2016.
    """

    takes_ragged = True

    @reads(return_last_step=a_flag(), unsupervised=a_flag())
    def __init__(
        self,
        template_network: keras.Model,
        interface_network_t0: keras.Model,
        interface_network_t_minus_1: keras.Model,
        top_network: keras.Model,
        return_last_step: bool = True,
        unsupervised: bool = True,
        padding: str = "pre",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        # float32 or float64, as the networks say, inside mixed-precision models too.
        fill_in_dtype(kwargs)
        super().__init__(autocast=False, **kwargs)
        if padding not in PADDINGS:
            raise ValueError(
                f"{self._label}: received padding={padding!r}, expected "
                '"pre" (padding comes before the steps, as in LibSPN-Keras) or "post".'
            )
        self.template_network = template_network
        self.interface_network_t0 = interface_network_t0
        self.interface_network_t_minus_1 = interface_network_t_minus_1
        self.top_network = top_network
        self.temporal_product = TemporalDenseProduct(name="temporal_product")
        self.return_last_step = return_last_step
        self.unsupervised = unsupervised
        self.padding = padding
        self.supports_masking = True
        self._check_networks()
        if template_network.built:
            connect(self._networks, self._label)
            self.built = True

    # --- the Keras model -----------------------------------------------------------

    def build(self, input_shape: ShapeLike = None) -> None:
        """Builds the networks that are not built yet, and checks that they match."""
        shape = self._shape_of_data(input_shape)
        if not self.template_network.built:
            self.template_network.build((None, *shape[2:]))
        connect(self._networks, self._label)
        self._check_step_shape(shape)
        self.built = True

    def call(
        self, inputs: TensorLike, training: bool | None = None, mask: TensorLike = None
    ) -> Tensor:
        """Log-probabilities of sequences."""
        sequences = to_sequences(inputs, mask, self.padding, self._label)
        self._check_step_shape(tuple(sequences.x.shape))
        current = self._current(
            sequences, training
        )  # [batch, steps, 1, decomps, nodes]
        is_step = sequences.is_step
        before, offset = self._interfaces_before(current, is_step, training)
        if self.return_last_step:
            product = self.temporal_product([before, _last(current, is_step)])
            top = self.top_network(product, training=training)
            return top + tf.cast(offset, top.dtype)[:, tf.newaxis]
        shape = tf.shape(current)
        before = tf.reshape(before, [-1, *before.shape[2:]])
        merged = tf.reshape(current, [-1, *current.shape[2:]])
        product = self.temporal_product([before, merged])
        top = self.top_network(product, training=training)
        top += tf.cast(tf.reshape(offset, [-1, 1]), top.dtype)
        top = tf.reshape(top, [shape[0], shape[1], top.shape[-1]])
        top = tf.ensure_shape(top, [*current.shape[:2], top.shape[-1]])
        if is_step is not None:
            top = tf.where(is_step[..., tf.newaxis], top, tf.zeros_like(top))
            top._keras_mask = is_step  # noqa: SLF001 - how Keras passes masks along
        return top

    def built_shape(self) -> ShapeLike | None:
        """``[batch, num_steps, *shape of a step]``, `None` before `build`."""
        if not self.template_network.built:
            return None
        return (None, None, *self.template_network.input_shape[1:])

    def compute_mask(self, inputs: object, previous_mask: object = None) -> None:
        """`None`: `call` gives the output of all steps its mask itself."""
        return

    def compute_output_shape(self, input_shape: ShapeLike) -> tuple[int | None, ...]:
        """``[batch, outputs]`` or ``[batch, num_steps, outputs]``."""
        shape = self._shape_of_data(input_shape)
        if not self.built:
            self.build(input_shape)
        outputs = self.top_network.output_shape[-1]
        if self.return_last_step:
            return (shape[0], outputs)
        return (shape[0], shape[1], outputs)

    def compute_output_spec(
        self, inputs: TensorLike, training: bool | None = None, mask: TensorLike = None
    ) -> keras.KerasTensor:
        """Symbolic output."""
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        shape = self.compute_output_shape(shapes)
        return keras.KerasTensor(shape, dtype=self.top_network.outputs[0].dtype)

    def _labels(self, x: TensorLike, y: TensorLike, y_pred: TensorLike) -> Tensor:
        """Labels, but no lengths in their place."""
        if self.unsupervised:
            remedy = "pass them with the data: fit((x, lengths))."
            check_are_no_lengths(self._label, x, given_targets(y), remedy)
        return super()._labels(x, y, y_pred)

    def _weights(self, sample_weight: TensorLike, y_pred: TensorLike) -> TensorLike:
        """Weights ``[batch]`` of outputs ``[batch, num_steps, outputs]``, for each."""
        if sample_weight is None or len(y_pred.shape) != 3:
            return sample_weight
        weight = tf.convert_to_tensor(sample_weight)
        if weight.shape.rank == 1:
            weight = weight[:, tf.newaxis]
        return tf.broadcast_to(weight, tf.shape(y_pred)[:2])

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            **{name: serialize(getattr(self, name)) for name in NETWORKS},
            "return_last_step": self.return_last_step,
            "unsupervised": self.unsupervised,
            "padding": self.padding,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: object = None
    ) -> DynamicSumProductNetwork:
        """Builds the model from `get_config`'s result."""
        networks = {
            name: deserialize(cls, name, config.get(name), keras.Model)
            for name in NETWORKS
        }
        return cls(**{**config, **networks})

    # --- parts -----------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return f'{type(self).__name__} "{self.name}"'

    @property
    def _networks(self) -> dict[str, keras.Model]:
        return {name: getattr(self, name) for name in NETWORKS}

    def _current(self, sequences: Sequences, training: bool | None) -> Tensor:
        """``[batch, num_steps, 1, decomps, nodes]``, 0 at steps that do not exist."""
        x = fill_padding(sequences)
        shape = tf.shape(x)
        regions = self.template_network(merge_axes(x, 0, 2), training=training)
        values = self.interface_network_t0(regions, training=training)
        values = tf.reshape(values, [shape[0], shape[1], *values.shape[1:]])
        values = tf.ensure_shape(values, [*x.shape[:2], *values.shape[2:]])
        if sequences.is_step is None:
            return values
        is_step = over_axes(sequences.is_step, values)
        return tf.where(is_step, values, tf.zeros_like(values))

    def _interfaces_before(
        self, current: Tensor, is_step: Tensor | None, training: bool | None
    ) -> tuple[Tensor, Tensor]:
        """``[batch, ...]`` before the last step, or ``[batch, steps, ...]``."""
        network = self.interface_network_t_minus_1

        def advance(before: Tensor, now: Tensor) -> Tensor:
            return network(self.temporal_product([before, now]), training=training)

        inner = network._flatten_layers(include_self=False)  # noqa: SLF001
        with hold_log_weights(la for la in inner if isinstance(la, BaseSum)):
            values, offset = interfaces_before(
                advance,
                move_axis(current, 1, 0),
                None if is_step is None else tf.transpose(is_step),
                width=network.output_shape[-1],
                last_only=self.return_last_step,
            )
        if self.return_last_step:
            return values, offset
        return move_axis(values, 1, 0), tf.transpose(offset)

    def _check_networks(self) -> None:
        for name, network in self._networks.items():
            if not isinstance(network, keras.Model):
                raise TypeError(
                    f"{self._label}: received {name} of type {type(network).__name__}, "
                    "expected a keras.Model. Put layers into a keras.Sequential."
                )

    def _shape_of_data(self, input_shape: ShapeLike) -> tuple[int | None, ...]:
        shape = input_shape
        while shape and isinstance(shape[0], list | tuple):
            shape = shape[0]
        shape = tuple(shape or ())
        if len(shape) < 3:
            raise ValueError(
                f"{self._label}: received input shape {shape}, expected [batch, "
                "num_steps, num_variables], or a pair of that and the shape of lengths "
                "or mask."
            )
        return shape

    def _check_step_shape(self, shape: tuple[int | None, ...]) -> None:
        expected = tuple(self.template_network.input_shape[1:])
        if tuple(shape[2:]) != expected:
            raise ValueError(
                f"{self._label}: received data of shape {shape}, whose steps have "
                f"shape {tuple(shape[2:])}, expected {expected}: what template_network "
                "covers. Make a template for all variables of a step, or leave the "
                "others out of the data."
            )


def _last(values: Tensor, is_step: Tensor | None) -> Tensor:
    """``[batch, ...]`` of the last steps that exist."""
    if is_step is None:
        return values[:, -1]
    backwards = tf.reverse(tf.cast(is_step, tf.int32), axis=[1])
    num_steps = tf.shape(is_step, tf.int64)[1]
    last = num_steps - 1 - tf.argmax(backwards, axis=1)
    return tf.gather(values, last, axis=1, batch_dims=1)
