"""The judge: node-level circuits in float64 NumPy, slow and plain.

It knows nothing of the package under test.
"""

from . import enumerate_states, evaluate, families
from .families import (
    Bernoulli,
    Binomial,
    Categorical,
    Cauchy,
    Indicator,
    Laplace,
    Normal,
    Vector,
)
from .family import Family
from .nodes import Leaf, Node, Product, Sum, leaves_of, nodes_of, rebuild, sums_of
from .random_circuits import random_circuit, random_weights

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Family",
    "Indicator",
    "Laplace",
    "Leaf",
    "Node",
    "Normal",
    "Product",
    "Sum",
    "Vector",
    "enumerate_states",
    "evaluate",
    "families",
    "leaves_of",
    "nodes_of",
    "random_circuit",
    "random_weights",
    "rebuild",
    "sums_of",
]
