"""Flows on their way down: what each product received, and each region is owed."""

from __future__ import annotations

import tensorflow as tf

from tfp_spn._typing import Tensor
from tfp_spn.ops.axes import reshape_axes
from tfp_spn.ops.log_space import sum_to_shape_of
from tfp_spn.ops.regions import places_of, sum_over_uses
from tfp_spn.programs.folded_program import FoldedProgram
from tfp_spn.programs.gathering import concat_regions, split_units
from tfp_spn.programs.routing import ROOT, Key
from tfp_spn.programs.steps import Step


class Flows:
    """Derivatives of an objective with respect to log-values, from the roots down.

    Args:
        program: The circuit.
        roots: ``[..., C, N]``: of the roots.
    """

    def __init__(self, program: FoldedProgram, roots: Tensor) -> None:
        self.program = program
        num_regions = len(program.root.index)
        roots = split_units(roots[..., tf.newaxis, :, :], num_regions)
        self.received: dict[Key, Tensor] = {(ROOT, None): roots}

    def into(self, value: int, like: Tensor) -> Tensor:
        """What the regions of a value received, of the shape of `like`."""
        route = self.program.flow_routes[value]
        parts = [sum_over_uses(self.received[key], rows) for key, rows in route.parts]
        if not parts:
            return tf.zeros_like(like)
        flow = concat_regions(parts)
        if route.uses is not None:
            flow = sum_over_uses(flow, route.uses)
        return sum_to_shape_of(flow, like)

    def give(self, number: int, products: Tensor) -> None:
        """Notes what the products of a step received, ``[..., R, I, N]``."""
        step = self.program.steps[number]
        products = split_units(products, step.num_partitions)  # [..., J, U, N]
        if step.product == "hadamard":
            self.received[number, None] = products
            return
        for factor in range(len(step.factors)):
            self.received[number, factor] = _of_factor(step, products, factor)


def _of_factor(step: Step, products: Tensor, factor: int) -> Tensor:
    """``[..., J, U, N]`` to ``[..., J, K, N]``: sums over the products of each unit."""
    if step.factor_units is not None:
        uses = places_of(step.factor_units[factor], step.widths[factor])
        return sum_over_uses(products, uses, axis=-2)
    widths = list(step.widths)
    by_unit = reshape_axes(products, -2, -1, widths)
    first = by_unit.shape.rank - 1 - len(widths)
    others = [first + a for a in range(len(widths)) if a != factor]
    return tf.reduce_sum(by_unit, others)
