"""Weights of models that were trained by LibSPN-Keras."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import shown
from tfp_spn._typing import ShapeLike
from tfp_spn.layers.leaves import accumulators
from tfp_spn.layers.leaves.location_scale_leaf import LocationScaleLeaf
from tfp_spn.layers.normalize_standard_score import NormalizeStandardScore
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.permute_and_pad_scopes_random import (
    PermuteAndPadScopesRandom,
)
from tfp_spn.layers.spatial.conv2d_product import Conv2DProduct
from tfp_spn.models.dynamic_sum_product_network import DynamicSumProductNetwork

NETWORKS_THERE = (
    "template_network",
    "top_network",
    "interface_network_t0",
    "interface_network_t_minus_1",
)
"""The order in which LibSPN-Keras keeps the networks of a dynamic model."""


def from_libspn_keras_weights(
    model: keras.Model, weights: Iterable[np.ndarray] | Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Converts weights of LibSPN-Keras 0.6 to those of the same model of this package.

    What the numbers stand for differs by layer:

    - `NormalLeaf`, `CauchyLeaf`, `LaplaceLeaf`: there scales that are not trained are
      stored as they are, others before a softplus without a floor; here all are stored
      before a softplus, above `min_scale`. Accumulated moments are those of a Normal
      there, whatever the family, and those of the family here.
    - `Conv2DProduct`: there a kernel of ones and zeros, here the channels that it
      chooses, and nothing at all for `depthwise` or all combinations.
    - `DenseSum`, `Local2DSum`, `Conv2DSum`, `RootSum`, `PermuteAndPadScopesRandom` and
      `NormalizeStandardScore` (after `adapt`): the same here and there.

    Args:
        model: A built model of the layers of this package, with the arguments that the
            old model had: `scale_trainable`, `use_accumulators`, the rule or
            `logspace_accumulators` of sums. A `keras.Sequential` or functional model,
            or a `tfp_spn.models.DynamicSumProductNetwork`.
        weights: What ``old_model.get_weights()`` returned: one array after another; or
            the file that `numpy.savez` wrote of them, as `numpy.load` reads it.

    Returns:
        Arrays for ``model.set_weights``.

    Raises:
        TypeError: `model` is no Keras model, or the weights are no arrays of numbers.
        ValueError: The weights are of another model, not finite, or the model cannot
            hold them.

    Example:
        >>> import keras, numpy as np, tfp_spn
        >>> model = keras.Sequential([
        ...     keras.Input((2,)), tfp_spn.layers.FlatToRegions(num_decomps=1),
        ...     tfp_spn.layers.LaplaceLeaf(num_components=3),
        ...     tfp_spn.layers.ReduceProduct(2), tfp_spn.layers.RootSum(False)])
        >>> old = [np.zeros([1, 2, 1, 3, 1]), np.full([1, 2, 1, 3, 1], 0.5),
        ...        np.log(np.full([1, 1, 3, 1], 1 / 3))]  # old_model.get_weights()
        >>> model.set_weights(tfp_spn.from_libspn_keras_weights(model, old))
        >>> round(float(model(np.zeros([1, 2]))[0, 0]), 4)  # density 1 in both
        0.0
    """
    if not (isinstance(model, keras.Model) and model.built):
        raise TypeError(
            "from_libspn_keras_weights: weights are for a built keras.Model, received "
            f"{type(model).__name__}, expected one that knows its input shape. Begin "
            "it with a keras.Input, or call it on data before."
        )
    arrays = _arrays_of(weights)
    source = _Source(model, iter(arrays))
    found: dict[int, np.ndarray] = {}
    for layer in _layers_of(model):
        for kind, convert in _CONVERTERS.items():
            if isinstance(layer, kind):
                found.update(convert(layer, source))
    rest = len(list(source.arrays))
    if rest:
        raise ValueError(
            f"from_libspn_keras_weights: {rest} arrays are left over, received "
            f'{len(arrays)} for the model "{model.name}", expected '
            f"{len(arrays) - rest}. Build the model with the layers and arguments of "
            "the old one."
        )
    return [found.get(id(v), np.asarray(v)) for v in model.weights]


class _Source(NamedTuple):
    """The old weights, in their order."""

    model: keras.Model
    arrays: Iterator[np.ndarray]

    def next(
        self, layer: keras.layers.Layer, name: str, shape: ShapeLike
    ) -> np.ndarray:
        """The next array, which has to be of this shape."""
        value, shape = next(self.arrays, None), tuple(shape)
        if value is None or value.shape != shape:
            received = "none" if value is None else f"one of shape {value.shape}"
            raise ValueError(
                f'from_libspn_keras_weights: {type(layer).__name__} "{layer.name}" '
                f"needs an array for {name!r}, received {received}, expected shape "
                f"{shape}. Pass old_model.get_weights(), and build the model with the "
                "layers and arguments of the old one."
            )
        is_sum = isinstance(layer, BaseSum)
        if np.any(np.isnan(value) | (np.isinf(value) & ~((value < 0) & is_sum))):
            raise ValueError(
                f'from_libspn_keras_weights: {type(layer).__name__} "{layer.name}" '
                f"needs numbers for {name!r}, received NaN or infinity, expected "
                "finite values. Take weights from before the training failed."
            )
        return value


def _arrays_of(weights: Iterable | Mapping) -> list[np.ndarray]:
    """The arrays, which have to be of numbers."""
    values = weights.values() if isinstance(weights, Mapping) else weights
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    arrays = [np.asarray(value) for value in values] if is_list else []
    if not is_list or any(array.dtype.kind not in "biuf" for array in arrays):
        raise TypeError(
            "from_libspn_keras_weights: weights are arrays of numbers, received "
            f"{shown(weights)}, expected a list of arrays. Pass "
            "old_model.get_weights(), or np.load(path) of what np.savez wrote."
        )
    return arrays


@functools.singledispatch
def _parts_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers and networks in the order in which LibSPN-Keras keeps them."""
    return model.layers


@_parts_of.register(DynamicSumProductNetwork)
def _networks_of(model: DynamicSumProductNetwork) -> list[keras.layers.Layer]:
    return [getattr(model, name) for name in NETWORKS_THERE]


def _layers_of(model: keras.Model) -> Iterator[keras.layers.Layer]:
    if isinstance(model, keras.Model):
        for part in _parts_of(model):
            yield from _layers_of(part)
    else:
        yield model


def _leaf(leaf: LocationScaleLeaf, source: _Source) -> dict[int, np.ndarray]:
    names = list(leaf.parameters)
    if leaf.trainable:  # Keras lists what is trained first
        names.sort(key=lambda name: not leaf.parameters[name].trainable)
    old = {
        name: source.next(leaf, name, leaf.parameters[name].shape).astype(np.float64)
        for name in names
    }
    new = dict(old)
    if "scale" in old:
        is_raw = leaf.scale_trainable
        scale = np.logaddexp(old["scale"], 0) if is_raw else old["scale"]
        new["scale"] = _raw_scale(leaf, scale)
    elif accumulators.SECOND_NUM in old:
        first, second = old[accumulators.FIRST_DENOM], old[accumulators.SECOND_DENOM]
        location = _quotient(old[accumulators.FIRST_NUM], first)
        square = _quotient(old[accumulators.SECOND_NUM], second) - location**2
        scale = np.sqrt(np.maximum(square, 0))
        _raw_scale(leaf, scale)
        values = [tf.constant(v) for v in (scale, location, first, second)]
        second_num = leaf.second_num_of_scale(*values)
        new[accumulators.SECOND_NUM] = np.asarray(second_num)
    return {id(leaf.parameters[name]): new[name] for name in names}


def _raw_scale(leaf: LocationScaleLeaf, scale: np.ndarray) -> np.ndarray:
    """Returns what is stored for a scale; refuses those below the floor."""
    raw = np.asarray(leaf.inverse_scale(tf.constant(scale)))
    kept = leaf.min_scale + np.logaddexp(raw, 0)
    if not np.allclose(kept, scale, rtol=1e-4, atol=0):
        raise ValueError(
            f"from_libspn_keras_weights: {leaf.label} cannot hold all scales, received "
            f"a smallest one of {scale.min()}, expected more than min_scale="
            f"{leaf.min_scale}. Build the leaf with a smaller min_scale."
        )
    return raw


def _quotient(num: np.ndarray, denom: np.ndarray) -> np.ndarray:
    return np.divide(num, denom, out=np.zeros_like(num), where=denom != 0)


def _sum(layer: BaseSum, source: _Source) -> dict[int, np.ndarray]:
    value = source.next(layer, "accumulators", layer.accumulators.shape)
    if not layer.logspace_accumulators and np.any(value < 0):
        raise ValueError(
            f"from_libspn_keras_weights: {layer.label} stores weights, received "
            f"logarithms, such as {value.min()}, expected no negative number. Build "
            "it with logspace_accumulators=True."
        )
    # Logarithms of weights that sum to one are not positive.
    is_linear = np.all(value >= 0) and np.allclose(value.sum(-2), 1, atol=1e-3)
    if layer.logspace_accumulators and is_linear:
        raise ValueError(
            f"from_libspn_keras_weights: {layer.label} stores logarithms of weights, "
            "received numbers that sum to one, expected logarithms. Build it with "
            "logspace_accumulators=False, or the rule of the old layer."
        )
    return {id(layer.accumulators): value}


def _permutation(
    layer: PermuteAndPadScopesRandom, source: _Source
) -> dict[int, np.ndarray]:
    table = layer.permutation_table
    value = source.next(layer, "permutations", table.shape)
    scopes = np.arange(layer.table.max() + 1)
    if not all(np.array_equal(np.sort(row[row != -1]), scopes) for row in value):
        raise ValueError(
            f'from_libspn_keras_weights: {type(layer).__name__} "{layer.name}" needs '
            f"permutations, received {shown(value.tolist())}, expected each scope from "
            f"0 to {scopes[-1]} once in each row, and -1 elsewhere. Pass "
            "old_model.get_weights()."
        )
    return {id(table): value}


def _product(layer: Conv2DProduct, source: _Source) -> dict[int, np.ndarray]:
    if layer.depthwise:
        source.next(layer, "onehot_kernel", (*layer.kernel_size, 1, 1))
        return {}
    table: Any = layer.combinations
    shape = (*layer.kernel_size, layer._channels, table.shape[1])  # noqa: SLF001
    kernel = source.next(layer, "onehot_kernel", shape)
    if not np.all(((kernel == 1).sum(2) == 1) & ((kernel != 0).sum(2) == 1)):
        raise ValueError(
            f"from_libspn_keras_weights: {layer.label} chooses one channel of each "
            "cell, received a kernel that does not, expected one 1 among zeros. Pass "
            "old_model.get_weights()."
        )
    chosen = kernel.argmax(axis=2).reshape(table.shape).astype(np.int32)
    if layer.channel_table is not None:
        return {id(layer.channel_table): chosen}
    if np.array_equal(chosen, table):
        return {}
    raise ValueError(
        f"from_libspn_keras_weights: {layer.label} multiplies all combinations of "
        "channels in a fixed order, received a kernel with another choice or order, "
        "expected that of LibSPN-Keras for all of them. Build it with the "
        "num_channels of the old layer."
    )


def _statistics(
    layer: NormalizeStandardScore, source: _Source
) -> dict[int, np.ndarray]:
    if layer.is_sample_wise:
        return {}
    return {
        id(variable): source.next(layer, name, variable.shape)
        for name, variable in (("mean", layer.mean), ("stddev", layer.stddev))
    }


_CONVERTERS: dict[
    type, Callable[[keras.layers.Layer, _Source], dict[int, np.ndarray]]
] = {
    LocationScaleLeaf: _leaf,
    BaseSum: _sum,
    PermuteAndPadScopesRandom: _permutation,
    Conv2DProduct: _product,
    NormalizeStandardScore: _statistics,
}
