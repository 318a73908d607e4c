"""Circuits over region graphs, as Keras models."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import keras

from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Params
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.size import check_size
from tfp_spn.config.accumulator_constraints import (
    get_default_linear_accumulators_constraint,
)
from tfp_spn.config.accumulator_initializer import get_default_accumulator_initializer
from tfp_spn.config.sum_op import get_default_sum_op
from tfp_spn.initializers.dirichlet import Dirichlet
from tfp_spn.layers.folded_sum import FoldedSum
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.mixed_leaf import as_leaf
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.folding import fold
from tfp_spn.programs.steps import SumSpec
from tfp_spn.region_graphs import RegionGraph
from tfp_spn.region_graphs.arguments import as_count

SumProduct = Literal["cp", "tucker"]


def from_region_graph(
    region_graph: RegionGraph,
    leaf: BaseLeaf,
    num_sums: int,
    sum_product: SumProduct = "cp",
    num_classes: int = 1,
    *,
    leaf_sums: bool | None = None,
    num_dims: int = 1,
    sum_op: SumRule | None = None,
    accumulator_initializer: Any = None,
    recompute: bool = False,
    name: str | None = None,
) -> RegionGraphCircuit:
    """Builds a circuit over a region graph.

    Every region has `num_sums` sums, over the products of all its partitions:

        log y[o] = log sum_{h, i} w[h, i, o] prod_a x_{h, a}[i_a]

    With ``sum_product="cp"`` a product multiplies the units of equal index
    (``i_a = i``), with ``"tucker"`` all combinations.

    Args:
        region_graph: The structure, see `tfp_spn.region_graphs`.
        leaf: An unused leaf layer, such as ``CategoricalLeaf(num_components=16,
            num_categories=17)``: components of each leaf region. For variables of
            different types a `MixedLeaf`, or the list of pairs that it is made of.
        num_sums: Sums per region.
        sum_product: ``"cp"`` or ``"tucker"``.
        num_classes: Sums of each root region. More than one makes class roots that
            share everything below: the circuit is a mixture of `num_classes`
            distributions with learned prior.
        leaf_sums: Whether leaf regions pass through sums of their own before they are
            multiplied. Default: for ``"cp"`` only.
        num_dims: Dimensions of each variable.
        sum_op: Learning rule of all sums. Default: `tfp_spn.get_default_sum_op()`.
            Weights are stored as logarithms, by ``SumOpGradBackprop(
            logspace_accumulators=False)`` as they are.
        accumulator_initializer: Initializer of weights ``[regions, inputs, sums]``.
            Default: `tfp_spn.get_default_accumulator_initializer()`. A `Dirichlet`
            draws anew for each layer.
        recompute: Whether gradients evaluate all products again instead of keeping
            them, for deep circuits and large batches: less memory, more time. (Those
            of very wide steps are never kept.)
        name: Name of the model.

    Returns:
        A `keras.Model` that maps ``[batch, num_variables]`` (``[batch, num_variables,
        num_dims]`` if `num_dims` > 1) to ``log p(x, class)``, ``[batch, num_classes]``.

    Raises:
        TypeError: If `region_graph` or `leaf` are of another type.
        ValueError: If the numbers do not fit together.

    Example:
        >>> import tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(8, 2, num_repetitions=3),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=4), num_sums=4)
        >>> circuit.count_params()
        396
    """
    return RegionGraphCircuit(
        region_graph,
        leaf,
        num_sums,
        sum_product,
        num_classes,
        leaf_sums=leaf_sums,
        num_dims=num_dims,
        sum_op=sum_op,
        accumulator_initializer=accumulator_initializer,
        recompute=recompute,
        name=name,
    )


@register
class RegionGraphCircuit(Circuit):
    """What `from_region_graph` builds; the arguments are explained there.

    Args:
        region_graph: The structure.
        leaf: The leaf layer.
        num_sums: Sums per region.
        sum_product: ``"cp"`` or ``"tucker"``.
        num_classes: Sums of each root region.
        leaf_sums: Whether leaf regions have sums of their own.
        num_dims: Dimensions of each variable.
        sum_op: Learning rule of all sums.
        accumulator_initializer: Initializer of weights.
        recompute: Whether gradients evaluate all products again.
        **kwargs: Passed on to `keras.Model`.
    """

    def __init__(
        self,
        region_graph: RegionGraph,
        leaf: BaseLeaf,
        num_sums: int,
        sum_product: SumProduct = "cp",
        num_classes: int = 1,
        *,
        leaf_sums: bool | None = None,
        num_dims: int = 1,
        sum_op: SumRule | None = None,
        accumulator_initializer: Any = None,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        leaf = as_leaf(leaf)
        _check_arguments(region_graph, leaf, sum_product, sum_op)
        num_sums = as_count(num_sums, "num_sums")
        num_classes = as_count(num_classes, "num_classes")
        num_dims = as_count(num_dims, "num_dims")
        kwargs.setdefault("dtype", leaf.compute_dtype)  # else inputs become float32
        super().__init__(**kwargs)
        if leaf_sums is None:
            leaf_sums = sum_product == "cp"
        has_inner_leaves = set(region_graph.leaves) - set(region_graph.roots)
        if sum_product == "cp" and not leaf_sums and has_inner_leaves:
            _check_widths(leaf.num_components, num_sums)
        rule = sum_op or get_default_sum_op()
        # Only `SumOpGradBackprop` leaves a choice: EM here moves weights either way.
        logspace = getattr(rule, "logspace_accumulators", None) is not False
        if accumulator_initializer is None:
            accumulator_initializer = get_default_accumulator_initializer()
        folded = fold(
            region_graph,
            num_components=leaf.num_components,
            num_sums=num_sums,
            num_root_units=num_classes,
            product="hadamard" if sum_product == "cp" else "kronecker",
            leaf_sums=leaf_sums,
            rule=rule,
            logspace=logspace,
        )
        layout = LeafLayout(folded.leaf_scopes, region_graph.num_variables, num_dims)
        shapes = list(folded.storage.sum_shapes.values())
        check_size(folded.steps, folded.root, shapes, leaf, layout)
        leaf.add_parameters_of(layout)
        self.leaf = leaf
        total = num_classes * len(region_graph.roots)
        ndims = {name: len(v.shape) for name, v in leaf.parameters.items()}
        self._program = CircuitProgram(
            leaf=leaf,
            layout=layout,
            steps=folded.steps,
            root=folded.root,
            num_classes=total,
            prior=(
                SumSpec("prior", total, rule, logspace, event_ndims=1)
                if total > 1
                else None
            ),
            leaf_event_ndims=ndims,
            recompute=bool(recompute),
            blocks=folded.blocks,
            stored_shapes=folded.storage.sum_shapes,
            stored_digest=folded.storage.digest,
        )
        self.sums = [
            FoldedSum(
                *shape,
                initializer=_initializer_of_layer(accumulator_initializer, number),
                logspace_accumulators=logspace,
                dtype=leaf.compute_dtype,
                name=name,
            )
            for number, (name, shape) in enumerate(self._program.sum_shapes.items())
        ]
        for layer in self.sums:  # Keras' lists are invisible to tf.train.Checkpoint
            self._track_trackable(layer, layer.name)
        self.prior = None
        if total > 1:
            self.prior = self._add_prior(total, leaf.compute_dtype, logspace)
        self._arguments = {
            "region_graph": region_graph,
            "num_sums": num_sums,
            "sum_product": sum_product,
            "num_classes": num_classes,
            "leaf_sums": leaf_sums,
            "num_dims": num_dims,
            "sum_op": rule,
            "accumulator_initializer": accumulator_initializer,
            "recompute": bool(recompute),
        }
        self.built = True

    def _add_prior(
        self, num_classes: int, dtype: str, logspace: bool
    ) -> keras.Variable:
        constraint = None if logspace else get_default_linear_accumulators_constraint()
        prior = self.add_weight(
            name="prior",
            shape=(num_classes,),
            initializer="zeros" if logspace else "ones",
            constraint=constraint,
            dtype=dtype,
            autocast=False,
        )
        prior.is_log_weight = logspace
        return prior

    @property
    def program(self) -> CircuitProgram:
        """The compiled circuit."""
        return self._program

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments without the leaf, by name."""
        return dict(self._arguments)

    @property
    def region_graph(self) -> RegionGraph:
        """The structure."""
        return self._arguments["region_graph"]

    def live_params(self) -> Params:
        """The un-read variables by name."""
        params = {f"leaf_{k}": v for k, v in self.leaf.live_params().items()}
        params.update({layer.name: layer.accumulators.value for layer in self.sums})
        if self.prior is not None:
            params["prior"] = self.prior.value
        return dict(sorted(params.items()))

    def structure(self) -> dict[str, Any]:
        """The region graph as a hash, and the numbers beside it."""
        digest = hashlib.sha256(self.region_graph.to_json().encode()).hexdigest()
        names = ("num_sums", "sum_product", "num_classes", "leaf_sums", "num_dims")
        numbers = {name: self._arguments[name] for name in names}
        return {"region_graph": digest[:16], **numbers}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {**keras.Model.get_config(self), **self._arguments}
        config["region_graph"] = self.region_graph.to_json()
        for key in ("sum_op", "accumulator_initializer"):
            config[key] = serialize(self._arguments[key])
        config["leaf"] = serialize(self.leaf)
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> RegionGraphCircuit:
        """Builds the circuit from `get_config`'s result."""
        config = dict(config)
        config["region_graph"] = RegionGraph.from_json(config.get("region_graph", ""))
        for key, base in (("leaf", BaseLeaf), ("sum_op", SumRule)):
            config[key] = deserialize(cls, key, config.get(key), base)
        key, base = "accumulator_initializer", keras.initializers.Initializer
        config[key] = deserialize(cls, key, config.get(key), base, functions=True)
        return cls(**config)


def _initializer_of_layer(initializer: Any, number: int) -> Any:
    if isinstance(initializer, Dirichlet):
        return initializer.for_layer(number)
    if isinstance(initializer, keras.initializers.Initializer):
        # A copy: one instance would draw the same numbers again.
        return type(initializer).from_config(initializer.get_config())
    return initializer


def _check_arguments(
    region_graph: Any, leaf: Any, sum_product: str, sum_op: Any
) -> None:
    if not isinstance(region_graph, RegionGraph):
        raise TypeError(
            "from_region_graph: region_graph must be a tfp_spn.region_graphs."
            f"RegionGraph, received {type(region_graph).__name__}. Build one with a "
            "generator such as random_binary_trees, or with from_nested_lists."
        )
    if not isinstance(leaf, BaseLeaf):
        raise TypeError(
            "from_region_graph: leaf must be a leaf layer, for example "
            "tfp_spn.layers.NormalLeaf(num_components=8), received "
            f"{type(leaf).__name__}."
        )
    if leaf.num_slots:
        raise ValueError(
            f'from_region_graph: leaf layer "{leaf.name}" already has parameters of '
            "another model. Give each circuit a leaf layer of its own."
        )
    if sum_product not in ("cp", "tucker"):
        raise ValueError(
            'from_region_graph: sum_product must be "cp" or "tucker", received '
            f"{sum_product!r}."
        )
    if not (sum_op is None or isinstance(sum_op, SumRule)):
        raise TypeError(
            "from_region_graph: sum_op must be a learning rule, for example "
            f"tfp_spn.sum_ops.SumOpEMBackprop(), received {sum_op!r}."
        )


def _check_widths(num_components: int, num_sums: int) -> None:
    if num_components != num_sums:
        raise ValueError(
            "from_region_graph: with sum_product='cp' and leaf_sums=False, units of "
            "leaf regions are multiplied with those of inner regions one by one, so "
            f"their numbers must agree; received num_components={num_components} and "
            f"num_sums={num_sums}. Make them equal, or use leaf_sums=True."
        )
