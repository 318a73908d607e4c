"""Keras metrics of models whose output is ``log p(x, class)``."""

from tfp_spn.metrics.bits_per_dimension import BitsPerDimension as BitsPerDimension
from tfp_spn.metrics.log_joint import LogJoint as LogJoint
from tfp_spn.metrics.log_likelihood import LogLikelihood as LogLikelihood

__all__ = ["BitsPerDimension", "LogJoint", "LogLikelihood"]
