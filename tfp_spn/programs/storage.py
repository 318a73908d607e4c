"""Where weights are kept, whatever is evaluated together.

Variables are laid out by the structure alone, so that a file fits however circuits are
folded: regions of equal height whose sums range over partitions of equal shape are in
one variable, ordered by first use from above. A step needs the weights of its regions
side by side: a `Block` puts rows of variables together, and takes apart what belongs
to them.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._typing import Params, Tensor
from tfp_spn.ops.regions import sum_over_uses, take_regions
from tfp_spn.programs.nodes import FirstUses, Node, Product
from tfp_spn.programs.parameter_names import sums_name

MAX_BLOCK = 2**20
"""Weights of a block: more are not worth a copy."""


@dataclass(frozen=True, eq=False)
class Block:
    """Weights that are used as one.

    Attributes:
        parts: Names of the parameters.
        sizes: Regions of each.
        rows: int32: which region of all parts, one after another, each of the block's
            regions is; `None`: they are in order.
    """

    parts: tuple[str, ...]
    sizes: tuple[int, ...]
    rows: np.ndarray | None = None

    def pack(self, values: Sequence[Tensor]) -> Tensor:
        """The block ``[..., R, I, O]`` of its parts."""
        if len(values) > 1:
            values = _of_one_batch(values)
        value = values[0] if len(values) == 1 else tf.concat(values, axis=-3)
        return value if self.rows is None else take_regions(value, self.rows)

    def unpack(self, value: Tensor) -> Params:
        """The parts of the block ``[..., R, I, O]``, by name."""
        if self.rows is not None:
            value = sum_over_uses(value, np.argsort(self.rows)[:, np.newaxis])
        if len(self.parts) == 1:
            return {self.parts[0]: value}
        parts = tf.split(value, self.sizes, axis=-3)
        return dict(zip(self.parts, parts, strict=True))


def _of_one_batch(values: Sequence[Tensor]) -> Sequence[Tensor]:
    """Broadcasts parameters to one batch shape, if any has a batch."""
    if all(value.shape.rank == 3 for value in values):
        return values
    batches = [tf.shape(value)[:-3] for value in values]
    batch = functools.reduce(tf.broadcast_dynamic_shape, batches)
    shapes = [value.shape[:-3] for value in values]
    static = functools.reduce(tf.broadcast_static_shape, shapes)
    return [
        tf.ensure_shape(
            tf.broadcast_to(value, tf.concat([batch, tf.shape(value)[-3:]], 0)),
            static.concatenate(value.shape[-3:]),
        )
        for value in values
    ]


@dataclass(frozen=True, eq=False)
class Storage:
    """The variables of a circuit.

    Attributes:
        leaves: Leaf regions, in the order of the leaf layer's parameters.
        groups: The regions of each variable of weights, lowest first.
        shapes: ``[regions, I, O]`` of each of these variables.
        digest: A hash of the structure in this order.
    """

    leaves: list[Node]
    groups: list[list[Node]]
    shapes: list[tuple[int, int, int]]
    digest: str

    @property
    def sum_shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shapes by name."""
        return {sums_name(n): shape for n, shape in enumerate(self.shapes)}

    @functools.cached_property
    def place_of(self) -> dict[int, tuple[int, int]]:
        """The variable and row of each node that has weights, by its `id`."""
        return {
            id(node): (number, row)
            for number, group in enumerate(self.groups)
            for row, node in enumerate(group)
        }

    def blocks(
        self, steps: Iterable[Sequence[Node]]
    ) -> tuple[dict[str, Block], list[tuple[str, int]]]:
        """What is used as one, given the regions of each step that has weights.

        Returns:
            The blocks by name, and for each step the block and where it begins there.
        """
        steps = list(steps)
        place_of = self.place_of
        block_of = self._grouped(
            [{place_of[id(node)][0] for node in step} for step in steps]
        )
        numbers = sorted(set(block_of))
        parts = {b: [n for n, of in enumerate(block_of) if of == b] for b in numbers}
        names = {b: sums_name(parts[b][0]) for b in numbers}
        first: dict[int, int] = {}
        for members in parts.values():
            sizes = [len(self.groups[n]) for n in members]
            starts = np.cumsum([0, *sizes[:-1]]).tolist()
            first.update(zip(members, starts, strict=True))
        rows: dict[int, list[int]] = defaultdict(list)
        slices = []
        for step in steps:
            places = [place_of[id(node)] for node in step]
            block = block_of[places[0][0]]
            slices.append((names[block], len(rows[block])))
            rows[block] += [first[number] + row for number, row in places]
        blocks = {}
        for b, members in parts.items():
            index = np.array(rows[b], np.int32)
            is_in_order = np.array_equal(index, np.arange(len(index)))
            blocks[names[b]] = Block(
                tuple(sums_name(number) for number in members),
                tuple(len(self.groups[number]) for number in members),
                None if is_in_order else index,
            )
        return blocks, slices

    def _grouped(self, together: list[set[int]]) -> list[int]:
        """The block of each variable: one for a step, and for small ones of a shape."""
        block_of = list(range(len(self.groups)))

        def merge(a: int, b: int) -> None:
            low, high = sorted((block_of[a], block_of[b]))
            block_of[:] = [low if block == high else block for block in block_of]

        for numbers in together:
            for a, b in itertools.pairwise(sorted(numbers)):
                merge(a, b)
        last: dict[tuple[int, int], int] = {}
        for number, (_, *shape) in enumerate(self.shapes):
            kind = (shape[0], shape[1])
            before = last.get(kind)
            if before is not None and block_of[before] != block_of[number]:
                blocks = {block_of[before], block_of[number]}
                weights = [
                    math.prod(of_block)
                    for block, of_block in zip(block_of, self.shapes, strict=True)
                    if block in blocks
                ]
                if sum(weights) <= MAX_BLOCK:
                    merge(before, number)
            last[kind] = number
        return block_of


def storage_of(tops: Sequence[Node], product: Product) -> Storage:
    """Where the weights of all regions are kept, roots included."""

    def key_of(node: Node) -> tuple:
        if not node.partitions:
            return (0,)
        widths = tuple(child.width for child in node.partitions[0])
        return (node.height, node.width, len(node.partitions), widths)

    # A group is complete when all higher ones have been expanded.
    uses = FirstUses(key_of)
    members = uses.groups
    uses.request(tops)
    for height in range(max(node.height for node in tops), 0, -1):
        for key in sorted(key for key in members if key[0] == height):
            group = members[key]  # looked up once: hashing a wide key takes long
            for a in range(len(key[3])):
                uses.request(p[a] for node in group for p in node.partitions)
    keys = sorted(key for key in members if key != (0,))
    groups = [members[key] for key in keys]
    leaves = members[(0,)]
    shapes = []
    for (_, width, num_partitions, widths), group in zip(keys, groups, strict=True):
        num_products = widths[0] if product == "hadamard" else math.prod(widths)
        shapes.append((len(group), num_partitions * num_products, width))
    return Storage(leaves, groups, shapes, _digest_of([leaves, *groups], tops))


def _digest_of(groups: list[list[Node]], tops: Sequence[Node]) -> str:
    """What version 1 of checkpoint files tells structures apart by."""
    place_of = {
        id(node): (value, place)
        for value, group in enumerate(groups)
        for place, node in enumerate(group)
    }
    digest = hashlib.sha256(repr(tuple(node.scope for node in groups[0])).encode())

    def add(nodes: list[Node]) -> None:
        places = [place_of[id(node)] for node in nodes]
        sources = tuple(sorted({value for value, _ in places}))
        sizes = (len(groups[value]) for value in sources)
        starts = itertools.accumulate(sizes, initial=0)
        start_of = dict(zip(sources, starts, strict=False))
        index = [start_of[value] + place for value, place in places]
        digest.update(repr((sources, index)).encode())

    for group in groups[1:]:
        for a in range(len(group[0].partitions[0])):
            add([p[a] for node in group for p in node.partitions])
    add(list(tops))
    return digest.hexdigest()[:16]
