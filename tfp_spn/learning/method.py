"""What `fit` takes as its method: settings, to be bound to a circuit."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import keras
import tensorflow as tf

from tfp_spn._keras_typing import Regularizer
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.adjustment import Adjustment
from tfp_spn.learning.batches import Batch
from tfp_spn.learning.e_step import PLAIN, EStep
from tfp_spn.learning.replicas import Replicas
from tfp_spn.learning.step_sizes import StepSize


class Trainer(Protocol):
    """A method bound to a circuit."""

    replicas: Replicas

    @property
    def state(self) -> list[tf.Variable]:
        """What an interrupted fit must keep besides the circuit's parameters."""

    def epoch(self, batches: Iterable[Batch]) -> float:
        """Learns from batches; returns the mean log-likelihood before."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What a fit says to its method.

    Attributes:
        pseudocount: See `tfp_spn.learning.maximize`.
        jit_compile: Whether XLA compiles what is done for a batch.
        num_updates: Updates of the whole fit, if that is known.
        step_size: Size of steps, or `None`: that of the method.
        optimizer: A Keras optimizer, or `None`: that of the method.
        adjustments: Changes of expected counts before each M-step.
        e_step: What the E-step does besides.
        regularizer: A Keras regularizer of the parameters, for gradients.
    """

    pseudocount: float = 0.01
    jit_compile: bool | None = None
    num_updates: int | None = None
    step_size: StepSize | str | None = None
    optimizer: keras.optimizers.Optimizer | None = None
    adjustments: tuple[Adjustment, ...] = ()
    e_step: EStep = PLAIN
    regularizer: Regularizer | None = None

    def with_adjustment(self, adjustment: Adjustment) -> Terms:
        """The same, with a further one."""
        return replace(self, adjustments=(*self.adjustments, adjustment))

    @property
    def for_em(self) -> tuple[float, bool | None, tuple[Adjustment, ...], EStep]:
        """What trainers by EM take behind the size of their steps."""
        return self.pseudocount, self.jit_compile, self.adjustments, self.e_step


class Method(abc.ABC):
    """A way to learn, as an object for ``fit(method=...)``.

    Subclasses are frozen dataclasses of their settings, whose `repr` a checkpoint
    records; `trainer` binds them to a circuit.

    Attributes:
        is_full_batch: Whether an epoch is one update.
        step_sizes: Which step sizes `fit` may give: a number, functions too, or none.
        is_gradient: Whether `fit` may give an optimizer.
    """

    is_full_batch: ClassVar[bool] = False
    step_sizes: ClassVar[Literal["number", "any", "none"]] = "none"
    is_gradient: ClassVar[bool] = False

    @abc.abstractmethod
    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        """Binds the method to a circuit."""
