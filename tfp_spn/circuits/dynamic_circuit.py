"""Circuits over sequences, as Keras models."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._keras_typing import InitializerLike
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, DTypeLike, Params, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_layers import LayeredCircuit, from_layers
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.circuits.lengths import check_are_no_lengths
from tfp_spn.layers.folded_sum import sums_of_model
from tfp_spn.layers.sum_weights import SumWeights
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.dynamic.dynamic_program import DynamicProgram, dynamic_program
from tfp_spn.programs.dynamic.structure import SumProduct
from tfp_spn.programs.parameter_names import CHAIN, INITIAL


def dynamic_from_circuit(
    template: object,
    num_steps: int,
    num_interfaces: int | None = None,
    sum_product: SumProduct | None = None,
    *,
    is_stationary: bool = True,
    sum_op: SumRule | None = None,
    accumulator_initializer: InitializerLike = None,
    name: str | None = None,
) -> DynamicCircuit:
    """Builds a circuit over sequences from a circuit over one step.

        p(x) = sum_{q_1 ... q_T} p(q_1) c[q_1](x_1) prod_t p(q_t | q_{t-1}) c[q_t](x_t)

    ``c[k]`` are the class roots of the template, any circuit with `num_classes` roots;
    its class prior is not used, and frozen. `sum_product` says how roots and the
    ``S = num_interfaces`` units that lead on to the next step are multiplied to states:

    * `None`: root and unit of the same index. A hidden Markov model whose observations
      follow the template; ``S`` is the number of roots.
    * ``"tucker"``: all combinations of a root and a unit; the sums of the interface
      range over ``K S`` states, and the observation may depend on both ends of a
      transition.
    * ``"cp"``: each root with one sum over the units: as many states as roots, of which
      an interface of fewer units carries less to the next step (transitions of rank
      ``S``).

    Args:
        template: A circuit over the variables of one step, with as many classes as it
            shall have roots, or a `keras.Sequential` of `tfp_spn.layers`.
        num_steps: Steps ``T`` of a sequence; shorter ones are masked.
        num_interfaces: Units of the interface; with ``sum_product=None`` the number of
            roots, which is the default.
        sum_product: `None`, ``"tucker"`` or ``"cp"``.
        is_stationary: Whether all transitions have the same weights. If not, each one
            has weights of its own.
        sum_op: Learning rule of the sums of the interface, one whose flow is the
            gradient. Default: `tfp_spn.get_default_sum_op()`.
        accumulator_initializer: Initializer of the weights of the interface.
            Default: `tfp_spn.get_default_accumulator_initializer()`.
        name: Name of the model.

    Returns:
        A `keras.Model` that maps ``[batch, num_steps, num_variables]`` to ``log
        p(x)``, ``[batch, 1]``. `tfp_spn.distributions.DynamicSumProductNetwork` is a
        view of it.

    Raises:
        TypeError: The template is not a circuit, the rule no learning rule.
        ValueError: Numbers that do not fit together.

    Example:
        >>> import tfp_spn
        >>> template = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.NormalLeaf(num_components=2), num_sums=2,
        ...     num_classes=3)
        >>> circuit = tfp_spn.circuits.dynamic_from_circuit(template, num_steps=10)
        >>> circuit.live_params()["transition"].shape
        TensorShape([1, 3, 3])
    """
    return DynamicCircuit(
        template,
        num_steps,
        num_interfaces,
        sum_product,
        is_stationary=is_stationary,
        sum_op=sum_op,
        accumulator_initializer=accumulator_initializer,
        name=name,
    )


@register
class DynamicCircuit(Circuit):
    """The circuit that `dynamic_from_circuit` builds; it explains the arguments.

    Its own parameters are log-weights ``[transitions, inputs, sums]``: ``initial``
    ``[1, Q, 1]``, ``transition [T', Q, Z]`` and, of ``"cp"``, ``interface [T', Z, Q]``,
    with ``T'`` 1 or ``T - 1``. `chain_params` makes them from stochastic matrices.

    Args:
        template: The circuit over one step.
        num_steps: Steps of a sequence.
        num_interfaces: Units of the interface.
        sum_product: How template and interface are multiplied.
        is_stationary: Whether all transitions have the same weights.
        sum_op: Learning rule of the sums of the interface.
        accumulator_initializer: Initializer of their weights.
        **kwargs: Passed on to `keras.Model`.

    Input shape:
        ``[batch, num_steps, *event_shape]`` of the template's.

    Output shape:
        ``[batch, 1]``.
    """

    @reads(num_steps=a_count(), num_interfaces=a_count(), is_stationary=a_flag())
    def __init__(
        self,
        template: RegionGraphCircuit | LayeredCircuit | keras.Sequential,
        num_steps: int,
        num_interfaces: int | None = None,
        sum_product: SumProduct | None = None,
        *,
        is_stationary: bool = True,
        sum_op: SumRule | None = None,
        accumulator_initializer: InitializerLike = None,
        **kwargs: object,
    ) -> None:
        if isinstance(template, keras.Sequential):
            template = from_layers(template)
        weights = SumWeights.of_circuit(sum_op, accumulator_initializer, logspace=True)
        rule = weights.sum_op
        _check_arguments(template, sum_product, rule)
        num_roots = template.program.num_classes
        if num_interfaces is None:
            num_interfaces = num_roots
        if sum_product is None and num_interfaces != num_roots:
            raise ValueError(
                "dynamic_from_circuit: without a sum_product the units of the "
                "interface are the template's roots, so that their numbers must agree; "
                f"received num_interfaces={num_interfaces} and a template with "
                f"num_classes={num_roots}. Make them equal, or choose sum_product="
                "'tucker' or 'cp'."
            )
        kwargs.setdefault("dtype", template.program.dtype.name)
        super().__init__(**kwargs)
        self.template = template
        self._settings = (num_steps, num_interfaces, sum_product, rule, is_stationary)
        self._program: DynamicProgram | None = None
        self._source: CircuitProgram | None = None
        self.chain = sums_of_model(
            self, weights, self.program.chain_shapes, template.program.dtype.name
        )
        self._freeze_prior()
        self._arguments: Config = {
            "num_steps": num_steps,
            "num_interfaces": num_interfaces,
            "sum_product": sum_product,
            "is_stationary": bool(is_stationary),
            "sum_op": rule,
            "accumulator_initializer": weights.accumulator_initializer,
        }
        self.built = True

    @property
    def program(self) -> DynamicProgram:
        """The compiled circuit."""
        source = self.template.program
        if self._program is None or self._source is not source:
            self._source = source
            self._program = dynamic_program(source, *self._settings)
        return self._program

    def live_params(self) -> Params:
        """The un-read variables by name."""
        params = dict(self.template.live_params())
        prior = self.template.program.prior
        if prior is not None:
            del params[prior.parameter]
        params.update({layer.name: layer.accumulators.value for layer in self.chain})
        return dict(sorted(params.items()))

    def check_targets(self, x: TensorLike, y: TensorLike) -> None:
        """Refuses lengths, for this circuit has one class and needs no labels."""
        label = f'{type(self).__name__} "{self.name}"'
        axes = ", np.newaxis" * len(self.program.mask_shape[1:])
        remedy = (
            "pass a mask with the data: fit((x, observed)), observed = (np.arange("
            f"num_steps) < lengths[:, np.newaxis])[...{axes}]."
        )
        check_are_no_lengths(label, x, y, remedy)

    def _freeze_prior(self) -> None:
        """Freezes the template's prior, which is not used here and has no gradient."""
        prior = self.template.program.prior
        if prior is None:
            return
        unused = self.template.live_params()[prior.parameter]
        for variable in self.template.variables:
            if variable.value is unused:
                variable.trainable = False

    def structure(self) -> Config:
        """Describes the template, and how it is repeated, ready for JSON."""
        names = ("num_steps", "num_interfaces", "sum_product", "is_stationary")
        numbers = {name: self._arguments[name] for name in names}
        return {"template": self.template.structure(), **numbers}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = {**keras.Model.get_config(self), **self._arguments}
        for key in ("sum_op", "accumulator_initializer"):
            config[key] = serialize(self._arguments[key])
        config["template"] = serialize(self.template)
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: object = None
    ) -> DynamicCircuit:
        """Builds the circuit from `get_config`'s result."""
        config = dict(config)
        for key, base in (("template", Circuit), ("sum_op", SumRule)):
            config[key] = deserialize(cls, key, config.get(key), base)
        key, base = "accumulator_initializer", keras.initializers.Initializer
        config[key] = deserialize(cls, key, config.get(key), base, functions=True)
        return cls(**config)


@reads(in_time=a_flag())
def chain_params(
    initial: TensorLike,
    transition: TensorLike,
    interface: TensorLike | None = None,
    dtype: DTypeLike = "float32",
    in_time: bool | None = None,
) -> Params:
    """Parameters of a chain from stochastic matrices: those of hidden Markov models.

    Args:
        initial: ``[..., Q]``: probabilities of the states of the first step.
        transition: ``[..., Z, Q]``: row ``s`` holds the probabilities of the next
            states given unit ``s`` (the state, in a hidden Markov model);
            ``[..., T - 1, Z, Q]`` where transitions differ in time.
        interface: ``[..., Q, Z]``: of the units given a state; for ``"cp"`` only.
        dtype: Dtype of the parameters.
        in_time: Whether transitions differ in time. Default: if they have one leading
            axis more than `initial`.

    Returns:
        ``initial [..., 1, Q, 1]``, ``transition [..., T', Q, Z]`` and perhaps
        ``interface [..., T', Z, Q]``: log-weights, in the layout of `DynamicCircuit`.

    Example:
        >>> import tfp_spn
        >>> params = tfp_spn.circuits.chain_params(
        ...     [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]])
        >>> params["transition"].shape
        TensorShape([1, 2, 2])
    """

    def log_weights(probs: TensorLike) -> tf.Tensor:
        return tf.math.log(tf.linalg.matrix_transpose(tf.cast(probs, dtype)))

    initial = tf.math.log(tf.cast(initial, dtype))

    def with_steps(probs: TensorLike) -> tf.Tensor:
        value = log_weights(probs)
        has_steps = in_time
        if has_steps is None:
            has_steps = value.shape.rank == initial.shape.rank + 2
        return value if has_steps else tf.expand_dims(value, -3)

    params = {INITIAL: initial[..., tf.newaxis, :, tf.newaxis]}
    for name, probs in zip(CHAIN[1:], (transition, interface), strict=True):
        if probs is not None:
            params[name] = with_steps(
                np.asarray(probs) if not tf.is_tensor(probs) else probs
            )
    return params


def _check_arguments(template: object, sum_product: object, rule: object) -> None:
    if not isinstance(template, Circuit) or isinstance(template, DynamicCircuit):
        raise TypeError(
            "dynamic_from_circuit: template must be a circuit over one step, as "
            "tfp_spn.circuits.from_region_graph returns, received "
            f"{type(template).__name__}. Build one with as many classes as the "
            "interface shall have states."
        )
    if sum_product not in (None, "cp", "tucker"):
        raise ValueError(
            "dynamic_from_circuit: sum_product says how template and interface are "
            f"multiplied, received {sum_product!r}, expected None, 'tucker' or 'cp'. "
            "Use None for a hidden Markov model."
        )
    if not isinstance(rule, SumRule):
        raise TypeError(
            "dynamic_from_circuit: sum_op must be a learning rule, received "
            f"{rule!r}, expected for example tfp_spn.SumOpGradBackprop(). Pass an "
            "instance."
        )
    if not rule.is_gradient:
        raise ValueError(
            "dynamic_from_circuit: the sums of the interface are learned by soft "
            f"counts, received sum_op={rule!r}, expected SumOpGradBackprop() or "
            "SumOpEMBackprop(). Use one of these; the template may have another rule."
        )
