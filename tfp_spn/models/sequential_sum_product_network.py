"""A stack of layers as a Keras model that trains without labels and completes data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_spn._arguments import a_count, a_flag, reads
from tfp_spn._serialization import deserialize, register
from tfp_spn._typing import Config, Seed, ShapeLike, Tensor, TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.from_layers import from_layers
from tfp_spn.circuits.keras_inputs import read_inputs
from tfp_spn.circuits.outer_layers import without_training_layers
from tfp_spn.circuits.stack_validation import is_stack
from tfp_spn.distributions.sum_product_network import SumProductNetwork
from tfp_spn.layers.leaves.base_leaf import BaseLeaf
from tfp_spn.layers.normalize_standard_score import NormalizeStandardScore
from tfp_spn.layers.regions.base_product import BaseProduct
from tfp_spn.layers.regions.base_sum import BaseSum
from tfp_spn.layers.regions.permute_and_pad_scopes_random import (
    PermuteAndPadScopesRandom,
)
from tfp_spn.layers.regions.stock_layers import check_top
from tfp_spn.models.sequences import over_axes
from tfp_spn.models.unsupervised import UnsupervisedTraining
from tfp_spn.ops.log_space import logsumexp
from tfp_spn.sum_ops import SumOpSampleBackprop


@register
class SequentialSumProductNetwork(UnsupervisedTraining, keras.Sequential):
    """A `keras.Sequential` of circuit layers, for training without labels.

    A `PermuteAndPadScopesRandom` without `factors` takes them from the products above
    it. With ``infer_no_evidence=True`` inputs are pairs ``(x, observed)``: training and
    evaluation are of the log-probability of what is observed; a call outside of
    training, and `predict`, complete the rest (`complete`).

    In contrast to LibSPN-Keras: labels are labels and sample weights are sample weights
    (see `tfp_spn.models.unsupervised`); evidence works for flat data as well, and in
    `fit`; completions are exact conditional means, modes or samples rather than
    normalised gradients times component modes; a preceding `NormalizeStandardScore`
    takes its statistics from observed values only; and `log_prob` is a density of the
    data, not of their z-scores.

    Args:
        layers: The layers, the first of them perhaps a `keras.Input`.
        infer_no_evidence: Whether inputs are pairs of data and mask.
        unsupervised: Whether data have no labels, or labels to be ignored. Default:
            ``not infer_no_evidence``. Supervised models need labels if their loss does.
        infer_weighted_sum: Whether completions are conditional means; else they are
            those of the most probable choices of all sums (`mode`). Default: means of
            continuous, modes of discrete variables. If all sums have the rule
            `SumOpSampleBackprop`, completions are conditional samples.
        **kwargs: As of `keras.Sequential`.

    Input shape:
        That of the first layer; or a pair of that and a bool mask, `True` where the
        value counts: ``[batch, num_variables]``, or ``[batch, height, width]`` with or
        without a last axis of length 1 for images.

    Output shape:
        ``[batch, num_classes]``: ``log p(x, class)``; with `infer_no_evidence`, outside
        of training, that of the data.

    Raises:
        TypeError: With `infer_no_evidence` the input is not a pair.

    Example:
        >>> import keras, numpy as np, tfp_spn
        >>> model = tfp_spn.models.SequentialSumProductNetwork([
        ...     keras.Input((4,)),
        ...     tfp_spn.layers.FlatToRegions(num_decomps=2),
        ...     tfp_spn.layers.NormalLeaf(num_components=3),
        ...     tfp_spn.layers.PermuteAndPadScopesRandom(),
        ...     tfp_spn.layers.DenseProduct(num_factors=2),
        ...     tfp_spn.layers.DenseSum(num_sums=2),
        ...     tfp_spn.layers.DenseProduct(num_factors=2),
        ...     tfp_spn.layers.RootSum(return_weighted_child_logits=False)])
        >>> model.compile("adam", tfp_spn.losses.NegativeLogLikelihood())
        >>> x = np.zeros([8, 4], "float32")
        >>> history = model.fit(x, verbose=0)
        >>> model.complete(x, [True, True, False, False]).shape
        TensorShape([8, 4])
    """

    @reads(
        infer_no_evidence=a_flag(), unsupervised=a_flag(), infer_weighted_sum=a_flag()
    )
    def __init__(
        self,
        layers: Sequence[keras.layers.Layer] | None = None,
        infer_no_evidence: bool = False,
        unsupervised: bool | None = None,
        infer_weighted_sum: bool | None = None,
        **kwargs: object,
    ) -> None:
        layers = list(layers or [])
        _fill_in_factors(layers)
        # Before Keras builds the model, which asks for an output shape.
        self.__dict__["infer_no_evidence"] = bool(infer_no_evidence)
        super().__init__(layers, **kwargs)
        self.infer_no_evidence = bool(infer_no_evidence)
        self.unsupervised = (
            not infer_no_evidence if unsupervised is None else bool(unsupervised)
        )
        self.infer_weighted_sum = infer_weighted_sum
        self._evaluates = False

    # --- queries -----------------------------------------------------------------

    def distribution(self) -> SumProductNetwork:
        """The distribution of what the leaves see: z-scores if the data are normalised.

        Returns:
            A view of the model's variables; `normalizer` leads to the data.
        """
        return SumProductNetwork(self._circuit())

    @property
    def normalizer(self) -> NormalizeStandardScore | None:
        """The first layer, if it is a `NormalizeStandardScore`."""
        first = self.layers[0] if self.layers else None
        return first if isinstance(first, NormalizeStandardScore) else None

    def log_prob(self, x: TensorLike, observed: TensorLike | None = None) -> Tensor:
        """Log-density of the data, the change to z-scores accounted for.

        Args:
            x: Data, ``[batch, ...]``.
            observed: bool mask of the variables that count, the others being integrated
                out. Default: all.

        Returns:
            ``[batch]``.

        Raises:
            NotImplementedError: The data are normalised sample by sample.
        """
        x, observed = self._checked(x, observed)
        log_prob = logsumexp(self._log_joint(x, observed, False), axis=-1)
        if self.normalizer is None:
            return log_prob
        mask = None if observed is None else over_axes(observed, x)
        return log_prob + self.normalizer.forward_log_det_jacobian(x, mask)

    def complete(
        self, x: TensorLike, observed: TensorLike, seed: Seed = None
    ) -> Tensor:
        """The data with what is not observed filled in; see `infer_weighted_sum`.

        Args:
            x: Data, ``[batch, ...]``; what is not observed may be anything.
            observed: bool mask of the variables that are known.
            seed: Seed of the samples.

        Returns:
            Of the shape of `x`.
        """
        x, observed = self._checked(x, observed)
        mask = over_axes(observed, x)
        z = x if self.normalizer is None else self.normalizer(x, mask)
        given = self.distribution().condition(z, observed)
        if self._samples():
            filled = given.sample(seed=seed)
        elif self._takes_means():
            filled = given.mean()
        else:
            filled = given.mode()
        if self.normalizer is not None:
            filled = self.normalizer.inverse(filled, x, mask)
        return tf.where(mask, x, tf.cast(filled, x.dtype))

    @reads(size=a_count(least=0))
    def zero_evidence_inference(self, size: int, seed: Seed = None) -> Tensor:
        """Completions of examples of which nothing is observed.

        Args:
            size: Number of examples.
            seed: Seed of samples, which completions are if all sums have the rule
                `SumOpSampleBackprop`.

        Returns:
            ``[size, ...]``.
        """
        x = tf.zeros([size, *self.input_shape[1:]], self.layers[0].compute_dtype)
        observed = tf.zeros(tf.shape(x)[: 1 + self._mask_rank(x)], tf.bool)
        return self.complete(x, observed, seed=seed)

    # --- the Keras model -----------------------------------------------------------

    def build(self, input_shape: ShapeLike = None) -> None:
        """Builds the layers; of a pair of data and mask, for the data."""
        if (
            isinstance(input_shape, list | tuple)
            and input_shape
            and isinstance(input_shape[0], list | tuple)
        ):
            input_shape = input_shape[0]
        super().build(input_shape)
        outputs = getattr(self, "outputs", [])
        check_top(f'{type(self).__name__} "{self.name}"', outputs)
        if self._is_whole():
            self._circuit()  # which refuses what is no distribution

    def call(
        self, inputs: TensorLike, training: bool | None = None, **kwargs: object
    ) -> Tensor:
        """Log joint probabilities, or completions."""
        if not self.infer_no_evidence:
            return super().call(inputs, training=training, **kwargs)
        if not isinstance(inputs, list | tuple) or len(inputs) != 2:
            raise TypeError(
                f'{type(self).__name__} "{self.name}": received a single input, '
                "expected a pair (x, observed) since infer_no_evidence=True. Pass a "
                "bool mask, or make the model without infer_no_evidence."
            )
        x, observed = self._checked(*inputs)
        if training or self._evaluates:
            return self._log_joint(x, observed, bool(training))
        return self.complete(x, observed)

    def compute_output_spec(
        self, inputs: TensorLike, training: bool | None = None, **kwargs: object
    ) -> Any:
        """Symbolic output: log joint probabilities."""
        if self.infer_no_evidence and isinstance(inputs, list | tuple):
            inputs = inputs[0]
        return super().compute_output_spec(inputs, training=training, **kwargs)

    def test_step(self, data: object) -> dict[str, Tensor]:
        """Evaluates log-probabilities, not completions."""
        self._evaluates = True
        try:
            return super().test_step(data)
        finally:
            self._evaluates = False

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "infer_no_evidence": self.infer_no_evidence,
            "unsupervised": self.unsupervised,
            "infer_weighted_sum": self.infer_weighted_sum,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: object = None
    ) -> SequentialSumProductNetwork:
        """Builds the model from `get_config`'s result."""
        model = cls(
            [
                deserialize(cls, "layers", layer, keras.layers.Layer)
                for layer in config["layers"]
            ],
            config["infer_no_evidence"],
            config["unsupervised"],
            config["infer_weighted_sum"],
            name=config["name"],
        )
        shape = config.get("build_input_shape")
        if not model.built and shape:
            model.build(tuple(shape))
        return model

    # --- parts -----------------------------------------------------------------------

    def _circuit(self) -> Circuit:
        if self.normalizer is None:
            return from_layers(self)
        layers = self.layers[1:]
        known = self.__dict__.get("_stack_of_z_scores")
        if known is None or known.layers != layers:
            known = keras.Sequential(layers, name=f"{self.name}_of_z_scores")
            self.__dict__["_stack_of_z_scores"] = known  # Keras must not track it
        return from_layers(known)

    def circuit_of_data(self) -> Circuit | None:
        """The circuit, unless it sees z-scores only, or layers are missing."""
        return self._circuit() if self.normalizer is None and self._is_whole() else None

    def _is_whole(self) -> bool:
        layers = self.layers if self.normalizer is None else self.layers[1:]
        layers = without_training_layers(layers)
        return is_stack(layers) and all(layer.built for layer in layers)

    def _log_joint(self, x: Tensor, observed: Tensor | None, training: bool) -> Tensor:
        """Through the layers, so that those that act in training do."""
        value = x
        for layer in self.layers:
            if observed is not None and isinstance(layer, NormalizeStandardScore):
                value = layer(value, over_axes(observed, value))
            elif observed is not None and isinstance(layer, BaseLeaf):
                mask = over_axes(observed, value)
                hidden = tf.where(mask, value, tf.zeros_like(value))
                value = layer(hidden)
                value = tf.where(mask, value, tf.zeros_like(value))
            elif layer._call_has_training_arg:  # noqa: SLF001
                value = layer(value, training=training)
            else:
                value = layer(value)
        return value

    def _checked(
        self, x: TensorLike, observed: TensorLike | None
    ) -> tuple[Tensor, Tensor | None]:
        """Tensors, the mask ``[batch, variables]`` or ``[batch, height, width]``."""
        x, _ = read_inputs(self, (x, observed))
        x = tf.convert_to_tensor(x)
        leaves = self._leaves()
        if x.dtype.is_integer and not all(leaf.is_discrete for leaf in leaves):
            x = tf.cast(x, leaves[0].compute_dtype)  # completions are no integers
        if observed is None:
            return x, None
        observed = tf.convert_to_tensor(observed)
        rank = 1 + self._mask_rank(x)
        if observed.shape.rank == rank + 1 and observed.shape[-1] == 1:
            observed = observed[..., 0]
        try:
            shape = tf.broadcast_static_shape(observed.shape, x.shape[:rank])
            fits = shape.is_compatible_with(x.shape[:rank])
        except ValueError:
            fits = False
        if observed.dtype != tf.bool or not fits:
            raise ValueError(
                f'{type(self).__name__} "{self.name}": received a mask of dtype '
                f"{observed.dtype.name} and shape {tuple(observed.shape)} for data of "
                f"shape {tuple(x.shape)}, expected bool, one flag per example and "
                "variable. Pass, for example, observed=~np.isnan(x)."
            )
        return x, tf.broadcast_to(observed, tf.shape(x)[:rank])

    def _mask_rank(self, x: Tensor) -> int:
        return 2 if x.shape.rank == 4 else 1

    def _samples(self) -> bool:
        sums = [layer for layer in self.layers if isinstance(layer, BaseSum)]
        return all(isinstance(layer.sum_op, SumOpSampleBackprop) for layer in sums)

    def _takes_means(self) -> bool:
        if self.infer_weighted_sum is not None:
            return self.infer_weighted_sum
        return all(leaf.has_moments and not leaf.is_discrete for leaf in self._leaves())

    def _leaves(self) -> list[BaseLeaf]:
        return [layer for layer in self.layers if isinstance(layer, BaseLeaf)]


def _fill_in_factors(layers: Sequence[keras.layers.Layer]) -> None:
    for place, layer in enumerate(layers):
        if isinstance(layer, PermuteAndPadScopesRandom) and layer.factors is None:
            products = [p for p in layers[place:] if isinstance(p, BaseProduct)]
            layer.factors = [product.num_factors for product in products]
