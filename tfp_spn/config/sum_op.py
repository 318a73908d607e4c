"""The learning rule of sums that are given none."""

from __future__ import annotations

from tfp_spn.config.default import Default, Replacement
from tfp_spn.sum_ops import SumOpGradBackprop, SumRule

_DEFAULT: Default[SumRule] = Default(SumOpGradBackprop())


def set_default_sum_op(op: SumRule) -> Replacement[SumRule]:
    """Sets the learning rule of layers and circuits made without `sum_op`.

    Args:
        op: The rule.

    Returns:
        A context manager that restores the previous default at the end of its block
        (without ``with``, the new default stays).

    Raises:
        TypeError: `op` is no learning rule.

    Example:
        >>> import tfp_spn
        >>> with tfp_spn.set_default_sum_op(tfp_spn.SumOpEMBackprop()):
        ...     layer = tfp_spn.layers.DenseSum(4)
        >>> layer.sum_op, tfp_spn.layers.DenseSum(4).sum_op
        (SumOpEMBackprop(), SumOpGradBackprop(logspace_accumulators=None))
    """
    if not isinstance(op, SumRule):
        raise TypeError(
            f"set_default_sum_op: received {op!r}, expected a learning rule. Pass, for "
            "example, tfp_spn.SumOpEMBackprop()."
        )
    return _DEFAULT.replace(op)


def get_default_sum_op() -> SumRule:
    """The learning rule of layers made without `sum_op`.

    Returns:
        The rule, `SumOpGradBackprop` unless another was set.
    """
    return _DEFAULT.value
