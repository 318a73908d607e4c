"""The methods of `fit` by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfp_spn._arguments import shown
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.expectation_maximization import ExpectationMaximization
from tfp_spn.learning.gradient_ascent import GradientAscent
from tfp_spn.learning.method import Method, Terms, Trainer
from tfp_spn.learning.minibatch_expectation_maximization import (
    MinibatchExpectationMaximization,
)
from tfp_spn.learning.step_sizes import named_step_size


@dataclass(frozen=True)
class _FullBatch(Method):
    is_full_batch = True
    step_sizes = "number"

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        size = 1.0 if terms.step_size is None else terms.step_size
        size = float(size)  # type: ignore[arg-type]
        return ExpectationMaximization(circuit, size, *terms.for_em)


@dataclass(frozen=True)
class _Minibatch(Method):
    step_sizes = "any"

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        size = 0.1 if terms.step_size is None else terms.step_size
        if isinstance(size, str):
            size = named_step_size(size, terms.num_updates)
        return MinibatchExpectationMaximization(circuit, size, *terms.for_em)


@dataclass(frozen=True)
class _Gradient(Method):
    is_gradient = True

    def trainer(self, circuit: Circuit, terms: Terms) -> Trainer:
        if terms.adjustments or not terms.e_step.is_plain:
            found = [type(a).__name__ for a in terms.adjustments]
            found = found or [repr(terms.e_step)]
            raise ValueError(
                "fit: gradients have no M-step, received method='gradient' with "
                f"{', '.join(found)}, expected a method of EM. Use "
                "method='online_em'."
            )
        return GradientAscent(
            circuit, terms.optimizer, terms.jit_compile, terms.regularizer
        )


METHODS: dict[str, Method] = {
    "em": _FullBatch(),
    "online_em": _Minibatch(),
    "gradient": _Gradient(),
}


def method_of(method: str | Method) -> Method:
    """A method by name, or the object itself.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in METHODS:
        first, *rest = map(repr, METHODS)
        raise ValueError(
            f"fit: unknown method, received method={shown(method)}, expected {first}, "
            f"{', '.join(rest)} or an object such as tfp_spn.learning."
            "AnemoneExpectationMaximization(). Choose one of these."
        )
    return METHODS[method]


@dataclass(frozen=True)
class WrappedMethod(Method):
    """A method that changes another one."""

    method: str | Method = "online_em"

    def __post_init__(self) -> None:
        method_of(self.method)

    @property
    def inner(self) -> Method:
        """The other one."""
        return method_of(self.method)

    @property
    def is_full_batch(self) -> bool:  # type: ignore[override]
        """As the other one."""
        return self.inner.is_full_batch

    @property
    def step_sizes(self) -> Literal["number", "any", "none"]:  # type: ignore[override]
        """As the other one."""
        return self.inner.step_sizes

    @property
    def is_gradient(self) -> bool:  # type: ignore[override]
        """As the other one."""
        return self.inner.is_gradient
