"""The base class of Bernoulli and binomial leaves."""

from __future__ import annotations

import math
from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from tfp_spn._arguments import LARGEST_INTEGER, a_count, reads
from tfp_spn._keras_bridge import family_named
from tfp_spn._keras_typing import InitializerLike, LayerOptions
from tfp_spn._serialization import initializer_of, serialize
from tfp_spn._typing import Config, Params, Tensor
from tfp_spn.layers.leaves.base_leaf import ParameterSpec, blend
from tfp_spn.layers.leaves.elementwise_leaf import ElementwiseLeaf
from tfp_spn.layers.leaves.exponential_family_leaf import ExponentialFamilyLeaf
from tfp_spn.layers.leaves.family_densities import family_log_prob
from tfp_spn.layers.leaves.initial_parameters import LeafData
from tfp_spn.layers.leaves.layout import LeafLayout
from tfp_spn.layers.leaves.support import Support, integers_up_to
from tfp_spn.ops.long_sums import long_sum

_MAX_OF_FLOAT32 = 255
_MAX_OF_FLOAT64 = 2**24
"""Up to so many trials log-factorials have the digits of their difference."""


class CountLeaf(ExponentialFamilyLeaf, ElementwiseLeaf):
    """Base of the leaves that count successes among `total_count` trials.

    Evaluated as one matrix product per region in the counts; in double precision of
    more than 255 trials, where log-factorials lose digits; one by one in deviance form
    of more than 2^24.

    Args:
        num_components: Number of components per leaf slot.
        total_count: Number of trials.
        logits_initializer: Initializer of log-odds. Default: normal of standard
            deviation 1.
        **kwargs: Passed on to `keras.layers.Layer`.
    """

    is_discrete = True

    @reads(total_count=a_count(most=LARGEST_INTEGER))
    def __init__(
        self,
        num_components: int,
        total_count: int,
        logits_initializer: InitializerLike = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(num_components, **kwargs)
        self.total_count = total_count
        self.logits_initializer = initializer_of(
            self, "logits_initializer", logits_initializer
        ) or keras.initializers.RandomNormal(stddev=1.0)

    def parameter_specs(self, num_dims: int) -> dict[str, ParameterSpec]:
        """`logits`, ``[K, D]``."""
        shape = (self.num_components, num_dims)
        return {"logits": ParameterSpec(shape, self.logits_initializer)}

    def coefficients(self, params: Params, layout: LeafLayout) -> tuple[Tensor, Tensor]:
        """Returns the coefficient of the count itself: the log-odds."""
        constant = -self.total_count * tf.math.softplus(params["logits"])
        return (
            tf.linalg.matrix_transpose(params["logits"]),
            tf.reduce_sum(constant, -1)[..., tf.newaxis, :],
        )

    def statistics(self, params: Params, x: Tensor, layout: LeafLayout) -> Tensor:
        """The count."""
        return x

    @property
    def event_dtype(self) -> str:
        """The dtype of samples, which holds all possible values."""
        return self.value_support.integer_dtype

    @property
    def is_large(self) -> bool:
        """Whether log-factorials would lose digits."""
        return self.total_count > _MAX_OF_FLOAT32

    def region_log_prob(
        self,
        params: Params,
        x: Tensor,
        observed: Tensor | None,
        layout: LeafLayout,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """One matrix product, or the largest counts one by one."""
        product = ExponentialFamilyLeaf.region_log_prob
        if not self.is_large:
            return product(self, params, x, observed, layout, hidden)
        if self.total_count > _MAX_OF_FLOAT64:
            one_by_one = ElementwiseLeaf.region_log_prob
            return one_by_one(self, params, x, observed, layout, hidden)
        wide = {name: tf.cast(value, tf.float64) for name, value in params.items()}
        hidden = None if hidden is None else tf.cast(hidden, tf.float64)
        count = tf.cast(self.safe_value(x), tf.float64)
        base = self.log_binomial(count)
        if observed is not None:
            base = tf.where(observed, base, tf.zeros_like(base))
        base = layout.gather_variables(base[..., tf.newaxis, :], axis=-3)
        value = product(self, wide, count, observed, layout, hidden)
        return tf.cast(value + layout.sum_over_width(base), x.dtype)

    def component_log_prob(self, params: Params, x: Tensor) -> Tensor:
        """Without the binomial coefficient where `log_base` has it."""
        logits = tf.convert_to_tensor(params["logits"])[..., tf.newaxis]
        x = x[..., tf.newaxis, :, :]
        if self.is_large:
            log_prob = self._exact_log_prob(logits, x)
        else:
            log_prob = x * logits - self.total_count * tf.math.softplus(logits)
        return tf.reduce_sum(log_prob, axis=-2)

    def _exact_log_prob(self, logits: Tensor, x: Tensor) -> Tensor:
        return family_log_prob(
            family_named("Binomial")(float(self.total_count), logits=logits), x
        )

    @property
    def value_support(self) -> Support:
        """Integers up to the number of trials."""
        return integers_up_to(self.total_count)

    def log_base(self, x: Tensor) -> Tensor:
        """Logarithm of the binomial coefficient, ``-inf`` outside the support.

        Zero in place of those that are too large, see `component_log_prob`.
        """
        valid = tf.reduce_all(self.value_support.contains(x), axis=-2)
        zero = tf.zeros([], x.dtype)
        base = zero if self.is_large else self.log_binomial(self.safe_value(x))
        return tf.where(valid, base, -float("inf"))

    def log_binomial(self, x: Tensor) -> Tensor:
        """``[..., D, N] -> [..., N]``."""
        # Differences of large numbers: float32 would lose digits of each variable.
        n, count = float(self.total_count), tf.cast(x, tf.float64)
        log_coefficient = (
            math.lgamma(n + 1)
            - tf.math.lgamma(count + 1)
            - tf.math.lgamma(n - count + 1)
        )
        return long_sum(tf.cast(log_coefficient, x.dtype), axis=-2)

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """A sum of coin tosses (of one binomial draw when there are many)."""
        probs = tf.math.sigmoid(rows["logits"][..., 0])
        if self.total_count <= 32:
            shape = tf.concat([[self.total_count], tf.shape(probs)], 0)
            uniform = tf.random.stateless_uniform(shape, seed, dtype=probs.dtype)
            return tf.reduce_sum(tf.cast(uniform < probs, probs.dtype), axis=0)
        return tf.random.stateless_binomial(
            tf.shape(probs),
            seed,
            counts=tf.cast(self.total_count, probs.dtype),
            probs=probs,
            output_dtype=probs.dtype,
        )

    def component_mode(self, params: Params) -> Tensor:
        """``floor((n + 1) p)``, at most ``n``."""
        n = self.total_count
        probs = tf.math.sigmoid(params["logits"])
        return tf.minimum(tf.math.floor((n + 1) * probs), tf.cast(n, probs.dtype))

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """Log-probability of the mode."""
        mode = self.component_mode(params)
        logits = params["logits"]
        if self.is_large:
            return tf.reduce_sum(self._exact_log_prob(logits, mode), -1)
        log_prob = mode * logits - self.total_count * tf.math.softplus(logits)
        return tf.reduce_sum(log_prob, -1) + self.log_binomial(
            tf.linalg.matrix_transpose(mode)
        )

    def component_mean(self, params: Params) -> Tensor:
        """``n p``."""
        return self.total_count * tf.math.sigmoid(params["logits"])

    def component_variance(self, params: Params) -> Tensor:
        """``n p (1 - p)``."""
        logits = params["logits"]
        return self.total_count * tf.math.sigmoid(logits) * tf.math.sigmoid(-logits)

    def maximize(
        self, params: Params, statistics: Params, step_size: Tensor, pseudocount: float
    ) -> Params:
        """Moves the success probability by `step_size`.

        Half of `pseudocount` examples are all successes, half are all failures.
        """
        count = statistics["count"][..., tf.newaxis]
        trials = self.total_count * (tf.maximum(count, 1e-30) + pseudocount)
        sums = tf.linalg.matrix_transpose(statistics["sums"])  # [L, K, D]
        successes = sums + 0.5 * self.total_count * pseudocount
        successes = tf.clip_by_value(successes, 0.0, trials)
        old = params["logits"]
        success = blend(tf.math.sigmoid(old), successes / trials, count, step_size)
        failure = blend(
            tf.math.sigmoid(-old), (trials - successes) / trials, count, step_size
        )
        floor = tf.cast(1e-12, old.dtype)
        logits = tf.math.log(tf.maximum(success, floor)) - tf.math.log(
            tf.maximum(failure, floor)
        )
        return {"logits": tf.where(count > 0, logits, old)}

    def initial_parameters(self, data: LeafData) -> Params:
        """Probabilities drawn around the variable's frequency, ``[L, K, D]``."""
        trials = data.observed.sum(0) * self.total_count
        probs = ((data.x * data.observed).sum(0) + 0.5) / (trials + 1.0)
        success = data.around(probs)[:, np.newaxis]
        failure = data.around(1 - probs)[:, np.newaxis]
        draws = [
            data.log_gamma_draws(np.repeat(shape, self.num_components, axis=1))
            for shape in (success, failure)
        ]
        return {"logits": draws[0] - draws[1]}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "total_count": self.total_count,
            "logits_initializer": serialize(self.logits_initializer),
        }
