"""What is asked of the components of a leaf layer, by default of their TFP family."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfp_spn._keras_bridge import Distribution
from tfp_spn._typing import Params, Tensor
from tfp_spn.layers.leaves.support import SUPPORTS, Support


class LeafComponents:
    """The components of a leaf layer, before that in the bases of `BaseLeaf`.

    Attributes:
        is_discrete: Whether values are integers.
        looks_up_values: Whether densities have no gradient with respect to values.
        is_binary: Whether they are 0 and 1, and posteriors Bernoulli distributions.
        has_mode: Whether components have a mode.
        has_moments: Whether components have a mean and a variance.
        has_linear_moments: Whether those are of numbers, not of directions.
        event_ndims: 0, or 1 for families of vectors over the dimensions of a variable.
    """

    is_discrete = False
    looks_up_values = False
    is_binary = False
    has_mode = True
    has_moments = True
    has_linear_moments = True
    event_ndims: int = 0
    compute_dtype: str

    @property
    def label(self) -> str:
        """What messages call the layer."""
        return type(self).__name__

    @property
    def value_support(self) -> Support:
        """Which values are possible."""
        return SUPPORTS["nonnegative_integers" if self.is_discrete else "real"]

    @property
    def support(self) -> str:
        """The same in words."""
        return self.value_support.words

    def component_tables(self, params: Params) -> Params:
        """What is known of each component, ``[..., L, K, D, G]`` each, any ``G``.

        By default the parameters, each a number for each component and dimension.
        """
        return {k: tf.convert_to_tensor(v)[..., tf.newaxis] for k, v in params.items()}

    def component_distribution(self, rows: Params) -> Distribution:
        """Components as a batch ``[...]`` of a TFP family, of rows ``[..., G]``.

        What is not overridden is asked of these.
        """
        raise NotImplementedError(
            f"component_distribution: received a leaf layer {self.label}, of which no "
            "TFP family is known, expected one that has this method. Let it return a "
            "tfd.Distribution of the rows of component_tables."
        )

    def sample_component(self, rows: Params, seed: Tensor) -> Tensor:
        """One draw ``[..., D]`` from each gathered component, rows ``[..., D, G]``."""
        drawn = self.component_distribution(rows).sample(seed=seed)
        return self.value_support.rounded_inwards(tf.cast(drawn, self.compute_dtype))

    def _components(self, params: Params) -> Distribution:
        """All components, of batch shape ``[..., L, K, D]``."""
        return self.component_distribution(self.component_tables(params))

    def component_mode(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return tf.cast(self._components(params).mode(), self.compute_dtype)

    def component_mode_log_prob(self, params: Params) -> Tensor:
        """``[..., L, K]``: log-density at the mode, `log_base` included."""
        log_prob = self._components(params).log_prob(self.component_mode(params))
        return tf.reduce_sum(log_prob, axis=-1)

    def component_mean(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return tf.cast(self._components(params).mean(), self.compute_dtype)

    def component_variance(self, params: Params) -> Tensor:
        """``[..., L, K, D]``."""
        return tf.cast(self._components(params).variance(), self.compute_dtype)

    def location_and_scale(self, params: Params) -> tuple[Tensor, Tensor] | None:
        """Where components lie and how wide they are, ``[..., L, K, D]`` each.

        By default their means and deviations; `None` of families without.
        """
        if not (self.has_moments and self.has_linear_moments):
            return None
        return self.component_mean(params), self.component_variance(params) ** 0.5

    def fixed_scale(self, params: Params) -> Tensor | None:
        """The scale ``[..., L, K, D]`` that is not learned, `None` if there is none."""
        return None

    def spread(self, x: np.ndarray) -> np.ndarray:
        """The scale that suits values ``[N, ...]``, NaN among them: the deviation."""
        return np.nanstd(x, axis=0)

    def value_probs(self, params: Params) -> Tensor | None:
        """``[..., L, K, D, G]``: the probabilities of the values 0, 1, ...

        `None` of families of infinitely many values.
        """
        return None
