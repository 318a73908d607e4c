"""A functional Keras model that trains without labels."""

from __future__ import annotations

import keras

from tfp_spn._arguments import a_flag, reads
from tfp_spn._serialization import register
from tfp_spn._typing import Config
from tfp_spn.layers.regions.stock_layers import check_top
from tfp_spn.models.unsupervised import UnsupervisedTraining


@register
class SumProductNetwork(UnsupervisedTraining, keras.Model):
    """A `keras.Model` whose loss and metrics may need no target.

    In contrast to LibSPN-Keras, labels are labels and sample weights are sample weights
    (see `tfp_spn.models.unsupervised`), and the config is complete.

    Args:
        *args: As of `keras.Model`: ``inputs, outputs`` of a functional model.
        unsupervised: Whether data have no labels, or labels to be ignored.
        **kwargs: As of `keras.Model`.

    Raises:
        ValueError: In training, labels are missing and the model is supervised.

    Example:
        >>> import keras, numpy as np, tfp_spn
        >>> x = keras.Input((2,))
        >>> y = tfp_spn.layers.FlatToRegions(num_decomps=1)(x)
        >>> y = tfp_spn.layers.NormalLeaf(num_components=2)(y)
        >>> y = tfp_spn.layers.DenseProduct(num_factors=2)(y)
        >>> y = tfp_spn.layers.RootSum(return_weighted_child_logits=False)(y)
        >>> model = tfp_spn.models.SumProductNetwork(x, y)
        >>> model.compile("adam", tfp_spn.losses.NegativeLogLikelihood())
        >>> history = model.fit(np.zeros([8, 2]), verbose=0)
    """

    @reads(unsupervised=a_flag())
    def __init__(
        self, *args: object, unsupervised: bool = True, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)
        self.unsupervised = unsupervised
        outputs = getattr(self, "outputs", [])  # of a functional model
        check_top(f'{type(self).__name__} "{self.name}"', outputs)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "unsupervised": self.unsupervised}
