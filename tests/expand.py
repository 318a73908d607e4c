"""Expands a circuit of the package, node by node, into a reference circuit.

Reads the program's index tables and the parameters' values, and knows nothing of how
they are evaluated: the slow twin of `tfp_spn.programs.evaluation`.
"""

from __future__ import annotations

import itertools

import numpy as np

from tests.reference.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Cauchy,
    Indicator,
    Laplace,
    Normal,
    Vector,
)
from tests.reference.nodes import Leaf, Node, Product, Sum
from tfp_spn import layers
from tfp_spn.programs.steps import MARGINALIZED


def expand(circuit, params=None) -> Node:
    """The root over all classes; `class_roots` gives them one by one."""
    roots, prior = class_roots(circuit, params)
    return roots[0] if len(roots) == 1 else Sum(roots, prior)


def class_roots(circuit, params=None) -> tuple[list[Node], np.ndarray | None]:
    """The root of each class, and the prior of the classes."""
    roots, prior, _ = expand_all(circuit, params)
    return roots, prior


def all_log_weights(program, tables):
    """Of each step, `None` for bare products."""
    return [tables.log_weights_of(number) for number in range(len(program.steps))]


def expand_all(circuit, params=None):
    """Roots, prior, and the nodes of each step: ``steps[s][region][output]``."""
    program = circuit.program
    tables = program.tables(params or circuit.live_params())
    values: list[list[list[Node]]] = [_leaf_regions(program, tables)]
    for step, log_w in zip(
        program.steps, all_log_weights(program, tables), strict=True
    ):
        weights = None if log_w is None else np.exp(np.asarray(log_w, np.float64))
        shared = step.sums is not None and step.sums.shared
        step_regions = []
        for region in range(step.num_regions):
            products = []
            for partition in range(step.num_partitions):
                place = region * step.num_partitions + partition
                factors = [_gathered(g, place, values) for g in step.factors]
                products += _products(factors, step)
            if weights is None:
                step_regions.append(products)
            else:
                step_regions.append(
                    [
                        _sum(products, weights[0 if shared else region, :, o])
                        for o in range(step.num_outputs)
                    ]
                )
        values.append(step_regions)
    roots = []
    for place in range(len(program.root.index)):
        roots += _gathered(program.root, place, values)
    prior = None
    if tables.log_prior is not None:
        prior = _normalized(np.exp(np.asarray(tables.log_prior, np.float64)))
    return roots, prior, values[1:]


def _sum(products: list[Node | None], weights: np.ndarray) -> Node | None:
    """A sum; of nothing but padding, whose value is 1, there is none."""
    if products[0] is None:
        assert all(product is None for product in products)
        return None
    return Sum(products, _normalized(weights))


def _normalized(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()  # float32 weights sum to one to 1e-7


def _gathered(gather, place: int, values) -> list[Node] | None:
    index = int(gather.index[place])
    if index == MARGINALIZED:
        return None
    for source, size in zip(gather.sources, gather.sizes, strict=True):
        if index < size:
            return values[source][index]
        index -= size
    raise AssertionError("index out of range")


def _products(factors: list[list[Node | None] | None], step) -> list[Node | None]:
    """The units of a partition; `None` for a product of nothing, whose value is 1."""
    if step.product == "hadamard":
        count = max(len(factor) for factor in factors if factor is not None)
        units = [[k] * len(factors) for k in range(count)]
    elif step.product == "chosen":
        units = step.factor_units.T.tolist()
    else:  # a padded factor repeats the product once per unit
        width = max(len(factor) for factor in factors if factor is not None)
        ranges = [range(width if f is None else len(f)) for f in factors]
        units = itertools.product(*ranges)
    return [
        _product([f[i] for f, i in zip(factors, chosen, strict=True) if f is not None])
        for chosen in units
    ]


def _product(units) -> Node | None:
    present = [unit for unit in units if unit is not None]
    if len(present) < 2:
        return present[0] if present else None
    return Product(present)


def _leaf_regions(program, tables) -> list[list[Node]]:
    leaf, layout = program.leaf, program.layout
    regions = []
    for region in range(layout.num_regions):
        slots = [s for s in layout.slots_of_region[region] if s < layout.num_slots]
        regions.append(
            [
                _product(
                    [
                        Leaf(
                            int(layout.slot_variable[slot]),
                            _family(
                                leaf, tables.leaf, slot, k, layout.num_dims, layout
                            ),
                        )
                        for slot in slots
                    ]
                )
                for k in range(leaf.num_components)
            ]
        )
    return regions


def _family(leaf, params, slot: int, k: int, num_dims: int, layout=None):
    if isinstance(leaf, layers.MixedLeaf):
        (part,) = (p for p in leaf.parts(layout) if p.slot_place[slot] >= 0)
        leaf, params, slot = part.leaf, part.params(params), part.slot_place[slot]
    families = [_univariate(leaf, params, slot, k, d) for d in range(num_dims)]
    return families[0] if num_dims == 1 else Vector(families)


def _univariate(leaf, params, slot, k, d):
    def get(name):
        return np.asarray(params[name], np.float64)[slot]

    if isinstance(leaf, layers.DistributionLeaf):
        assert leaf.family.name == "Normal"
        values = {n: np.asarray(v, np.float64) for n, v in leaf.values(params).items()}
        return Normal(values["loc"][slot, k, d], values["scale"][slot, k, d])
    if isinstance(leaf, layers.IndicatorLeaf):
        return Indicator(k, leaf.num_components)
    if isinstance(leaf, layers.CategoricalLeaf):
        logits = get("logits")[d, :, k]
        return Categorical(_normalized(np.exp(logits - logits.max())))
    if isinstance(leaf, layers.DiscretizedLogisticLeaf):
        size = leaf.num_categories - 1
        scale = leaf.min_scale + size * np.logaddexp(0.0, get("scale")[k, d])
        cuts = np.arange(size) + 0.5 - size * get("location")[k, d]
        cdf = [0.0, *(1 / (1 + np.exp(-cuts / scale))), 1.0]
        return Categorical(_normalized(np.diff(cdf)))
    if isinstance(leaf, layers.BernoulliLeaf | layers.BinomialLeaf):
        p = 1.0 / (1.0 + np.exp(-get("logits")[k, d]))
        if isinstance(leaf, layers.BernoulliLeaf):
            return Bernoulli(p)
        return Binomial(leaf.total_count, p)
    scale = leaf.min_scale + np.logaddexp(0.0, get("scale")[k, d])
    family = {
        layers.NormalLeaf: Normal,
        layers.LaplaceLeaf: Laplace,
        layers.CauchyLeaf: Cauchy,
    }[type(leaf)]
    return family(get("location")[k, d], scale)
