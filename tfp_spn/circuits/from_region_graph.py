"""Circuits over region graphs, as Keras models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import keras

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._keras_typing import InitializerLike
from tfp_spn._serialization import deserialize, register, serialize
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.class_prior import as_class_prior
from tfp_spn.circuits.size import check_size
from tfp_spn.layers.folded_sum import sums_of_model
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.mixed_leaf import as_leaf
from tfp_spn.layers.sum_weights import SumWeights
from tfp_spn.ops.sum_rules import SumRule
from tfp_spn.programs.circuit_program import CircuitProgram
from tfp_spn.programs.folding import fold
from tfp_spn.programs.nodes import LeafSums
from tfp_spn.programs.parameter_names import PRIOR, from_leaf
from tfp_spn.programs.steps import SumSpec
from tfp_spn.region_graphs import RegionGraph

SumProduct = Literal["cp", "cp-t", "tucker"]


def from_region_graph(
    region_graph: RegionGraph,
    leaf: BaseLeaf,
    num_sums: int,
    sum_product: SumProduct = "cp",
    num_classes: int = 1,
    *,
    leaf_sums: bool | Literal["per-partition"] | None = None,
    num_dims: int = 1,
    class_prior: object = "learned",
    sum_op: SumRule | None = None,
    accumulator_initializer: InitializerLike = None,
    logspace_accumulators: bool | None = None,
    recompute: bool = False,
    name: str | None = None,
) -> RegionGraphCircuit:
    """Builds a circuit over a region graph.

    Every region has `num_sums` sums, over the products of all its partitions:

        log y[o] = log sum_{h, i} w[h, i, o] prod_a x_{h, a}[i_a]

    With ``sum_product="cp"`` a product multiplies the units of equal index
    (``i_a = i``), with ``"tucker"`` all combinations. ``"cp-t"`` is ``"cp"`` without
    sums between leaves and their products: products come first, then sums.

    Args:
        region_graph: The structure, see `tfp_spn.region_graphs`.
        leaf: An unused leaf layer, such as ``CategoricalLeaf(num_components=16,
            num_categories=17)``: components of each leaf region. For variables of
            different types a `MixedLeaf`, or the list of pairs that it is made of.
        num_sums: Sums per region.
        sum_product: ``"cp"``, ``"cp-t"`` or ``"tucker"``.
        num_classes: Sums of each root region. More than one makes class roots that
            share everything below: the circuit is a mixture of `num_classes`
            distributions.
        leaf_sums: Whether leaf regions pass through sums of their own before they are
            multiplied; ``"per-partition"``: through other sums for each partition that
            they are part of, as in cirkit. Default: for ``"cp"`` only.
        num_dims: Dimensions of each variable.
        class_prior: ``"learned"``, which begins uniform; ``"uniform"``; or the
            probabilities of the classes, ``[num_classes]``. Those given stay as they
            are. With several roots there is one for each root and class.
        sum_op: Learning rule of all sums. Default: `tfp_spn.get_default_sum_op()`.
        accumulator_initializer: Initializer of weights ``[regions, inputs, sums]``.
            Default: `tfp_spn.get_default_accumulator_initializer()`. A `Dirichlet`
            draws anew for each layer.
        logspace_accumulators: Whether to store logarithms of weights, or weights as
            stacks of layers do with the rules of EM; `fit` learns the same from both.
            Default: logarithms, but for ``SumOpGradBackprop(
            logspace_accumulators=False)``.
        recompute: Whether gradients evaluate all products again instead of keeping
            them, for deep circuits and large batches: less memory, more time.
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
    return RegionGraphCircuit(**locals())


@register
class RegionGraphCircuit(Circuit):
    """The circuit that `from_region_graph` builds; it explains the arguments.

    Args:
        region_graph: The structure.
        leaf: The leaf layer.
        num_sums: Sums per region.
        sum_product: ``"cp"``, ``"cp-t"`` or ``"tucker"``.
        num_classes: Sums of each root region.
        leaf_sums: Whether leaf regions have sums of their own.
        num_dims: Dimensions of each variable.
        class_prior: ``"learned"``, ``"uniform"`` or probabilities.
        sum_op: Learning rule of all sums.
        accumulator_initializer: Initializer of weights.
        logspace_accumulators: Whether to store logarithms of weights.
        recompute: Whether gradients evaluate all products again.
        **kwargs: Passed on to `keras.Model`.
    """

    @reads(
        num_sums=a_count(),
        num_classes=a_count(),
        logspace_accumulators=a_flag(),
        num_dims=a_count(),
        recompute=a_flag(),
    )
    def __init__(
        self,
        region_graph: RegionGraph,
        leaf: BaseLeaf,
        num_sums: int,
        sum_product: SumProduct = "cp",
        num_classes: int = 1,
        *,
        leaf_sums: bool | Literal["per-partition"] | None = None,
        num_dims: int = 1,
        class_prior: object = "learned",
        sum_op: SumRule | None = None,
        accumulator_initializer: InitializerLike = None,
        logspace_accumulators: bool | None = None,
        recompute: bool = False,
        **kwargs: object,
    ) -> None:
        leaf = as_leaf(leaf)
        _check_arguments(region_graph, leaf, sum_product, leaf_sums, sum_op)
        total = num_classes * len(region_graph.roots)
        class_prior = as_class_prior(class_prior, total)
        kwargs.setdefault("dtype", leaf.compute_dtype)  # else inputs become float32
        super().__init__(**kwargs)
        if leaf_sums is None:
            leaf_sums = sum_product == "cp"
        is_hadamard = sum_product != "tucker"
        if is_hadamard and not leaf_sums:
            _check_widths(region_graph, leaf.num_components, num_sums)
        weights = SumWeights.of_circuit(
            sum_op, accumulator_initializer, logspace_accumulators
        )
        rule, logspace = weights.sum_op, weights.logspace_accumulators
        folded = fold(
            region_graph,
            num_components=leaf.num_components,
            num_sums=num_sums,
            num_root_units=num_classes,
            product="hadamard" if is_hadamard else "kronecker",
            leaf_sums=KINDS_OF_LEAF_SUMS[leaf_sums],
            rule=rule,
            logspace=logspace,
        )
        layout = LeafLayout(folded.leaf_scopes, region_graph.num_variables, num_dims)
        shapes = list(folded.storage.sum_shapes.values())
        check_size(folded.steps, folded.root, shapes, leaf, layout)
        leaf.add_parameters_of(layout)
        self.leaf = leaf
        ndims = {name: len(v.shape) for name, v in leaf.parameters.items()}
        self._program = CircuitProgram(
            leaf=leaf,
            layout=layout,
            steps=folded.steps,
            root=folded.root,
            num_classes=total,
            prior=(
                SumSpec(PRIOR, total, rule, logspace, event_ndims=1)
                if total > 1
                else None
            ),
            leaf_event_ndims=ndims,
            recompute=bool(recompute),
            blocks=folded.blocks,
            stored_shapes=folded.storage.sum_shapes,
            stored_digest=folded.storage.digest,
        )
        self.sums = sums_of_model(
            self, weights, self._program.sum_shapes, leaf.compute_dtype
        )
        self.prior = None
        if total > 1:
            self.prior = self._add_prior(
                class_prior, total, leaf.compute_dtype, weights
            )
        self._arguments: dict[str, Any] = {
            "region_graph": region_graph,
            "num_sums": num_sums,
            "sum_product": sum_product,
            "num_classes": num_classes,
            "leaf_sums": leaf_sums,
            "num_dims": num_dims,
            "class_prior": class_prior,
            "sum_op": rule,
            "accumulator_initializer": weights.accumulator_initializer,
            "logspace_accumulators": logspace,
            "recompute": bool(recompute),
        }
        self.built = True

    def _add_prior(
        self,
        class_prior: str | list[float],
        num_classes: int,
        dtype: str,
        weights: SumWeights,
    ) -> keras.Variable:
        """Creates the weights of the classes, which only a learned prior changes."""

        def given(shape: Sequence[int], dtype: str | None = None) -> Tensor:
            return keras.ops.convert_to_tensor(class_prior, dtype)

        is_given = not isinstance(class_prior, str)
        weights = weights.with_initializer(
            given if is_given else keras.initializers.Ones()
        )
        prior = weights.create(
            self, PRIOR, [num_classes], name=PRIOR, axis=-1, dtype=dtype
        )
        prior.trainable = class_prior == "learned"
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
        params = from_leaf(self.leaf.live_params())
        params.update({layer.name: layer.accumulators.value for layer in self.sums})
        if self.prior is not None:
            params[PRIOR] = self.prior.value
        return dict(sorted(params.items()))

    def structure(self) -> Config:
        """The region graph as a hash, and the numbers beside it."""
        digest = hashlib.sha256(self.region_graph.to_json().encode()).hexdigest()
        names = ("num_sums", "sum_product", "num_classes", "leaf_sums", "num_dims")
        numbers = {name: self._arguments[name] for name in names}
        return {"region_graph": digest[:16], **numbers}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = {**keras.Model.get_config(self), **self._arguments}
        config["region_graph"] = self.region_graph.to_json()
        for key in ("sum_op", "accumulator_initializer"):
            config[key] = serialize(self._arguments[key])
        config["leaf"] = serialize(self.leaf)
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: object = None
    ) -> RegionGraphCircuit:
        """Builds the circuit from `get_config`'s result."""
        config = dict(config)
        config["region_graph"] = RegionGraph.from_json(config.get("region_graph", ""))
        for key, base in (("leaf", BaseLeaf), ("sum_op", SumRule)):
            config[key] = deserialize(cls, key, config.get(key), base)
        key, base = "accumulator_initializer", keras.initializers.Initializer
        config[key] = deserialize(cls, key, config.get(key), base, functions=True)
        return cls(**config)


KINDS_OF_LEAF_SUMS: dict[bool | str | None, LeafSums] = {
    False: "none",
    True: "shared",
    "per-partition": "per-partition",
}


def _check_arguments(
    region_graph: object,
    leaf: object,
    sum_product: str,
    leaf_sums: bool | str | None,
    sum_op: object,
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
    if sum_product not in ("cp", "cp-t", "tucker"):
        raise ValueError(
            'from_region_graph: sum_product must be "cp", "cp-t" or "tucker", received '
            f"{sum_product!r}. Choose one of these."
        )
    if not isinstance(leaf_sums, bool | None) and leaf_sums != "per-partition":
        raise ValueError(
            "from_region_graph: leaf_sums must be True, False, None or "
            f'"per-partition", received {leaf_sums!r}. Leave it out for the default.'
        )
    if leaf_sums and sum_product == "cp-t":
        raise ValueError(
            'from_region_graph: sum_product="cp-t" has no sums over leaves, received '
            f'leaf_sums={leaf_sums!r}, expected None. Use sum_product="cp".'
        )
    if not (sum_op is None or isinstance(sum_op, SumRule)):
        raise TypeError(
            "from_region_graph: sum_op must be a learning rule, for example "
            f"tfp_spn.sum_ops.SumOpEMBackprop(), received {sum_op!r}."
        )


def _check_widths(
    region_graph: RegionGraph, num_components: int, num_sums: int
) -> None:
    """Checks that units that are multiplied one by one are equally many."""
    leaves = set(region_graph.leaves)
    mixed = any(
        0 < len(leaves.intersection(children)) < len(set(children))
        for partitions in region_graph.partitions
        for children in partitions
    )
    if mixed and num_components != num_sums:
        raise ValueError(
            "from_region_graph: with sum_product='cp' and leaf_sums=False, or 'cp-t', "
            "units of leaf regions are multiplied with those of inner regions one by "
            f"one, so their numbers must agree; received num_components="
            f"{num_components} and num_sums={num_sums}. Make them equal, or use "
            "leaf_sums=True."
        )
