"""Circuits from stacks of layers."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfp_spn._serialization import (
    configuration_of,
    deserialize,
    register,
    serialize,
)
from tfp_spn._typing import Config, Params, ShapeLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.layer_stack import compile_stack
from tfp_spn.circuits.outer_layers import circuit_layers
from tfp_spn.circuits.stack_validation import (
    KNOWN_LAYERS,
    check_stack,
    leaf_of,
    permutation_tables,
    sum_names,
)
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.parameter_names import from_leaf

# Values hold the layers, not the model, so that entries die with their models.
_CIRCUITS: weakref.WeakKeyDictionary[keras.Sequential, LayeredCircuit] = (
    weakref.WeakKeyDictionary()
)


def from_layers(
    model_or_layers: keras.Sequential | Sequence[keras.layers.Layer],
) -> LayeredCircuit:
    """Compiles a stack of layers to a circuit that shares their variables.

    The stack is ``[FlatToRegions, leaf, ..., RootSum]`` with permutations, sums and
    products of `tfp_spn.layers` in between; or, over images, ``[leaf, ...,
    SpatialToRegions, ..., RootSum]`` with spatial products and sums and then region
    layers, whose variables are the pixels row by row. `LogDropout` and `InputDropout`,
    which act in the training of the stack itself only, are left out. With
    ``RootSum()`` each weighted child of the root is a class of the circuit.

    Args:
        model_or_layers: A `keras.Sequential` or a list of layers, built. An unbuilt
            list may begin with a `keras.Input`.

    Returns:
        The circuit; the same one for the same model.

    Raises:
        TypeError: If a layer is not of `tfp_spn.layers` or not supported here.
        ValueError: If the layers are not built or not in order, or the stack is not
            decomposable or not smooth.

    Example:
        >>> import keras, tfp_spn
        >>> model = keras.Sequential([
        ...     keras.Input((4,)),
        ...     tfp_spn.layers.FlatToRegions(num_decomps=1),
        ...     tfp_spn.layers.NormalLeaf(num_components=3),
        ...     tfp_spn.layers.DenseProduct(num_factors=2),
        ...     tfp_spn.layers.DenseSum(num_sums=2),
        ...     tfp_spn.layers.DenseProduct(num_factors=2),
        ...     tfp_spn.layers.RootSum(return_weighted_child_logits=False)])
        >>> tfp_spn.circuits.from_layers(model).program.event_shape
        (4,)
    """
    model = model_or_layers
    if not isinstance(model, keras.Sequential):
        if not isinstance(model, (list, tuple)):
            raise TypeError(
                "from_layers: received a model of type "
                f"{type(model).__name__}, expected a keras.Sequential or a list of "
                "layers. Put the layers into a keras.Sequential."
            )
        model = keras.Sequential(list(model))
    layers = circuit_layers(model.layers)
    circuit = _CIRCUITS.get(model)
    if circuit is None or [*map(id, circuit.stack)] != [*map(id, layers)]:
        check_stack(layers)
        unbuilt = [layer.name for layer in layers if not layer.built]
        if unbuilt:
            raise ValueError(
                f"from_layers: received layers that are not built ({unbuilt}), "
                "expected a model whose input shape is known. Begin it with "
                "keras.Input((num_variables,)) or keras.Input((height, width, dims)), "
                "or call model.build((None, num_variables)) first."
            )
        circuit = _CIRCUITS[model] = LayeredCircuit(
            layers, name=f"{model.name}_circuit"
        )
    return circuit


@register
class LayeredCircuit(Circuit):
    """The circuit that `from_layers` builds: over the variables of a stack of layers.

    Args:
        stack: The layers, as `from_layers` wants them.
        event_shape: ``[num_variables]``, ``[num_variables, dims]`` or ``[height, width,
            dims]``; needed if the layers are not built.
        **kwargs: Passed on to `keras.Model`.

    Attributes:
        stack: The layers.
    """

    def __init__(
        self,
        stack: Sequence[keras.layers.Layer],
        event_shape: Sequence[int] | None = None,
        **kwargs: object,
    ) -> None:
        check_stack(stack)
        kwargs.setdefault("dtype", leaf_of(stack).compute_dtype)
        super().__init__(**kwargs)
        if event_shape is not None:
            shape: ShapeLike = (None, *event_shape)
            for layer in stack:
                if not layer.built:
                    layer.build(shape)
                shape = layer.compute_output_shape(shape)
        self.stack = tuple(stack)
        self._sums = sum_names(stack)
        self._program = compile_stack(stack)
        self._tables = tuple(permutation_tables(stack))
        self.built = True

    @property
    def program(self) -> CircuitProgram:
        """The compiled circuit, compiled anew if other permutations were loaded."""
        tables = tuple(permutation_tables(self.stack))
        if not all(map(np.array_equal, tables, self._tables)):
            self._program = compile_stack(self.stack)
            self._tables = tables
        return self._program

    def live_params(self) -> Params:
        """The un-read variables by name."""
        leaf = leaf_of(self.stack)
        params = from_leaf(leaf.live_params())
        for name, layer in self._sums.items():
            params[name] = layer.accumulators.value
        return dict(sorted(params.items()))

    def structure(self) -> Config:
        """The layers, and a hash of their permutations."""
        digest = hashlib.sha256()
        for table in permutation_tables(self.stack):
            digest.update(f"{table.shape} {table.tolist()}".encode())
        layers = {str(n): configuration_of(la) for n, la in enumerate(self.stack)}
        return {
            "layers": layers,
            "permutations": digest.hexdigest()[:16],
            "event_shape": list(self.program.event_shape),
        }

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **keras.Model.get_config(self),
            "stack": [serialize(layer) for layer in self.stack],
            "event_shape": list(self._program.event_shape),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: object = None
    ) -> LayeredCircuit:
        """Builds the circuit from `get_config`'s result."""
        config = dict(config)
        config["stack"] = [
            deserialize(cls, "stack", layer, *KNOWN_LAYERS)
            for layer in config.get("stack") or []
        ]
        return cls(**config)
