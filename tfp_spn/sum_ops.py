"""The learning rules of sums, known to Keras' saving.

`tfp_spn.ops` imports no Keras; the rules are registered here, so that a layer's config
can hold one. Layers take the rules from this module.
"""

from __future__ import annotations

from tfp_spn._serialization import register
from tfp_spn.ops.sum_rules import (
    SumOpEMBackprop,
    SumOpGradBackprop,
    SumOpHardEMBackprop,
    SumOpSampleBackprop,
    SumOpUnweightedHardEMBackprop,
    SumRule,
)

SumOpBase = SumRule  # its name in LibSPN-Keras

__all__ = [
    "SumOpBase",
    "SumOpEMBackprop",
    "SumOpGradBackprop",
    "SumOpHardEMBackprop",
    "SumOpSampleBackprop",
    "SumOpUnweightedHardEMBackprop",
    "SumRule",
]

for _rule in (
    SumOpGradBackprop,
    SumOpEMBackprop,
    SumOpHardEMBackprop,
    SumOpSampleBackprop,
    SumOpUnweightedHardEMBackprop,
):
    register(_rule)
