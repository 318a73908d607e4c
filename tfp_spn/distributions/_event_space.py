"""Where events live: bijectors onto their support, and their tangent space.

A coordinate that holds integers has no density, so that no bijector changes it: it
passes default bijectors as it is, and `tfd.TransformedDistribution` corrects densities
by the volume that the continuous coordinates alone span.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.experimental.tangent_spaces import spaces

from tfp_spn._typing import Tensor
from tfp_spn.distributions._event import Event
from tfp_spn.layers.leaves.support import Support

_BIJECTORS: dict[str, Callable[[], tfb.Bijector]] = {
    "real": tfb.Identity,
    "positive": tfb.Softplus,
    "nonnegative": tfb.Softplus,
    "closed_unit_interval": tfb.Sigmoid,
    "unit_interval": tfb.Sigmoid,
    "circle": lambda: tfb.Sigmoid(low=-np.pi, high=np.pi),
    "simplex": tfb.IteratedSigmoidCentered,
}


def supports(event: Event) -> list[tuple[Support, bool]]:
    """The support of each variable of an event, and whether it is discrete."""
    program = event.program
    of_variable: dict[int, tuple[Support, bool]] = {}
    for part in program.leaf.parts(program.step.layout):
        leaf = part.leaf
        found = (leaf.value_support, leaf.is_discrete)
        of_variable.update(dict.fromkeys(part.variables.tolist(), found))
    return [of_variable[v] for v in event.variables]


def default_bijector(event: Event) -> tfb.Bijector | None:
    """Maps real numbers onto the support; discrete coordinates stay as they are.

    `None` where all coordinates are discrete, or a support depends on parameters.
    """
    found = supports(event)
    if all(is_discrete for _, is_discrete in found):
        return None
    names = ["real" if is_discrete else s.name for s, is_discrete in found]
    if any(name not in _BIJECTORS for name in names):
        return None
    if len(set(names)) == 1:
        return _BIJECTORS[names[0]]()
    if event.ndims > 1:
        return None  # of vectors of several types
    runs = [(name, len(list(run))) for name, run in itertools.groupby(names)]
    return tfb.Blockwise(
        [_BIJECTORS[name]() for name, _ in runs],
        block_sizes=[size for _, size in runs],
    )


def tangent_space(
    event: Event, x: Tensor, num_steps: int | None = None
) -> spaces.TangentSpace:
    """The tangent space of an event's support at ``x [..., *event_shape]``.

    Of sequences, if there are steps: `event` is then that of a single one.
    """
    discrete = np.array([is_discrete for _, is_discrete in supports(event)])
    shape = tuple(event.shape)
    if num_steps is not None:
        discrete, shape = np.tile(discrete, num_steps), (num_steps, *shape)
    if discrete.all():
        return spaces.ZeroSpace()
    if not discrete.any():
        return spaces.FullSpace()
    return MixedSpace(x, shape, discrete)


class MixedSpace(spaces.GeneralSpace):
    """Spanned by the continuous coordinates; a bijector must keep them to themselves.

    Args:
        x: A value.
        shape: Shape of the event.
        discrete: bool ``[V]``, of all steps if there are any.
    """

    def __init__(self, x: Tensor, shape: tuple[int, ...], discrete: np.ndarray) -> None:
        size = int(np.prod(shape)) // len(discrete)
        continuous = np.flatnonzero(np.repeat(~discrete, size))
        rows = np.eye(int(np.prod(shape)))[continuous]
        ones = [1] * (x.shape.rank - len(shape))
        rows = tf.constant(rows.reshape(len(rows), *ones, *shape), x.dtype)
        whole = tf.concat([[len(continuous)], tf.shape(x)], 0)
        super().__init__(
            spaces.DenseBasis(tf.broadcast_to(rows, whole)), computed_log_volume=0.0
        )
        self.num_continuous = len(continuous)

    # A bijector's cache would give back `y` itself for an `x` that it was inverted to,
    # and the derivative of that is zero.
    def _transform_general(
        self, x: Tensor, f: tfb.Bijector, **kwargs: object
    ) -> tuple[Tensor, spaces.TangentSpace]:
        return super()._transform_general(tf.identity(x), f, **kwargs)

    def _transform_coordinatewise(
        self, x: Tensor, f: tfb.Bijector, **kwargs: object
    ) -> tuple[Tensor, spaces.TangentSpace]:
        return super()._transform_coordinatewise(tf.identity(x), f, **kwargs)

    def _transform_from_basis(
        self, new_basis: spaces.Basis, event_ndims: int
    ) -> tuple[Tensor, spaces.TangentSpace]:
        matrix = new_basis.to_dense_matrix(event_ndims)  # [..., continuous, F]
        touched = tf.reduce_any(matrix != 0, axis=-2)
        num_touched = tf.reduce_sum(tf.cast(touched, tf.int32), axis=-1)
        check = tf.debugging.assert_less_equal(
            num_touched,
            self.num_continuous,
            message=(
                "SumProductNetwork: received a bijector that adds continuous "
                "coordinates to discrete ones, whose values would be integers no more, "
                "expected one that keeps them apart. Transform the continuous "
                "coordinates only, for example by tfb.Blockwise."
            ),
        )
        with tf.control_dependencies([] if check is None else [check]):
            return super()._transform_from_basis(new_basis, event_ndims)
