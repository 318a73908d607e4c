"""Defaults of sum layers that are made without an explicit argument.

Each ``set_default_*`` takes effect at once and for good, or, in a ``with`` statement,
until its end:

    tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop())
    with tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop()): ...

A layer takes the defaults when it is constructed and holds them from then on: its
config names them, so that a saved model does not depend on the defaults of the process
that loads it.
"""

from tfp_spn.config.accumulator_constraints import (
    get_default_linear_accumulators_constraint as get_default_linear_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config.accumulator_constraints import (
    get_default_logspace_accumulators_constraint as get_default_logspace_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config.accumulator_constraints import (
    set_default_linear_accumulators_constraint as set_default_linear_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config.accumulator_constraints import (
    set_default_logspace_accumulators_constraint as set_default_logspace_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config.accumulator_initializer import (
    get_default_accumulator_initializer as get_default_accumulator_initializer,
)
from tfp_spn.config.accumulator_initializer import (
    set_default_accumulator_initializer as set_default_accumulator_initializer,
)
from tfp_spn.config.sum_op import get_default_sum_op as get_default_sum_op
from tfp_spn.config.sum_op import set_default_sum_op as set_default_sum_op

__all__ = [
    "get_default_accumulator_initializer",
    "get_default_linear_accumulators_constraint",
    "get_default_logspace_accumulators_constraint",
    "get_default_sum_op",
    "set_default_accumulator_initializer",
    "set_default_linear_accumulators_constraint",
    "set_default_logspace_accumulators_constraint",
    "set_default_sum_op",
]
