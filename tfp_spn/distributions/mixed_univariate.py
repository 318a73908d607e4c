"""A batch of univariate distributions of different families."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_spn._typing import Seed, Tensor
from tfp_spn.distributions import _parameters
from tfp_spn.distributions._of_variable import OfVariable
from tfp_spn.distributions._tensor_values import TensorValues


class MixedUnivariate(OfVariable, TensorValues, tfd.AutoCompositeTensorDistribution):
    """Univariate distributions whose last batch axis has several families.

    What `SumProductNetwork.univariate_posteriors` says of variables of mixed types.
    Each query (`log_prob`, `cdf`, `mean`, `variance`, `sample`, ...) is asked of each
    family, and raises where one does not have it. A single variable is a distribution
    of its own, ``posteriors.of_variable(2)``.

    Args:
        distributions: Distributions over numbers, of batch shapes ``[..., V']``.
        places: Where their last batch axes belong in that of the result.
        validate_args: As in all of TFP.
        allow_nan_stats: As in all of TFP.
        name: Name of the distribution.

    Example:
        >>> from tensorflow_probability import distributions as tfd
        >>> from tfp_spn.distributions.mixed_univariate import MixedUnivariate
        >>> both = MixedUnivariate(
        ...     [tfd.Normal([0.0, 1.0], 1.0), tfd.Poisson([2.0])], [(0, 2), (1,)])
        >>> both.mean().numpy().tolist()
        [0.0, 2.0, 1.0]
        >>> both.of_variable(1).batch_shape
        TensorShape([])
    """

    def __init__(
        self,
        distributions: Sequence[tfd.Distribution],
        places: Sequence[Sequence[int]],
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "MixedUnivariate",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            self._distributions = list(distributions)
            self._places = tuple(tuple(place) for place in places)
            self._order = np.argsort(np.concatenate(self._places))
            floats = [d.dtype for d in distributions if d.dtype.is_floating]
            self._begin(floats[0] if floats else tf.float32, parameters, name)

    @classmethod
    def _parameter_properties(
        cls, dtype: tf.DType, num_classes: int | None = None
    ) -> dict:
        del dtype, num_classes
        return {
            "distributions": _parameters.BatchedComponentProperties(event_ndims=None)
        }

    @property
    def distributions(self) -> list[tfd.Distribution]:
        """The distribution of each family."""
        return self._distributions

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """Where their variables are."""
        return self._places

    def _one(self, number: int) -> tfd.Distribution:
        pairs = zip(self._distributions, self._places, strict=True)
        found, place = next(pair for pair in pairs if number in pair[1])
        return found[..., place.index(number)]

    def _batch_shape(self) -> tf.TensorShape:
        lead = self._distributions[0].batch_shape[:-1]
        return lead.concatenate([len(self._order)])

    def _batch_shape_tensor(self) -> Tensor:
        lead = self._distributions[0].batch_shape_tensor()[:-1]
        return tf.concat([lead, [len(self._order)]], 0)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> Tensor:
        return tf.zeros([0], tf.int32)

    def _merged(self, values: Sequence[Tensor]) -> Tensor:
        """Puts the variables of all families in their order."""
        joined = tf.concat([tf.cast(v, self.dtype) for v in values], axis=-1)
        return tf.gather(joined, self._order, axis=-1)

    def _asked(self, query: str) -> Tensor:
        """Asks each family, and merges the answers."""
        return self._merged([getattr(d, query)() for d in self._distributions])

    def _of_value(
        self, value: Tensor, query: Callable[[tfd.Distribution, Tensor], Tensor]
    ) -> Tensor:
        """Asks each family about the values of its own variables."""
        value = tf.broadcast_to(
            value,
            tf.broadcast_dynamic_shape(tf.shape(value), self.batch_shape_tensor()),
        )
        pairs = zip(self._distributions, self._places, strict=True)
        return self._merged(
            [query(d, tf.gather(value, place, axis=-1)) for d, place in pairs]
        )

    def _log_prob(self, value: Tensor) -> Tensor:
        return self._of_value(value, lambda d, x: d.log_prob(x))

    def _cdf(self, value: Tensor) -> Tensor:
        return self._of_value(value, lambda d, x: d.cdf(x))

    def _survival_function(self, value: Tensor) -> Tensor:
        return self._of_value(value, lambda d, x: d.survival_function(x))

    def _log_survival_function(self, value: Tensor) -> Tensor:
        return self._of_value(value, lambda d, x: d.log_survival_function(x))

    def _sample_n(self, n: Tensor, seed: Seed = None) -> Tensor:
        seeds = tfp.random.split_seed(seed, n=len(self._distributions), salt="mixed")
        return self._merged(
            [
                d.sample(n, seed=seeds[number])
                for number, d in enumerate(self._distributions)
            ]
        )

    def _mean(self) -> Tensor:
        return self._asked("mean")

    def _variance(self) -> Tensor:
        return self._asked("variance")

    def _mode(self) -> Tensor:
        return self._asked("mode")

    def _entropy(self) -> Tensor:
        return self._asked("entropy")

    def _default_event_space_bijector(self) -> None:
        return None
