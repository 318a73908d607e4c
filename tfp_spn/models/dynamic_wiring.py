"""How the four networks of a dynamic sum-product network fit together."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from tfp_spn.circuits.template import check_template_network
from tfp_spn.layers.regions.region_layer import Shape

TEMPLATE = "template_network"
CURRENT = "interface_network_t0"
PREVIOUS = "interface_network_t_minus_1"
TOP = "top_network"
NETWORKS = (TEMPLATE, CURRENT, PREVIOUS, TOP)


def connect(networks: Mapping[str, keras.Model], label: str) -> None:
    """Builds the networks above a built template, and checks that they match.

    Args:
        networks: The four, by the names of the constructor's arguments.
        label: The model, as error messages begin.

    Raises:
        TypeError: A network has no single input and output.
        ValueError: Shapes do not match, or the template does not cover the variables.
    """
    template = _regions(networks, TEMPLATE, label)
    try:
        check_template_network(networks[TEMPLATE])
    except ValueError as error:
        raise ValueError(f"{label}, {TEMPLATE}: {error}") from error
    if template[1] != 1:
        raise ValueError(
            f"{label}: {TEMPLATE} returns {template}, {template[1]} scopes, expected "
            "one that covers all variables of a step. Add products whose num_factors "
            f"multiply to {template[1]}."
        )
    _receive(networks, CURRENT, template, f"{TEMPLATE} returns", label)
    current = _regions(networks, CURRENT, label)
    _check_regions(current, template, CURRENT, label)

    previous = _previous_width(networks, current, label)
    num_nodes = previous * current[3]
    product = (*current[:3], num_nodes)
    source = (
        f"the product of the {previous} nodes of {PREVIOUS} and the {current[3]} nodes "
        f"of {CURRENT} has {num_nodes} nodes,"
    )
    _receive(networks, PREVIOUS, product, source, label)
    returned = _regions(networks, PREVIOUS, label)
    _check_regions(returned, template, PREVIOUS, label)
    if returned[3] != previous:
        raise ValueError(
            f"{label}: {PREVIOUS} returns {returned[3]} nodes for a product of "
            f"{num_nodes}, but {previous} for others; expected a width of its own. End "
            "it in a sum layer."
        )
    _receive(networks, TOP, product, source, label)
    top = _shape(networks, TOP, "output_shape", label)
    if len(top) != 2:
        raise ValueError(
            f"{label}: {TOP} returns {top}, expected [batch, outputs]. End it in a "
            "RootSum."
        )


def _previous_width(
    networks: Mapping[str, keras.Model],
    current: tuple[int | None, int, int, int],
    label: str,
) -> int:
    """Nodes of the interface, which the network that returns them also takes."""
    network = networks[PREVIOUS]
    if network.built:
        return _regions(networks, PREVIOUS, label)[3]
    guess = (*current[:3], current[3] * current[3])
    return network.compute_output_shape(guess)[-1]


def _receive(
    networks: Mapping[str, keras.Model],
    name: str,
    shape: Shape,
    source: str,
    label: str,
) -> None:
    """Builds a network for a shape, or checks that it was built for it."""
    network = networks[name]
    if not network.built:
        network.build(shape)
    expected = _shape(networks, name, "input_shape", label)
    if expected[1:] != shape[1:]:
        raise ValueError(
            f"{label}: {name} takes {expected}, but {source} {shape}. Change the "
            "number of sums, or leave the input shape out: the network is then built "
            "for what it receives."
        )


def _regions(
    networks: Mapping[str, keras.Model], name: str, label: str
) -> tuple[int | None, int, int, int]:
    shape = _shape(networks, name, "output_shape", label)
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"{label}: {name} returns {shape}, expected regions [batch, 1, decomps, "
            "nodes]. "
            + ("Leave its RootSum out." if len(shape) == 2 else "End it in a sum.")
        )
    return shape  # type: ignore[return-value]


def _shape(
    networks: Mapping[str, keras.Model], name: str, which: str, label: str
) -> Shape:
    shape = getattr(networks[name], which, None)
    if not isinstance(shape, tuple) or (shape and isinstance(shape[0], tuple | list)):
        raise TypeError(
            f"{label}: {name} has no single {which.replace('_', ' ')}, expected one "
            "input and one output. Pass a keras.Sequential or a functional model."
        )
    return shape


def _check_regions(shape: Shape, template: Shape, name: str, label: str) -> None:
    if shape[1:3] != template[1:3]:
        raise ValueError(
            f"{label}: {name} returns {shape}, {shape[1]} scopes and {shape[2]} "
            f"decompositions, expected {template[1]} and {template[2]} as "
            f"{TEMPLATE} has. Use layers that keep them, such as DenseSum."
        )
