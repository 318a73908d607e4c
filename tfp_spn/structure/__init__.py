"""Structures learned from data: whole circuits with their parameters."""

from tfp_spn.structure.chow_liu_trees import chow_liu_trees as chow_liu_trees
from tfp_spn.structure.columns import Columns as Columns
from tfp_spn.structure.continuous_mixture import ContinuousMixture as ContinuousMixture
from tfp_spn.structure.continuous_mixture import (
    continuous_mixture as continuous_mixture,
)
from tfp_spn.structure.cutset_network import cutset_network as cutset_network
from tfp_spn.structure.distinct_rows import distinct_rows as distinct_rows
from tfp_spn.structure.learn import Report as Report
from tfp_spn.structure.learn import Trial as Trial
from tfp_spn.structure.learn import learn as learn
from tfp_spn.structure.learn_spn import learn_spn as learn_spn
from tfp_spn.structure.random_partition_circuit import (
    random_partition_circuit as random_partition_circuit,
)
from tfp_spn.structure.validation_rows import split_table as split_table

__all__ = [
    "Columns",
    "ContinuousMixture",
    "Report",
    "Trial",
    "chow_liu_trees",
    "continuous_mixture",
    "cutset_network",
    "distinct_rows",
    "learn",
    "learn_spn",
    "random_partition_circuit",
    "split_table",
]
