"""The starting point of a fit of a new circuit: from its seed and the data alone.

Initializers without a seed take one from Python's generator when they are made, so
that a new circuit depends on whatever was drawn before. `start_from` draws its
parameters once more, from the seed of the fit, and sets leaves to where the data are.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping

import keras

from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.data import Data
from tfp_spn.layers.folded_sum import FoldedSum
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.untouched import are_untouched
from tfp_spn.learning.initialization import initialize_from


def is_new(circuit: Circuit) -> bool:
    """Whether a circuit was never fitted, loaded or assigned."""
    return are_untouched(_variables_of(circuit))


def start_from(circuit: Circuit, data: Data | None, seed: int) -> None:
    """Gives a new circuit the parameters that a fit starts from.

    Args:
        circuit: The circuit.
        data: Validated arrays, or `None` of datasets, which leave leaves where they
            were drawn.
        seed: Seed of all draws.
    """
    program = circuit.program.step
    with _drawn_from(seed):
        for layer in circuit._flatten_layers():
            has_sums = isinstance(layer, FoldedSum | BaseSum)
            if has_sums and layer.accumulators.trainable:
                new = layer.sum_weights.redrawn(layer.accumulators)
                layer.accumulators.assign(new)
        for part in program.leaf.parts(program.layout):
            if part.leaf.trainable and part.leaf.has_stock_initializers:
                _redraw(part.leaf)
    if data is not None:
        initialize_from(circuit, data, seed, default_only=True)


def _variables_of(circuit: Circuit) -> list[keras.Variable]:
    """The Keras variables of a circuit's parameters."""
    params = {id(value) for value in circuit.live_params().values()}
    return [v for v in circuit.variables if id(v.value) in params]


def _redraw(leaf: BaseLeaf) -> None:
    """Gives a leaf layer the parameters of a new one of its configuration."""
    specs = leaf.parameter_specs(leaf.num_dims)
    name, variable = next(iter(leaf.parameters.items()), ("", None))
    if variable is None:
        return
    slots = tuple(variable.shape)[: len(variable.shape) - len(specs[name].shape)]
    new = type(leaf).from_config(leaf.get_config())
    new.add_parameters(slots, leaf.num_dims)
    values: Mapping[str, keras.Variable] = new.parameters
    for name, variable in leaf.parameters.items():
        if variable.trainable:
            variable.assign(values[name])


@contextlib.contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Within the context, initializers without a seed take theirs from this one."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
