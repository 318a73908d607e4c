"""The optimizer of `tfp_spn.learning`, where Keras users look for it."""

from tfp_spn.learning.online_expectation_maximization import (
    OnlineExpectationMaximization as OnlineExpectationMaximization,
)

__all__ = ["OnlineExpectationMaximization"]
