"""Circuits whose parameters depend on features, as a Keras layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import keras
import tensorflow as tf

from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, Params, ShapeLike, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.distributions._predicted_parameters import (
    check_predictions,
    moved,
    predicted_names,
)
from tfp_spn.distributions.distribution_layer import DistributionOutput
from tfp_spn.distributions.dynamic_sum_product_network import (
    DynamicSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import SumProductNetwork, view_of
from tfp_spn.ops.axes import reshape_axes


@register
class ConditionalSumProductNetwork(DistributionOutput, keras.layers.Layer):
    """A layer that maps features ``z`` to the distribution ``p(y | z)`` of a circuit.

        params(z)[name] = circuit_params[name] + network(z)[name]

    for the chosen parameters: those of the circuit are what all examples have in
    common, and a network says how each example differs. Parameters are numbers without
    constraint (log-weights, log-odds, locations, scales before softplus; weights that
    are stored as they are, not as logarithms, are multiplied by the exponential), so
    that any output of the network is a distribution. All others stay the circuit's
    own variables, and what depends on these alone is computed once for all examples.

    ``layer(z)`` is a `SumProductNetwork` whose batch shape is that of ``z``: every
    marginal, conditional, moment and sample is exact, for each example under its own
    parameters. It can end a functional or Sequential model, or be called in a
    subclassed one, see `DistributionLayer`.

    Args:
        circuit: What `tfp_spn.circuits.from_region_graph` returns, a
            `keras.Sequential` of region or spatial layers, or a dynamic circuit, whose
            distribution is a `DynamicSumProductNetwork`.
        predicted: Which parameters depend on the features: ``"leaves"``, ``"sums"``,
            ``"root"`` (the weights of the topmost sums, and of the classes; those of a
            dynamic circuit's interface), ``"all"``,
            or a list of such words and of names in ``circuit.live_params()``.
        network: Maps features to a dict of tensors ``[*batch, *shape]`` by the names of
            the predicted parameters, or to the tensor if there is one, where ``shape``
            is that of ``circuit.live_params()[name]``. A Keras layer or model, or a
            (registered) function without variables. Default: a linear map for each.
        validate_args: Passed on to the distributions, see `SumProductNetwork`.
        **kwargs: Passed on to `keras.layers.Layer`; `dtype` is by default the
            circuit's, whatever the global policy.

    Leaf parameters lie in the order of the circuit's leaf slots, of which slot ``l``
    belongs to the variable ``circuit.program.layout.slot_variable[l]``; spatial stacks
    keep the axes of the image.

    Input shape:
        Default network: ``[*batch, features]``. Else what the network takes.

    Output shape:
        A distribution with batch shape ``batch`` and the circuit's event shape.

    Attributes:
        circuit: The circuit.
        predicted: Names of the parameters that depend on the features.
        network: The network; `None` until the default one is built.

    Raises:
        TypeError: If circuit or network are of another type.
        ValueError: If there is no such parameter; if the network's output lacks one or
            has another shape.

    Example:
        >>> import tensorflow as tf, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 2, num_repetitions=2),
        ...     leaf=tfp_spn.layers.NormalLeaf(num_components=2), num_sums=2)
        >>> layer = tfp_spn.distributions.ConditionalSumProductNetwork(circuit)
        >>> spn = layer(tf.random.normal([5, 3], seed=1))
        >>> spn.batch_shape, spn.sample(2, seed=1).shape, spn.marginal([0]).mean().shape
        (TensorShape([5]), TensorShape([2, 5, 4]), TensorShape([5, 1]))

    Source:
        Shao et al., Conditional Sum-Product Networks: Imposing Structure on Deep
        Probabilistic Architectures, PGM 2020 (there with gates as functions of the
        features; here any parameter).
    """

    def __init__(
        self,
        circuit: Circuit,
        predicted: str | Sequence[str] = "leaves",
        network: Callable[[TensorLike], Tensor] | None = None,
        validate_args: bool = False,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        circuit = view_of(circuit).circuit
        if not (network is None or callable(network)):
            raise TypeError(
                "ConditionalSumProductNetwork: network must map features to "
                f"parameters, received {network!r}. Pass a Keras layer or model, or "
                "leave it out for a linear map."
            )
        names = predicted_names(circuit, predicted)
        kwargs.setdefault("dtype", circuit.program.dtype.name)
        super().__init__(**kwargs)
        self.circuit = circuit
        self.predicted = tuple(names)
        self.network = network
        self.validate_args = bool(validate_args)
        self._has_default_network = network is None

    def build(self, input_shape: ShapeLike) -> None:
        if self.network is None:
            self.network = _LinearMaps(
                {name: tuple(self._shape_of(name)) for name in self.predicted},
                dtype=self.dtype_policy,
                name="network",
            )
        network = self.network
        if isinstance(network, keras.layers.Layer) and not network.built:
            network.build(input_shape)
        self.built = True

    def call(
        self, features: TensorLike
    ) -> SumProductNetwork | DynamicSumProductNetwork:
        """The distribution ``p(y | features)``."""
        return view_of(
            self.circuit,
            self.params(features),
            validate_args=self.validate_args,
            name=self.name,
        )

    def params(self, features: TensorLike) -> Params:
        """Parameters by name: tensors ``[*batch, ...]``, or the circuit's variables."""
        live = self.circuit.live_params()
        output = self.network(features)  # type: ignore[misc]
        shapes = {name: self._shape_of(name) for name in self.predicted}
        change = check_predictions(output, shapes)
        program = self.circuit.program
        return {
            **live,
            **{name: moved(program, name, live[name], change[name]) for name in change},
        }

    def _shape_of(self, name: str) -> tf.TensorShape:
        return self.circuit.live_params()[name].shape

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "circuit": serialize(self.circuit),
            "predicted": list(self.predicted),
            "network": None if self._has_default_network else serialize(self.network),
            "validate_args": self.validate_args,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConditionalSumProductNetwork:
        config = dict(config)
        key = "circuit"
        config[key] = deserialize(cls, key, config.get(key), Circuit)
        key, base = "network", keras.layers.Layer
        config[key] = deserialize(cls, key, config.get(key), base, functions=True)
        return cls(**config)


class _LinearMaps(keras.layers.Layer):
    """A linear map of the features to each of several parameters.

    There is no bias: the circuit's own parameters take its place.
    """

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        self._shapes = dict(shapes)
        self.maps = {
            name: keras.layers.Dense(
                tf.TensorShape(shape).num_elements(),
                use_bias=False,
                dtype=self.dtype_policy,
                name=name,
            )
            for name, shape in shapes.items()
        }

    def build(self, input_shape: ShapeLike) -> None:
        if not hasattr(input_shape, "__len__") or isinstance(input_shape, dict):
            raise ValueError(
                "ConditionalSumProductNetwork: the default network takes one tensor of "
                f"features, received {input_shape}. Pass a network of your own."
            )
        for dense in self.maps.values():
            dense.build(input_shape)
        self.built = True

    def call(self, features: Tensor) -> dict[str, Tensor]:
        return {
            name: reshape_axes(dense(features), -1, 0, self._shapes[name])
            for name, dense in self.maps.items()
        }
