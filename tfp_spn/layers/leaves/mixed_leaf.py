"""Leaves of different families for different variables."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._keras_typing import LayerOptions
from tfp_spn._serialization import register, serialize
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.leaf_groups import check_agreement, checked_groups
from tfp_spn.layers.leaves.parts import (
    LeafPart,
    merged_slots,
    summed_regions,
)


@register
class MixedLeaf(BaseLeaf):
    """A leaf layer for each group of variables: tables of mixed types.

        log p(x | k) = sum_v log p_{family of v}(x[v] | k)

    All queries are those of the families, each over its own variables, which are looked
    up in static index tables. Events are floats, integers where a family is discrete,
    unless all families are discrete.

    Args:
        leaves: Pairs of a leaf layer and the variables that it is for, such as
            ``[(NormalLeaf(8), [0, 2]), (BernoulliLeaf(8), [1])]``. Together they have
            each variable once. The layers have equal `num_components` and dtype, and
            are used nowhere else.
        **kwargs: Passed on to `keras.layers.Layer`.

    Raises:
        TypeError: What is no leaf layer, or no list of integers.
        ValueError: Layers that do not fit together, variables that are missing or
            occur twice.

    Input shape:
        ``[batch, scopes, decomps, dims]``: the scopes are the variables.

    Output shape:
        ``[batch, scopes, decomps, num_components]``.

    Example:
        >>> import numpy as np, tfp_spn
        >>> from tfp_spn import layers
        >>> leaf = layers.MixedLeaf([
        ...     (layers.NormalLeaf(4, scale_trainable=True), [0, 3]),
        ...     (layers.CategoricalLeaf(4, num_categories=5), [1]),
        ...     (layers.DistributionLeaf("Gamma", 4), [2])])
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=leaf, num_sums=3)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> spn.log_prob(np.array([[0.1, 4, 2.5, -1.0]])).shape
        TensorShape([1])
    """

    def __init__(
        self,
        leaves: Sequence[BaseLeaf | tuple[BaseLeaf, Sequence[int]]],
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        pairs = checked_groups(MixedLeaf, leaves)
        first = pairs[0][0]
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = first.compute_dtype
        super().__init__(first.num_components, **kwargs)
        self.leaves = [leaf for leaf, _ in pairs]
        self.variables_of_leaf = tuple(variables for _, variables in pairs)
        self.num_variables = sum(len(v) for v in self.variables_of_leaf)
        for number, leaf in enumerate(self.leaves):
            self._track_trackable(leaf, f"leaf_{number}")  # lists are invisible
        check_agreement(self, self.leaves)
        self._known = _KnownLayouts()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether all variables are."""
        return all(leaf.is_discrete for leaf in self.leaves)

    @property
    def has_mode(self) -> bool:  # type: ignore[override]
        """Whether all variables have."""
        return all(leaf.has_mode for leaf in self.leaves)

    @property
    def event_dtype(self) -> str:
        """The dtype of samples of all variables."""
        if not self.is_discrete:
            return self.compute_dtype
        dtypes = {leaf.event_dtype for leaf in self.leaves}
        return "int64" if "int64" in dtypes else "int32"

    @property
    def has_moments(self) -> bool:  # type: ignore[override]
        """Whether all variables have."""
        return all(leaf.has_moments for leaf in self.leaves)

    @functools.cached_property
    def digest(self) -> str:
        """That of each leaf, and its variables: leaves have names of their own."""
        parts = zip(self.leaves, self.variables_of_leaf, strict=True)
        own = [(leaf.digest, tuple(variables)) for leaf, variables in parts]
        return repr((id(type(self)), self.compute_dtype, own))

    @property
    def label(self) -> str:
        """``MixedLeaf(NormalLeaf, BernoulliLeaf)``."""
        return f"MixedLeaf({', '.join(leaf.label for leaf in self.leaves)})"

    @property
    def support(self) -> str:
        """Describes the support of each group of variables in words."""
        return "; ".join(
            f"of variables {list(variables)} {leaf.support}"
            for leaf, variables in zip(self.leaves, self.variables_of_leaf, strict=True)
        )

    def parts(self, layout: LeafLayout) -> tuple[LeafPart, ...]:
        """The layers with their variables, slots and regions."""
        for known, parts in self._known.pairs:
            if known is layout:
                return parts
        if layout.num_variables != self.num_variables:
            raise ValueError(
                f'MixedLeaf "{self.name}": received a circuit over '
                f"{layout.num_variables} variables, expected {self.num_variables}, "
                "those of its leaves. Give each variable a leaf."
            )
        parts = tuple(
            LeafPart.of_variables(leaf, f"{number}_", layout, variables)
            for number, (leaf, variables) in enumerate(
                zip(self.leaves, self.variables_of_leaf, strict=True)
            )
        )
        self._known.pairs.append((layout, parts))
        return parts

    @property
    def parameters(self) -> dict[str, keras.Variable]:
        """The variables of all layers, under prefixed names."""
        return {
            f"{number}_{name}": variable
            for number, leaf in enumerate(self.leaves)
            for name, variable in leaf.parameters.items()
        }

    @parameters.setter
    def parameters(self, value: dict) -> None:
        """Stores nothing: if they were stored here too, Keras would save them twice."""

    # --- state ------------------------------------------------------------------

    def add_parameters_of(self, layout: LeafLayout) -> None:
        """Creates the variables of the leaf regions of a circuit."""
        if self.num_slots:
            return
        self._layout_of_circuit = layout
        for part in self.parts(layout):
            part.leaf.add_parameters_of(part.layout)
        self._take_parameters((layout.num_slots,), layout.num_dims)

    def add_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        """Creates the variables of a stack of layers, slots ``(1, scopes, decomps)``.

        Raises:
            ValueError: The slots do not tell which variables they are of.
        """
        if self.num_slots:
            return
        if len(slots) != 3 or slots[1] != self.num_variables:
            raise ValueError(
                f'MixedLeaf "{self.name}": received slots {slots}, expected '
                f"(1, {self.num_variables}, decomps): scopes are the variables of its "
                "leaves. Use it behind FlatToRegions over as many variables, or in "
                "from_region_graph."
            )
        for leaf, variables in zip(self.leaves, self.variables_of_leaf, strict=True):
            leaf.add_parameters((1, len(variables), slots[2]), num_dims)
        self._take_parameters(slots, num_dims)

    def _take_parameters(self, slots: tuple[int, ...], num_dims: int) -> None:
        self.num_dims = num_dims
        self.num_slots = int(np.prod(slots))
        self.slot_shape = tuple(slots[1:])
        self.built = True

    def slot_ndims(self, name: str) -> int:
        """Rank of one slot's canonical parameter."""
        number, own = name.split("_", 1)
        return self.leaves[int(number)].slot_ndims(own)

    def canonical(self, params: Params) -> Params:
        """Each layer's own (see `BaseLeaf.canonical`)."""
        result = {}
        for number, leaf in enumerate(self.leaves):
            for name, value in leaf.canonical(_own(params, number)).items():
                result[f"{number}_{name}"] = value
        return result

    # --- pure functions, in the kernel's layout ---------------------------------

    def log_base(self, x: Tensor) -> Tensor:
        """Returns the base measure of each variable, by its layer."""
        return self._by_variable(x, "log_base", -2)

    def safe_value(self, x: Tensor) -> Tensor:
        """Returns harmless values of each variable, by its layer."""
        return self._by_variable(x, "safe_value", -3)

    def _by_variable(self, x: Tensor, function: str, axis: int) -> Tensor:
        """Evaluates a function of each leaf on values ``[..., V, D, N]``."""
        values = [
            getattr(leaf, function)(tf.gather(x, variables, axis=-3))
            for leaf, variables in zip(self.leaves, self.variables_of_leaf, strict=True)
        ]
        order = np.argsort(np.concatenate(self.variables_of_leaf))
        return tf.gather(tf.concat(values, axis=axis), order, axis=axis)

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Sums of the layers' (see `BaseLeaf.region_log_prob`)."""
        parts = self.parts(layout)
        values = [
            part.leaf.region_log_prob(
                part.params(params),
                part.of_variable(x, -3),
                None if observed is None else part.of_variable(observed, -2),
                part.layout,
                None if hidden is None else part.of_slot(hidden, -2),
            )
            for part in parts
        ]
        return summed_regions(parts, values, -3)

    def _by_slot(self, params: Params, function: str, axis: int) -> Tensor:
        """Evaluates a function of each leaf for all slots, which are on `axis`."""
        values = [
            getattr(leaf, function)(_own(params, number))
            for number, leaf in enumerate(self.leaves)
        ]
        return merged_slots(self._parts_of_slots(), values, axis)

    def _parts_of_slots(self) -> tuple[LeafPart, ...]:
        """Parts of the layout that the parameters were made for."""
        if len(self.slot_shape) == 2:
            scopes, decomps = self.slot_shape
            return self.parts(self._layout_of_stack(scopes, decomps))
        return self._known.pairs[0][1]

    def _layout_of_stack(self, num_scopes: int, num_decomps: int) -> LeafLayout:
        wanted = tuple((v,) for v in range(num_scopes) for _ in range(num_decomps))
        for known, _ in self._known.pairs:
            if known.scopes == wanted and known.num_dims == self.num_dims:
                return known
        return LeafLayout(wanted, num_scopes, self.num_dims)

    def component_mode(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return self._by_slot(params, "component_mode", -3)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """``[..., L, K]``."""
        return self._by_slot(params, "component_mode_log_prob", -2)

    def component_mean(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return self._by_slot(params, "component_mean", -3)

    def component_variance(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return self._by_slot(params, "component_variance", -3)

    def expected_statistics(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        flow: Tensor,
        layout: LeafLayout,
    ) -> Params:
        """Returns the statistics of each layer, under prefixed names."""
        statistics: Params = {}
        for part in self.parts(layout):
            own = part.leaf.expected_statistics(
                part.params(params),
                part.of_variable(x, -3),
                None if observed is None else part.of_variable(observed, -2),
                part.of_region(flow, -3),
                part.layout,
            )
            statistics.update(part.prefixed(own))
        return statistics

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """The M-step of each layer."""
        new: Params = {}
        for number, leaf in enumerate(self.leaves):
            own = leaf.maximize(
                _own(params, number), _own(statistics, number), step_size, pseudocount
            )
            new.update({f"{number}_{name}": value for name, value in own.items()})
        return new

    # --- the Keras layer --------------------------------------------------------

    def slot_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Returns the result of `call`, as a pure function of canonical parameters."""
        values, places = [], []
        for number, leaf in enumerate(self.leaves):
            variables = list(self.variables_of_leaf[number])
            own = tf.gather(tf.cast(x, self.compute_dtype), variables, axis=1)
            values.append(leaf.slot_log_prob(_own(params, number), own))
            places += variables
        return tf.gather(tf.concat(values, axis=1), np.argsort(places), axis=1)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["num_components"]
        config["leaves"] = [
            [serialize(leaf), list(variables)]
            for leaf, variables in zip(self.leaves, self.variables_of_leaf, strict=True)
        ]
        return config


class _KnownLayouts:
    """Parts by layout, out of sight of Keras and TensorFlow, which track lists."""

    def __init__(self) -> None:
        self.pairs: list[tuple[LeafLayout, tuple[LeafPart, ...]]] = []


def as_leaf(leaf: object) -> Any:
    """A `MixedLeaf` of a list of pairs; anything else as it is."""
    return MixedLeaf(leaf) if isinstance(leaf, list | tuple) else leaf


def _own(values: Params, number: int) -> Params:
    prefix = f"{number}_"
    return {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
