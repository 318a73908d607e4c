"""Some of the variables of a conditional distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Seed, Tensor, TensorLike
from tfp_spn.distributions import _parameters
from tfp_spn.distributions._event import as_tensor, check_variables
from tfp_spn.distributions._tensor_values import TensorValues
from tfp_spn.ops.axes import merge_axes, reshape_axes
from tfp_spn.ops.regions import gather_blank, inverse_index

if TYPE_CHECKING:
    from tfp_spn.distributions.sum_product_network import SumProductNetwork


class ConditionalMarginal(TensorValues, tfd.AutoCompositeTensorDistribution):
    """The distribution of some variables given others.

        p(x[variables] | evidence)

    What `marginal` of a conditional distribution returns: exact, each example with the
    evidence that it has there. Variables that were observed keep their value.

    Args:
        distribution: A `ConditionedSumProductNetwork`, perhaps over sequences.
        variables_of_event: Indices of coordinates of its event (of each step), in the
            order of the result; pixels of an image are counted row by row.
        steps_of_event: Of sequences: indices of steps. Default: all.
        validate_args: As in all of TFP.
        allow_nan_stats: As in all of TFP.
        name: Name of the distribution.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 2, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> x = np.array([[0, 1, 1, 0], [1, 1, 0, 0]])
        >>> given = spn.condition(x, observed=[True, True, False, False])
        >>> given.marginal([3]).log_prob([1]).shape
        TensorShape([2])
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        variables_of_event: Sequence[int],
        steps_of_event: Sequence[int] | None = None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "ConditionalMarginal",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            variables, steps = variables_of_event, steps_of_event
            self._distribution = distribution
            event = distribution._event  # noqa: SLF001
            self._flags_shape = event.mask_shape
            self._event_ndims = event.ndims
            lead = event.mask_shape[:1] if event.has_steps else ()
            width = math.prod(event.mask_shape[len(lead) :])
            cells = np.array(check_variables(variables, width, "marginal"))
            if steps is not None and not lead:
                raise ValueError(
                    f"{type(distribution).__name__}.marginal: received steps={steps!r} "
                    "of a distribution that has none, expected variables only. Leave "
                    "out steps."
                )
            if lead:
                chosen: Sequence[int] = range(lead[0])
                if steps is not None:
                    chosen = check_variables(steps, lead[0], "marginal", "steps")
                cells = np.array(chosen)[:, np.newaxis] * width + cells
                steps = tuple(int(step) for step in chosen)
            self._cells = cells
            self._variables_of_event = tuple(int(v) for v in variables)
            self._steps_of_event = steps
            parameters.update(
                variables_of_event=self._variables_of_event, steps_of_event=steps
            )
            self._begin(distribution.dtype, parameters, name)

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType, num_classes: int | None = None
    ) -> dict:
        del dtype, num_classes
        return {"distribution": _parameters.BatchedComponentProperties()}

    @property
    def distribution(self) -> SumProductNetwork:
        """The distribution of all variables."""
        return self._distribution

    def _event_shape(self) -> tf.TensorShape:
        dims = tuple(self._distribution.event_shape[len(self._flags_shape) :])
        return tf.TensorShape([*self._cells.shape, *(d for d in dims if d > 1)])

    def _event_shape_tensor(self) -> Tensor:
        return tf.constant(self._event_shape().as_list(), tf.int32)

    def _picked(self, value: Tensor) -> Tensor:
        """``[..., *event]`` of all variables to those of this event."""
        flat = merge_axes(value, -self._event_ndims, 0)
        return tf.gather(flat, self._index.reshape(self._event_shape()), axis=-1)

    def _embedded(self, value: Tensor) -> Tensor:
        """``[..., *event]`` to all variables, 0 where this event has none."""
        shape, full = self._event_shape(), self._distribution.event_shape
        if value.shape.rank is None or not value.shape[
            -shape.rank :
        ].is_compatible_with(shape):
            raise ValueError(
                f"{type(self).__name__}: received a value of shape {value.shape}, "
                f"expected [..., {', '.join(map(str, shape))}]: the last axes are the "
                "event. Pass the variables of this marginal alone."
            )
        lead = value.shape[: value.shape.rank - shape.rank]
        value = tf.ensure_shape(value, lead.concatenate(shape))
        return _spread(value, shape.rank, self._index, tuple(full))

    @property
    def _index(self) -> np.ndarray:
        """Places of the numbers of this event among all, ``[*cells, dims]``."""
        total = self._distribution.event_shape.num_elements()
        dims = total // math.prod(self._flags_shape)
        return self._cells[..., np.newaxis] * dims + np.arange(dims)

    def _mask(self, observed: TensorLike | None) -> Tensor | None:
        """Which values count, of all variables."""
        if observed is None:  # a constant: graphs ask what is known of it
            place = inverse_index(self._cells.ravel(), math.prod(self._flags_shape))
            return (place >= 0).reshape(self._flags_shape)
        observed = as_tensor(observed, "observed")
        rank, shape = self._cells.ndim, list(self._cells.shape)
        lead = (observed.shape.rank or 0) - rank
        if observed.dtype != tf.bool or (
            observed.shape[max(lead, 0) :].as_list() != shape
        ):
            raise ValueError(
                f"{type(self).__name__}: received observed of dtype "
                f"{observed.dtype.name} and shape {observed.shape}, expected bool "
                f"[..., {', '.join(map(str, shape))}]: one flag for each variable of "
                "this marginal."
            )
        return _spread(observed, rank, self._cells, self._flags_shape)

    def _log_prob(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        """``observed``: which of the variables count; the others are integrated out."""
        return self._distribution.log_prob(
            self._embedded(value), observed=self._mask(observed)
        )

    def _log_cdf(self, value: Tensor, observed: TensorLike | None = None) -> Tensor:
        """``observed``: which of the variables are bounded."""
        return self._distribution.log_cdf(
            self._embedded(value), observed=self._mask(observed)
        )

    def _log_survival_function(
        self, value: Tensor, observed: TensorLike | None = None
    ) -> Tensor:
        return self._distribution.log_survival_function(
            self._embedded(value), observed=self._mask(observed)
        )

    def _sample_n(self, n: Tensor, seed: Seed = None) -> Tensor:
        return self._picked(self._distribution.sample(n, seed=seed))

    def _mean(self) -> Tensor:
        return self._picked(self._distribution.mean())

    def _variance(self) -> Tensor:
        return self._picked(self._distribution.variance())

    def _mode(self) -> Tensor:
        return self._picked(self._distribution.mode())

    def _covariance(self) -> Tensor:
        rows = tf.gather(self._distribution.covariance(), self._cells, axis=-2)
        return tf.gather(rows, self._cells, axis=-1)

    def _default_event_space_bijector(self) -> None:
        return None  # of observed variables there is none

    def marginal(
        self,
        variables: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        name: str | None = None,
    ) -> ConditionalMarginal:
        """The distribution of some of these variables.

        Args:
            variables: Indices of coordinates of this event. Default: all.
            steps: Of sequences: indices of steps of this event. Default: all.
            name: Name of the result.
        """
        own = self._variables_of_event
        if variables is not None:
            chosen = check_variables(variables, len(own), "marginal")
            own = tuple(own[v] for v in chosen)
        own_steps = self._steps_of_event
        if steps is not None and own_steps is not None:
            chosen = check_variables(steps, len(own_steps), "marginal", "steps")
            steps = tuple(own_steps[t] for t in chosen)
        elif steps is None:
            steps = own_steps
        return self.copy(
            variables_of_event=own, steps_of_event=steps, name=name or self.name
        )

    def condition(
        self, value: TensorLike, observed: TensorLike, name: str | None = None
    ) -> ConditionalMarginal:
        """The distribution given further values.

        Args:
            value: ``[..., *event_shape]``.
            observed: bool, one flag for each variable of this event: where `value`
                counts, unless the present evidence has a value.
            name: Name of the result.
        """
        given = self._distribution.condition(
            self._embedded(as_tensor(value)), self._mask(observed)
        )
        return self.copy(distribution=given, name=name or self.name)


def _spread(
    value: Tensor, ndims: int, index: np.ndarray, shape: tuple[int, ...]
) -> Tensor:
    """Puts the last `ndims` axes at `index` of axes of `shape`, 0 elsewhere."""
    place = inverse_index(index.ravel(), math.prod(shape))
    flat = gather_blank(merge_axes(value, -ndims, 0), place, -1)
    return reshape_axes(flat, -1, 0, shape)
