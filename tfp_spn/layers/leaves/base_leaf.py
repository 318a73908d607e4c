"""The base class of leaf layers: components of one family for each leaf slot.

A leaf layer plays two parts. In a `keras.Sequential` it follows `FlatToRegions` and
maps ``[batch, scopes, decomps, dims]`` to component log-probabilities ``[batch, scopes,
decomps, num_components]``; or, the first of a spatial stack, images ``[batch, height,
width, dims]`` to ``[batch, height, width, num_components]``. In a circuit it is
evaluated through pure functions of its parameters, in the kernel's layout; those
functions are what a subclass implements.

Recipe for a new family: one class that derives from `ElementwiseLeaf`, states its
parameters (`parameter_specs`), its values (`value_support`) and its TFP family
(`component_distribution`), and if it can learn by EM its M-step (`expected_statistics`
and `maximize`). All other methods follow from these, and are there to be overridden by
what is faster or more precise. `tfp_spn.testing.check_leaf` says whether they agree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, reads
from tfp_spn._keras_typing import Initializer, LayerOptions
from tfp_spn._serialization import configuration_of, serialize
from tfp_spn._typing import Config, DTypeLike, Params, Tensor
from tfp_spn.initializers.initial_values import initial_values
from tfp_spn.layers.default_dtype import fill_in_dtype
from tfp_spn.layers.finite_variables import FiniteVariables
from tfp_spn.layers.known_shapes import KnownShapes
from tfp_spn.layers.leaves.bounds import region_log_cdf
from tfp_spn.layers.leaves.components import LeafComponents
from tfp_spn.layers.leaves.evidence import Evidence
from tfp_spn.layers.leaves.initial_parameters import LeafData, by_m_steps
from tfp_spn.layers.leaves.initial_parameters import ParameterSpec as ParameterSpec
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.parts import LeafPart
from tfp_spn.layers.untouched import note_start
from tfp_spn.ops.axes import reshape_axes


class BaseLeaf(LeafComponents, KnownShapes, FiniteVariables, keras.layers.Layer):
    """Base class of the leaf layers.

    Args:
        num_components: Number of components ``K`` per leaf slot.
        **kwargs: Passed on to `keras.layers.Layer`. `dtype` is float32 or float64,
            by default float32, whatever the global policy: circuits stay in full
            precision inside mixed-precision models.

    Input shape:
        ``[batch, scopes, decomps, dims]``, or ``[batch, height, width, dims]``: each
        pixel is a variable.

    Output shape:
        ``[batch, scopes, decomps, num_components]``, or ``[batch, height, width,
        num_components]``.
    """

    @reads(num_components=a_count())
    def __init__(self, num_components: int, **kwargs: Unpack[LayerOptions]) -> None:
        fill_in_dtype(kwargs)
        super().__init__(**kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(
                f'{type(self).__name__}: dtype must be "float32" or "float64", '
                f'received dtype="{self.compute_dtype}". Log-probabilities need the '
                "precision."
            )
        self.num_components = num_components
        self.parameters: dict[str, keras.Variable] = {}
        self.num_dims = 1
        self.num_slots = 0
        self.slot_shape: tuple[int, ...] = ()
        self._layout_of_circuit: LeafLayout | None = None

    # --- state -----------------------------------------------------------------

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """The parameters of one slot with `num_dims` dimensions."""
        raise NotImplementedError

    def slot_ndims(self, name: str) -> int:
        """Rank of one slot's canonical parameter."""
        return len(self.parameter_specs(self.num_dims)[name].shape)

    def add_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        """Creates the variables, with leading axes `slots`."""
        if self.num_slots:
            return
        self.num_dims = num_dims
        self.num_slots = math.prod(slots)
        self.slot_shape = tuple(slots[1:])
        for name, spec in self.parameter_specs(num_dims).items():
            self.parameters[name] = self.add_weight(
                name=name,
                shape=(*slots, *spec.shape),
                initializer=self._initializer_of(name, spec),
                trainable=spec.trainable,
                autocast=False,
            )
            self.parameters[name].is_log_weight = spec.is_log_weight
            # Keras' dicts are invisible to tf.train.Checkpoint.
            self._track_trackable(self.parameters[name], name)
            note_start(self.parameters[name])
        self.built = True

    def _initializer_of(self, name: str, spec: ParameterSpec) -> Initializer:
        axis = -len(spec.shape)

        def initialize(shape: Sequence[int], dtype: DTypeLike = None) -> Tensor:
            return initial_values(
                self.label, name, spec.initializer, shape, dtype, axis
            )

        return initialize

    @functools.cached_property
    def has_default_initializers(self) -> bool:
        """Whether all initializers are those that the layer has by default.

        Nobody knows of a layer whose configuration cannot be written down.
        """
        try:
            config = self.get_config()
            chosen = {k: config.pop(k) for k in list(config) if "initializer" in k}
            default = type(self).from_config(config).get_config()
        except (TypeError, ValueError):  # no configuration, or no defaults
            return False
        return all(default.get(name) == value for name, value in chosen.items())

    @property
    def has_stock_initializers(self) -> bool:
        """Whether all initializers are the default ones, or Keras' own."""
        try:
            config = self.get_config()
        except (TypeError, ValueError):
            return False
        chosen = [v for k, v in config.items() if "initializer" in k]
        return self.has_default_initializers or all(
            isinstance(value, dict) and value.get("module") == "keras.initializers"
            for value in chosen
        )

    def add_parameters_of(self, layout: LeafLayout) -> None:
        """Creates the variables of the leaf regions of a circuit."""
        self._layout_of_circuit = layout
        self.add_parameters((layout.num_slots,), layout.num_dims)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and `copy`: the configuration, where it was built, the weights."""
        layout = self._layout_of_circuit
        if layout is not None:  # a plain one: others remember tensors
            layout = LeafLayout(layout.scopes, layout.num_variables, layout.num_dims)
        return _restored, (serialize(self), layout, self.get_weights())

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Creates parameters ``[1, scopes, decomps, ...]``."""
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                f'{type(self).__name__} "{self.name}": received input shape '
                f"{tuple(input_shape)}, expected [batch, scopes, decomps, dims] with "
                "known scopes, decomps and dims, or [batch, height, width, dims]. Put "
                "a FlatToRegions layer before it, or add an axis of channels."
            )
        _, scopes, decomps, num_dims = input_shape
        self.add_parameters((1, scopes, decomps), num_dims)

    def live_params(self) -> Params:
        """The un-read variables by name."""
        return {name: v.value for name, v in self.parameters.items()}

    def canonical(self, params: Params) -> Params:
        """Merges the slot axes of parameters: ``[..., L, *spec.shape]``."""
        specs = self.parameter_specs(self.num_dims)
        num_lead = {
            name: len(variable.shape) - len(specs[name].shape)
            for name, variable in self.parameters.items()
        }

        def merge(name: str, value: Tensor) -> Tensor:
            shape = specs[name].shape
            value = tf.convert_to_tensor(value)
            if num_lead[name] == 1:
                return value
            start = -len(shape) - num_lead[name]
            return reshape_axes(value, start, -len(shape), [self.num_slots])

        return {name: merge(name, value) for name, value in params.items()}

    @functools.cached_property
    def digest(self) -> str:
        """A text that tells the layer's pure functions from those of other layers.

        Layers of equal class and configuration compute the same; where a configuration
        cannot be written down a layer is like no other.
        """
        try:
            config = self.get_config()
        except Exception:
            config = {"object": id(self)}
        kept = {k: v for k, v in config.items() if "initializer" not in k}
        kept.pop("name", None)
        shape = (self.slot_shape, self.num_slots, self.num_dims)
        kind = (type(self).__module__, type(self).__qualname__, id(type(self)))
        return repr((*kind, shape, sorted(kept.items(), key=repr)))

    @property
    def event_dtype(self) -> str:
        """The dtype of samples, which holds all possible values."""
        return "int32" if self.is_discrete else self.compute_dtype

    def parts(self, layout: LeafLayout) -> tuple[LeafPart, ...]:
        """The layers that the variables belong to: this one has them all."""
        return (LeafPart.whole(self, layout),)

    def configuration(self) -> Config:
        """Describes the family, for checkpoints of a fit."""
        return configuration_of(self)

    # --- pure functions, in the kernel's layout ----------------------------------

    def log_base(self, x: Tensor) -> Tensor:
        """``[..., V, D, N] -> [..., V, N]``: what all components of a variable share.

        The base measure, by default 0; ``-inf`` where a value lies outside the support.
        """
        valid = tf.reduce_all(self.value_support.contains(x), axis=-2)
        return tf.where(valid, tf.zeros([], x.dtype), -float("inf"))

    def log_base_of(self, evidence: Evidence) -> Tensor:
        """The factor `log_base` of all variables, float64 ``[..., N]``.

        It is -inf outside the support.
        """
        x, observed = evidence.x, evidence.observed
        if observed is None and evidence.bounded is not None:
            return tf.cast(tf.zeros_like(x[..., 0, 0, :]), tf.float64)
        base = self.log_base(x)
        if observed is not None:
            base = tf.where(observed, base, tf.zeros_like(base))
        return tf.reduce_sum(tf.cast(base, tf.float64), axis=-2)

    def safe_value(self, x: Tensor) -> Tensor:
        """`x` with a harmless value in place of those outside the support."""
        return self.value_support.safe_value(x)

    def region_log_values(
        self, params: Params, evidence: Evidence, layout: LeafLayout
    ) -> Tensor:
        """What leaf regions hold under any evidence, ``[..., R, K, N]``.

        Without `log_base`. To be overridden by leaves that know a kind of evidence
        better than by their densities and cdfs.
        """

        def densities(hidden: Tensor | None = None) -> Tensor:
            x, observed = evidence.x, evidence.observed
            values = self.region_log_prob(params, x, observed, layout.pieces, hidden)
            return layout.sum_over_pieces(values)

        if evidence.hidden_at_modes:
            return densities(self.component_mode_log_prob(params))
        if evidence.bounded is None:
            return densities()
        below = region_log_cdf(self, params, evidence, layout)
        return below if evidence.observed is None else below + densities()

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Log-values of all leaf regions, without `log_base`.

        Args:
            params: Canonical parameters.
            x: ``[..., V, D, N]``, any values.
            observed: bool ``[..., V, N]``, or `None` when all values count.
            layout: The leaf regions.
            hidden: ``[..., L, K]``: what components of an unobserved variable hold.
                Default: zero, they are integrated out.

        Returns:
            ``[..., R, K, N]``.
        """
        raise NotImplementedError

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """Expected sufficient statistics, summed over examples.

        Args:
            params: Canonical parameters.
            x: ``[V, D, N]``.
            observed: bool ``[V, N]`` or `None`.
            flow: ``[R, K, N]``: posterior probability of each leaf component.
            layout: The leaf regions.

        Returns:
            Tensors that add over batches, ``[L, K, ...]`` each; one is ``count``.
        """
        raise NotImplementedError

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """The M-step: parameters moved by `step_size` towards the maximiser.

        A component whose count is zero keeps its parameters.
        """
        raise NotImplementedError

    def initial_parameters(self, data: LeafData) -> Params:
        """Where `fit(initialize=True)` starts, by name of canonical parameters.

        By default what the M-step makes of the components' examples; those left out,
        or all if there is no M-step, stay as they are.
        """
        return by_m_steps(self, data)

    # --- the Keras layer ---------------------------------------------------------

    def call(self, x: Tensor) -> Tensor:
        """Component log-probabilities."""
        return self.slot_log_prob(self.canonical(self.live_params()), x)

    def slot_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Returns the result of `call`, as a pure function of canonical parameters."""
        _, scopes, decomps, num_dims = self._checked_shape(x)
        num_slots = scopes * decomps
        layout = LeafLayout(tuple((v,) for v in range(num_slots)), num_slots, num_dims)
        x = tf.reshape(tf.cast(x, self.compute_dtype), [-1, num_slots, num_dims])
        x = tf.transpose(x, [1, 2, 0])  # [L, D, N]
        values = self.region_log_prob(params, x, None, layout)
        values += self.log_base(x)[:, tf.newaxis, :]
        return tf.reshape(
            tf.transpose(values, [2, 0, 1]),
            [-1, scopes, decomps, self.num_components],
        )

    def _checked_shape(self, x: Tensor) -> tf.TensorShape:
        """The shape of data, if it is the one that the layer was built for."""
        built_for = (*self.slot_shape, self.num_dims)
        if not x.shape[1:].is_compatible_with(built_for):
            raise ValueError(
                f'{type(self).__name__} "{self.name}": received data of shape '
                f"{tuple(x.shape)}, expected [batch, {', '.join(map(str, built_for))}],"
                " for which the layer was built. Reshape the data, or build another "
                "model for them."
            )
        return x.shape

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """``[batch, scopes, decomps, num_components]``."""
        return (*input_shape[:-1], self.num_components)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        """Symbolic output: float, also for integer input."""
        return keras.KerasTensor(
            self.compute_output_shape(x.shape), dtype=self.compute_dtype
        )

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_components": self.num_components}


def blend(old: Tensor, new: Tensor, count: Tensor, step_size: Tensor) -> Tensor:
    """``(1 - step) old + step new`` where `count` is positive, else `old`."""
    moved = old + tf.cast(step_size, old.dtype) * (new - old)
    return tf.where(count > 0, moved, old)


def _restored(
    description: dict[str, Any], layout: LeafLayout | None, weights: list[np.ndarray]
) -> Any:
    """A leaf from a pickle; a circuit builds its leaf over a layout, Keras by shape."""
    leaf: BaseLeaf = keras.saving.deserialize_keras_object(description)
    if layout is not None:
        leaf.add_parameters_of(layout)
    leaf.set_weights(weights)
    return leaf
