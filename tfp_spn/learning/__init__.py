"""Learning: expectation maximisation and gradient ascent.

`fit` is the way in. Its parts serve other loops: `expected_statistics` and `maximize`
are the E- and the M-step as pure functions; `ExpectationMaximization`,
`MinibatchExpectationMaximization` and `GradientAscent` are its three methods, an epoch
at a time. Objects that are a `Method` (`AnemoneExpectationMaximization`,
`AcceleratedExpectationMaximization`, `SharpnessAwareExpectationMaximization`,
`AveragedParameters`) are further ones. `OnlineExpectationMaximization` and the losses
serve ``keras.Model.fit``.
"""

from tfp_spn.circuits.data import Data as Data
from tfp_spn.learning.accelerated_expectation_maximization import (
    AcceleratedExpectationMaximization as AcceleratedExpectationMaximization,
)
from tfp_spn.learning.adjustment import Adjustment as Adjustment
from tfp_spn.learning.anemone_expectation_maximization import (
    AnemoneExpectationMaximization as AnemoneExpectationMaximization,
)
from tfp_spn.learning.annealed_expectation_maximization import (
    AnnealedExpectationMaximization as AnnealedExpectationMaximization,
)
from tfp_spn.learning.averaged_parameters import (
    AveragedParameters as AveragedParameters,
)
from tfp_spn.learning.batches import Batch as Batch
from tfp_spn.learning.batches import Batches as Batches
from tfp_spn.learning.distillation import distill as distill
from tfp_spn.learning.expectation_maximization import (
    ExpectationMaximization as ExpectationMaximization,
)
from tfp_spn.learning.expectations import add_expectations as add_expectations
from tfp_spn.learning.expectations import expected_statistics as expected_statistics
from tfp_spn.learning.fit import fit as fit
from tfp_spn.learning.gradient_ascent import GradientAscent as GradientAscent
from tfp_spn.learning.growing import grow as grow
from tfp_spn.learning.history import History as History
from tfp_spn.learning.hybrid_loss import (
    HybridGenerativeDiscriminative as HybridGenerativeDiscriminative,
)
from tfp_spn.learning.in_replica import sum_over_replicas as sum_over_replicas
from tfp_spn.learning.initialization import initialize_leaves as initialize_leaves
from tfp_spn.learning.log_likelihood import LogLikelihood as LogLikelihood
from tfp_spn.learning.losses import NegativeLogJoint as NegativeLogJoint
from tfp_spn.learning.losses import NegativeLogLikelihood as NegativeLogLikelihood
from tfp_spn.learning.maximization import maximize as maximize
from tfp_spn.learning.method import Method as Method
from tfp_spn.learning.minibatch_expectation_maximization import (
    MinibatchExpectationMaximization as MinibatchExpectationMaximization,
)
from tfp_spn.learning.momentum import Momentum as Momentum
from tfp_spn.learning.online_expectation_maximization import (
    OnlineExpectationMaximization as OnlineExpectationMaximization,
)
from tfp_spn.learning.online_expectation_maximization import online_step as online_step
from tfp_spn.learning.perturbations import DataSoftening as DataSoftening
from tfp_spn.learning.perturbations import InputDropout as InputDropout
from tfp_spn.learning.perturbations import Perturbation as Perturbation
from tfp_spn.learning.perturbations import SumDropout as SumDropout
from tfp_spn.learning.pruning import Pruning as Pruning
from tfp_spn.learning.pruning import prune as prune
from tfp_spn.learning.sharpness_aware_expectation_maximization import (
    SharpnessAwareExpectationMaximization as SharpnessAwareExpectationMaximization,
)
from tfp_spn.learning.sum_regularization import ExpectedCounts as ExpectedCounts
from tfp_spn.learning.sum_regularization import (
    MarginalPseudocount as MarginalPseudocount,
)
from tfp_spn.learning.sum_regularization import SumEntropy as SumEntropy

__all__ = [
    "AnnealedExpectationMaximization",
    "DataSoftening",
    "InputDropout",
    "Perturbation",
    "SumDropout",
    "ExpectedCounts",
    "MarginalPseudocount",
    "SumEntropy",
    "Pruning",
    "grow",
    "prune",
    "AcceleratedExpectationMaximization",
    "AnemoneExpectationMaximization",
    "AveragedParameters",
    "Momentum",
    "Method",
    "SharpnessAwareExpectationMaximization",
    "Adjustment",
    "Batch",
    "Batches",
    "Data",
    "ExpectationMaximization",
    "GradientAscent",
    "History",
    "HybridGenerativeDiscriminative",
    "LogLikelihood",
    "MinibatchExpectationMaximization",
    "NegativeLogJoint",
    "NegativeLogLikelihood",
    "OnlineExpectationMaximization",
    "add_expectations",
    "distill",
    "expected_statistics",
    "fit",
    "initialize_leaves",
    "maximize",
    "online_step",
    "sum_over_replicas",
]
