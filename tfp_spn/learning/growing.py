"""Growing: wider circuits that begin where narrower ones ended."""

from __future__ import annotations

import numpy as np

from tfp_spn._arguments import a_count, a_rate, a_seed, reads
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_region_graph import RegionGraphCircuit
from tfp_spn.circuits.resized import UnitClasses
from tfp_spn.learning.maximization import as_circuit


@reads(factor=a_count(), noise=a_rate(least=0), seed=a_seed())
def grow(
    circuit: Circuit, factor: int = 2, *, noise: float = 0.1, seed: int = 0
) -> RegionGraphCircuit:
    """Splits each unit into several that differ a little [1].

    Without noise the new circuit has the distribution of the old one, and EM could
    never tell the copies of a unit apart. So weights are multiplied by ``exp(noise
    z)``, ``z`` standard normal, and renormalised: what follows is training, from a good
    start and with more room.

    Args:
        circuit: A circuit of `tfp_spn.circuits.from_region_graph`, or a distribution
            over one. It is left as it is.
        factor: How many units each one becomes.
        noise: Standard deviation, in nats.
        seed: Of the noise.

    Returns:
        A new circuit of the same structure, with `factor` times the units.

    Raises:
        TypeError: The circuit is of another kind.
        ValueError: A number is out of range.

    Example:
        >>> import tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> tfp_spn.learning.grow(circuit).leaf.num_components
        4

    References:
        [1]: Dang, Liu, Van den Broeck. Sparse probabilistic circuits via pruning and
        growing. NeurIPS, 2022.
    """
    circuit = as_circuit(circuit)
    classes = UnitClasses(circuit, "grow")
    units = {
        c: np.repeat(np.arange(classes.sizes[c]), factor) for c in classes.resizable
    }
    shares = {c: np.full(len(index), 1 / factor) for c, index in units.items()}
    new = classes.resized(units, shares)
    rng = np.random.default_rng(seed)
    for spec in new.program.sum_specs:
        if spec is new.program.prior:
            continue
        variable = new.live_params()[spec.parameter]
        value = variable.numpy()
        change = (noise * rng.standard_normal(value.shape)).astype(value.dtype)
        value = value + change if spec.logspace else value * np.exp(change)
        variable.assign(value)
    return new
