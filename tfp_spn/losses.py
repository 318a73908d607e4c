"""The losses of `tfp_spn.learning`, where Keras users look for them."""

from tfp_spn.learning.hybrid_loss import (
    HybridGenerativeDiscriminative as HybridGenerativeDiscriminative,
)
from tfp_spn.learning.losses import NegativeLogJoint as NegativeLogJoint
from tfp_spn.learning.losses import NegativeLogLikelihood as NegativeLogLikelihood

__all__ = [
    "HybridGenerativeDiscriminative",
    "NegativeLogJoint",
    "NegativeLogLikelihood",
]
