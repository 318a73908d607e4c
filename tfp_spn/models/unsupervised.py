"""Training without labels."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_spn._typing import ShapeLike, Tensor, TensorLike
from tfp_spn.circuits.example_weights import NO_LABEL, given_targets
from tfp_spn.circuits.keras_methods import KerasMethods
from tfp_spn.layers.known_shapes import with_known_shape


class UnsupervisedTraining(KerasMethods):
    """Mixin of Keras models whose loss and metrics may need no target.

    Data are ``x``, ``(x, labels)`` or ``(x, labels, sample_weight)``, as everywhere in
    Keras. In unsupervised training labels are ignored, and left out as ``x`` or
    ``(x, None, sample_weight)``; sample weights count as ever. (LibSPN-Keras takes the
    labels of ``(x, labels)`` for sample weights, and ignores real sample weights.)

    Attributes:
        unsupervised: Whether there are no labels.
    """

    unsupervised: bool
    loss: Any

    def __call__(self, inputs: object, *args: object, **kwargs: object) -> Tensor:
        """Calls the model, with the shape that it was built for."""
        shape = self.built_shape()
        if shape is not None:
            if isinstance(inputs, list | tuple) and inputs:
                inputs = type(inputs)([with_known_shape(inputs[0], shape), *inputs[1:]])
            else:
                inputs = with_known_shape(inputs, shape)
        return super().__call__(inputs, *args, **kwargs)

    def built_shape(self) -> ShapeLike | None:
        """Shape of the data that the model was built for, `None` before."""
        shape = getattr(self, "input_shape", None)
        return shape if isinstance(shape, tuple) and shape[:1] == (None,) else None

    def compute_loss(
        self,
        x: TensorLike = None,
        y: TensorLike = None,
        y_pred: TensorLike = None,
        sample_weight: TensorLike = None,
        training: bool = True,
    ) -> Tensor:
        """The loss, of examples without a label if the model is unsupervised."""
        return super().compute_loss(  # type: ignore[misc]
            x=x,
            y=self._labels(x, y, y_pred),
            y_pred=y_pred,
            sample_weight=self._weights(sample_weight, y_pred),
            training=training,
        )

    def _labels(self, x: TensorLike, y: TensorLike, y_pred: TensorLike) -> Tensor:
        """Labels of examples; none is a class if the model is unsupervised."""
        is_unlabelled = given_targets(y) is None
        needs_none = not getattr(self.loss, "needs_labels", True)
        if self.unsupervised or (is_unlabelled and needs_none):
            return tf.fill([tf.shape(y_pred)[0]], NO_LABEL)
        if is_unlabelled:
            raise ValueError(
                f"{type(self).__name__}: received data without labels, expected (x, "
                "labels) since the model is supervised. Pass labels, or make the model "
                "with unsupervised=True and a loss such as "
                "tfp_spn.losses.NegativeLogLikelihood()."
            )
        return y
