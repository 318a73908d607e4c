"""Online EM as a Keras optimizer."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_count, a_flag, a_rate, or_function, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Config, Expectations, Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import unpack
from tfp_spn.learning.expectations import (
    add_expectations,
    expectations_and_joint,
)
from tfp_spn.learning.in_replica import assign_in_replica, sum_over_replicas
from tfp_spn.learning.maximization import maximize, trainable_names
from tfp_spn.ops.log_space import is_finite
from tfp_spn.ops.weights import normalized_weights
from tfp_spn.programs.labels import integer_labels

_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def _in_older_order(init: Callable[..., None]) -> Callable[..., None]:
    """Takes a bool in the second place for `gliding_average`."""

    @functools.wraps(init)
    def reordered(
        self: keras.optimizers.Optimizer, *args: object, **kwargs: object
    ) -> None:
        if len(args) == 2 and isinstance(args[1], bool):
            kwargs["gliding_average"] = args[1]
            args = args[:1]
        init(self, *args, **kwargs)

    return reordered


@register
class OnlineExpectationMaximization(keras.optimizers.Optimizer):
    """Expectation maximisation with a step per batch.

    In ``compile`` of a circuit, each batch is an E-step, and an M-step of size
    `learning_rate` for all trainable weights and leaf parameters (`online_step`); no
    loss is differentiated. Examples are ``x``, or ``(x, observed)`` where values are
    missing; labels, if passed, make the objective ``log p(x, label)``.

    In any other Keras model it is the update

        v <- (1 - learning_rate) v / sum(v) - learning_rate gradient

    for sums with a learning rule of EM (`SumOpEMBackprop`, `SumOpHardEMBackprop`, ...)
    and *linear* accumulators: those rules hand back negative counts in place of the
    gradient, if the loss is `NegativeLogLikelihood`. A sum without any flow keeps its
    weights. Leaves with ``use_accumulators=True`` follow it too, with accumulators in
    place of ``v / sum(v)``. Other variables, such as leaf locations, are refused:
    freeze them, or train the circuit `tfp_spn.circuits.from_layers` of the model. A
    layer of your own says ``variable.is_em_accumulator = True`` of a variable that
    follows the rule, and ``is_sum_weight = True`` if it is to be normalised.

    Args:
        learning_rate: Size of the steps, from 0 to 1: a number or a schedule.
        accumulate_batches: How many batches make one step. A circuit adds up their
            expectations (an unfinished group is not saved).
        pseudocount: See `tfp_spn.learning.maximize`; for circuits only.
        gliding_average: Whether old counts fade, as above. If not, new ones are added
            to them, ``v <- v - learning_rate gradient``, and weigh ever less; for
            stacks of layers only. LibSPN-Keras 0.5 has it in the second place, where a
            bool is taken for it.
        name: Name of the optimizer.
        clipnorm: Largest norm of the counts of each variable; for stacks of layers
            only, as the next two.
        clipvalue: Largest count.
        global_clipnorm: Largest norm of the counts of all variables together.

    Example:
        >>> import numpy as np, tfp_spn
        >>> from tfp_spn.learning import (
        ...     NegativeLogLikelihood, OnlineExpectationMaximization)
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> em = OnlineExpectationMaximization(learning_rate=0.1)
        >>> circuit.compile(em, NegativeLogLikelihood())
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> history = circuit.fit(x, epochs=2, verbose=0).history
        >>> history["log_likelihood"][0] < history["log_likelihood"][1]
        True
    """

    @_in_older_order
    @reads(
        learning_rate=or_function(a_rate(least=0, most=1)),
        accumulate_batches=a_count(),
        pseudocount=a_rate(least=0),
        gliding_average=a_flag(),
        clipnorm=a_rate(above=0),
        clipvalue=a_rate(above=0),
        global_clipnorm=a_rate(above=0),
    )
    def __init__(
        self,
        learning_rate: object = 0.05,
        accumulate_batches: int = 1,
        pseudocount: float = 0.01,
        gliding_average: bool = True,
        name: str = "online_expectation_maximization",
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        steps = accumulate_batches if accumulate_batches > 1 else None
        super().__init__(
            learning_rate,
            name=name,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            gradient_accumulation_steps=steps,
        )
        self.gliding_average = gliding_average
        self.accumulate_batches = accumulate_batches
        self.pseudocount = pseudocount
        # By circuit: an optimizer may serve several, each with groups of its own.
        self._weights: set[int] = set()  # accumulators that are weights of sums
        self._moments: set[int] = set()  # accumulators that are no weights of sums
        self._totals: weakref.WeakKeyDictionary[
            Circuit, tuple[tf.Variable, list[tf.Variable]]
        ] = weakref.WeakKeyDictionary()

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[tf.Variable] | None = None,
    ) -> None:
        """Updates variables by what learning rules gave in place of gradients.

        Raises:
            ValueError: A variable is not a linear accumulator of a rule of EM.
        """
        variables = trainable_variables
        if variables is None:
            variables = self._trainable_variables
        else:
            variables = trainable_variables = list(variables)
        _check_accumulators(variables)
        self._weights = {
            self._var_key(v) for v in variables if getattr(v, "is_sum_weight", False)
        }
        self._moments = {
            self._var_key(v) for v in variables if getattr(v, "is_em_moment", False)
        }
        return super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: Tensor, variable: tf.Variable, learning_rate: Tensor
    ) -> None:
        """Moves one variable towards its negative gradient: its counts.

        Weights of sums are normalised before, unless new counts are added to them.
        """
        axis = -2 if len(variable.shape) > 1 else -1
        gradient = tf.cast(gradient, variable.dtype)
        step = tf.cast(learning_rate, variable.dtype)
        flow = tf.reduce_sum(tf.abs(gradient), axis=axis, keepdims=True)
        old = tf.convert_to_tensor(variable)
        if self.gliding_average and self._var_key(variable) in self._weights:
            # Else the step would depend on the size of what is stored unnormalised.
            old = normalized_weights(old, logspace=False, axis=axis)
        moved = old - step * (gradient + old if self.gliding_average else gradient)
        if self._var_key(variable) in self._moments:
            self.assign(variable, moved)
            return
        self.assign(variable, tf.where(flow > 0, moved, variable))

    def train_circuit(self, circuit: Circuit, data: object) -> dict[str, Tensor]:
        """The training step of a circuit that is compiled with this optimizer."""
        if not self.gliding_average:
            raise ValueError(
                "OnlineExpectationMaximization: received gliding_average=False for "
                f'the circuit "{circuit.name}", expected True: circuits store weights '
                "and parameters, not counts that could add up. Leave the argument out, "
                "or train a stack of layers."
            )
        given = {name: getattr(self, name) for name in _CLIPS if getattr(self, name)}
        if given:
            raise ValueError(
                f"OnlineExpectationMaximization: received {given} for the circuit "
                f'"{circuit.name}", expected none: its steps are no gradients that '
                "could be clipped. Leave them out, or train a stack of layers."
            )
        x, observed, labels, sample_weight = unpack(data)
        return online_step(circuit, self, x, observed, labels, sample_weight)

    def accumulated(
        self, circuit: Circuit, expectations: Expectations
    ) -> tuple[tf.Variable, list[tf.Variable]]:
        """Returns the variables in which a circuit's expectations add up.

        Returns:
            How many batches there are so far, and their expectations in the order of
            `tf.nest.flatten`.
        """
        if circuit not in self._totals:
            flat = tf.nest.flatten(expectations)
            with tf.init_scope():
                zeros = [tf.zeros(value.shape, value.dtype) for value in flat]
                totals = [
                    tf.Variable(zero, trainable=False, name="collected_expectations")
                    for zero in zeros
                ]
                count = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._totals[circuit] = (count, totals)
        return self._totals[circuit]

    def collected(self, circuit: Circuit) -> list[tf.Variable]:
        """Returns the variables of a step that waits for further batches."""
        count, totals = self._totals.get(circuit, (None, []))
        return [] if count is None else [count, *totals]

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            "learning_rate": super().get_config()["learning_rate"],
            "gliding_average": self.gliding_average,
            "accumulate_batches": self.accumulate_batches,
            "pseudocount": self.pseudocount,
            "name": self.name,
            **{name: getattr(self, name) for name in _CLIPS},
        }


def online_step(
    circuit: Circuit,
    optimizer: OnlineExpectationMaximization,
    x: Tensor,
    observed: Tensor | None = None,
    labels: Tensor | None = None,
    sample_weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """One batch of online EM on a compiled circuit.

    Args:
        circuit: The circuit.
        optimizer: Says how far to move, and after how many batches.
        x: ``[N, *event_shape]``.
        observed: bool ``[N, V]`` (``[N, height, width]`` of images) or `None`.
        labels: int ``[N]`` or ``[N, 1]``, or `None`.
        sample_weight: ``[N]`` or ``[N, 1]``, or `None`.

    Returns:
        Keras' logs: metrics so far, ``loss`` (the mean negative log-likelihood) and
        ``log_likelihood``.

    Raises:
        TypeError: The mask is not bool.
        ValueError: A shape does not fit, or labels (known outside of a graph) are no
            classes of the circuit.
    """
    program, params = circuit.program, circuit.live_params()
    x, observed = circuit.checked(x, observed)
    evidence = program.evidence(tf.cast(x, program.dtype), observed)
    classes, weights = labels, sample_weight
    if classes is not None:
        _check_labels(circuit, classes)
        classes = tf.reshape(integer_labels(classes), [-1])
    if weights is not None:
        weights = tf.reshape(tf.cast(weights, program.dtype), [-1])
    expectations, joint = expectations_and_joint(
        program, params, evidence, weights, classes
    )
    if weights is not None:  # NaN makes NaN, which ends Keras' fit
        wrong = tf.where(is_finite(weights), tf.zeros_like(weights), np.nan)
        wrong = tf.cast(tf.reduce_sum(wrong), tf.float64)
        expectations["log_likelihood"] += wrong
    expectations = sum_over_replicas(expectations)
    _update(circuit, optimizer, expectations)
    optimizer._iterations.assign_add(1)
    return _logs(circuit, expectations, x, labels, tf.transpose(joint), sample_weight)


def _check_labels(circuit: Circuit, labels: Tensor) -> None:
    """Refuses targets whose shape is not that of labels."""
    shape = tf.TensorShape(labels.shape)
    if shape.rank is not None and (
        shape.rank > 2 or shape.as_list()[1:] not in ([], [1])
    ):
        raise ValueError(
            f'{type(circuit).__name__} "{circuit.name}": targets are no labels, '
            f"received shape {tuple(shape)}, expected [batch], or none: a circuit "
            "learns the distribution of x itself. Write circuit.fit(x), not "
            "circuit.fit(x, x); with classes circuit.fit(x, labels)."
        )


def _check_accumulators(variables: Iterable[keras.Variable]) -> None:
    """Refuses variables that do not follow a learning rule of EM."""
    others = [v.path for v in variables if not getattr(v, "is_em_accumulator", False)]
    if others:
        raise ValueError(
            "OnlineExpectationMaximization: these variables do not follow a learning "
            f"rule of EM, received {others}, expected linear accumulators of sums with "
            "sum_op=SumOpEMBackprop() or a rule of hard EM, and leaves with "
            "use_accumulators=True, only. Freeze the other layers with "
            "layer.trainable = False, or train everything, leaves too: "
            "circuit = tfp_spn.circuits.from_layers(model), then compile and fit that "
            "circuit."
        )


def _update(
    circuit: Circuit,
    optimizer: OnlineExpectationMaximization,
    expectations: Expectations,
) -> None:
    """Makes an M-step, or collects expectations for a later one."""
    program, params = circuit.program, circuit.live_params()
    step_size = tf.convert_to_tensor(optimizer.learning_rate)

    def move(expectations: Expectations) -> None:
        names = sorted(trainable_names(circuit))
        new = maximize(
            program, params, expectations, step_size, optimizer.pseudocount, names
        )
        assign_in_replica([params[n] for n in names], [new[n] for n in names])

    if optimizer.accumulate_batches == 1:
        move(expectations)
        return
    if tf.distribute.has_strategy():
        raise ValueError(
            "OnlineExpectationMaximization: replicas cannot collect batches, received "
            f"accumulate_batches={optimizer.accumulate_batches} and "
            f"{type(tf.distribute.get_strategy()).__name__}, expected 1. Choose a "
            "larger batch size."
        )
    count, totals = optimizer.accumulated(circuit, expectations)
    packed = tf.nest.pack_sequence_as(expectations, [tf.identity(v) for v in totals])
    total = add_expectations(packed, expectations)
    is_last = count + 1 == optimizer.accumulate_batches

    def step() -> Tensor:
        move(total)
        return tf.constant(0)

    tf.cond(is_last, step, lambda: tf.constant(0))
    for variable, value in zip(totals, tf.nest.flatten(total), strict=True):
        variable.assign(tf.where(is_last, tf.zeros_like(value), value))
    count.assign(tf.where(is_last, tf.zeros_like(count), count + 1))


def _logs(
    circuit: Circuit,
    expectations: Expectations,
    x: Tensor,
    labels: Tensor | None,
    y_pred: Tensor,
    sample_weight: Tensor | None,
) -> dict[str, Tensor]:
    """Returns Keras' logs of a step."""
    count = expectations["num_examples"]
    loss = -tf.math.divide_no_nan(expectations["log_likelihood"], count)
    # Keras shows what its own tracker says as "loss", whatever a step returns.
    circuit._loss_tracker.update_state(tf.cast(loss, tf.float32), sample_weight=count)
    if labels is None:
        labels = tf.zeros([tf.shape(y_pred)[0]], tf.int32)
    logs = circuit.compute_metrics(x, labels, y_pred, sample_weight)
    return {**logs, "log_likelihood": -logs["loss"]}
