"""Sum-product networks (probabilistic circuits) as TFP distributions on Keras 3.

A sum-product network is a deep mixture model whose log-likelihood, marginals,
conditionals, moments and exact conditional samples each cost one or two passes over the
network. The package keeps three things apart:

- structure: `region_graphs` says how variables are split, in plain Python and NumPy;
- parameters: `layers` own variables, `circuits` stack them to Keras models;
- views: `distributions` shows a circuit as a `tfd.Distribution`.

`learning` fits circuits by gradient or expectation-maximisation, `structure` learns
whole circuits from data. What most programs use stands at the top:

- `from_region_graph`, `from_layers` and `dynamic_from_circuit` build circuits;
- `SumProductNetwork` and `DynamicSumProductNetwork` are the distributions;
- `fit` learns them, `learn` goes from a table to a distribution;
- `from_nan` turns NaN into a mask; `export_saved_model` exports.

Names of LibSPN-Keras
---------------------

These keep the programs of the predecessor running, and are all they need beside
`layers`, `models`, `initializers`, `constraints`, `losses`, `metrics`, `optimizers`,
`region` and `visualize`:

- sums: `SumOpGradBackprop`, `SumOpEMBackprop`, `SumOpHardEMBackprop`,
  `SumOpUnweightedHardEMBackprop`, `SumOpSampleBackprop`, `set_default_sum_op`,
  `get_default_sum_op`;
- accumulators: `set_default_accumulator_initializer`,
  `get_default_accumulator_initializer`, `set_default_linear_accumulators_constraint`,
  `get_default_linear_accumulators_constraint`,
  `set_default_logspace_accumulators_constraint`,
  `get_default_logspace_accumulators_constraint`, `logspace_wrapper_initializer`;
- regions: `RegionNode`, `RegionVariable`, `region_graph_to_dense_spn`,
  `visualize_dense_spn`;
- trained models: `from_libspn_keras_weights`.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tfp_spn import _backend

_backend.require_tensorflow_backend()
_backend.leave_code_as_written()

from tfp_spn import circuits as circuits  # noqa: E402 - after the check of the backend
from tfp_spn import config as config  # noqa: E402
from tfp_spn import constraints as constraints  # noqa: E402
from tfp_spn import distributions as distributions  # noqa: E402
from tfp_spn import initializers as initializers  # noqa: E402
from tfp_spn import layers as layers  # noqa: E402
from tfp_spn import learning as learning  # noqa: E402
from tfp_spn import losses as losses  # noqa: E402
from tfp_spn import metrics as metrics  # noqa: E402
from tfp_spn import models as models  # noqa: E402
from tfp_spn import optimizers as optimizers  # noqa: E402
from tfp_spn import region as region  # noqa: E402
from tfp_spn import region_graphs as region_graphs  # noqa: E402
from tfp_spn import structure as structure  # noqa: E402
from tfp_spn import testing as testing  # noqa: E402
from tfp_spn._arrays import from_nan as from_nan  # noqa: E402
from tfp_spn.circuits import dynamic_from_circuit as dynamic_from_circuit  # noqa: E402
from tfp_spn.circuits import from_layers as from_layers  # noqa: E402
from tfp_spn.circuits import from_region_graph as from_region_graph  # noqa: E402
from tfp_spn.config import (  # noqa: E402
    get_default_accumulator_initializer as get_default_accumulator_initializer,
)
from tfp_spn.config import (  # noqa: E402
    get_default_linear_accumulators_constraint as get_default_linear_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config import (  # noqa: E402
    get_default_logspace_accumulators_constraint as get_default_logspace_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config import get_default_sum_op as get_default_sum_op  # noqa: E402
from tfp_spn.config import (  # noqa: E402
    set_default_accumulator_initializer as set_default_accumulator_initializer,
)
from tfp_spn.config import (  # noqa: E402
    set_default_linear_accumulators_constraint as set_default_linear_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config import (  # noqa: E402
    set_default_logspace_accumulators_constraint as set_default_logspace_accumulators_constraint,  # noqa: E501
)
from tfp_spn.config import set_default_sum_op as set_default_sum_op  # noqa: E402
from tfp_spn.distributions import (  # noqa: E402
    DynamicSumProductNetwork as DynamicSumProductNetwork,
)
from tfp_spn.distributions import SumProductNetwork as SumProductNetwork  # noqa: E402
from tfp_spn.initializers import (  # noqa: E402
    Logspace as logspace_wrapper_initializer,  # noqa: N813 - LibSPN-Keras' name
)
from tfp_spn.learning import fit as fit  # noqa: E402
from tfp_spn.models import (  # noqa: E402
    from_libspn_keras_weights as from_libspn_keras_weights,
)
from tfp_spn.models import (  # noqa: E402
    region_graph_to_dense_spn as region_graph_to_dense_spn,
)
from tfp_spn.region_graphs import RegionNode as RegionNode  # noqa: E402
from tfp_spn.region_graphs import RegionVariable as RegionVariable  # noqa: E402
from tfp_spn.saved_model import export_saved_model as export_saved_model  # noqa: E402
from tfp_spn.structure import learn as learn  # noqa: E402
from tfp_spn.sum_ops import SumOpEMBackprop as SumOpEMBackprop  # noqa: E402
from tfp_spn.sum_ops import SumOpGradBackprop as SumOpGradBackprop  # noqa: E402
from tfp_spn.sum_ops import SumOpHardEMBackprop as SumOpHardEMBackprop  # noqa: E402
from tfp_spn.sum_ops import SumOpSampleBackprop as SumOpSampleBackprop  # noqa: E402
from tfp_spn.sum_ops import (  # noqa: E402
    SumOpUnweightedHardEMBackprop as SumOpUnweightedHardEMBackprop,
)

if TYPE_CHECKING:  # loaded by `__getattr__`
    from tfp_spn import visualization as visualization
    from tfp_spn import visualize as visualize
    from tfp_spn.visualize import visualize_dense_spn as visualize_dense_spn

try:
    __version__ = metadata.version("tfp_spn")
except metadata.PackageNotFoundError:  # imported from a source tree, not installed
    __version__ = "0+unknown"

__all__ = [
    "DynamicSumProductNetwork",
    "RegionNode",
    "RegionVariable",
    "SumOpEMBackprop",
    "SumOpGradBackprop",
    "SumOpHardEMBackprop",
    "SumOpSampleBackprop",
    "SumOpUnweightedHardEMBackprop",
    "SumProductNetwork",
    "__version__",
    "circuits",
    "config",
    "constraints",
    "distributions",
    "dynamic_from_circuit",
    "export_saved_model",
    "fit",
    "from_layers",
    "from_libspn_keras_weights",
    "from_nan",
    "from_region_graph",
    "get_default_accumulator_initializer",
    "get_default_linear_accumulators_constraint",
    "get_default_logspace_accumulators_constraint",
    "get_default_sum_op",
    "initializers",
    "layers",
    "learn",
    "learning",
    "logspace_wrapper_initializer",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "region",
    "region_graph_to_dense_spn",
    "region_graphs",
    "set_default_accumulator_initializer",
    "set_default_linear_accumulators_constraint",
    "set_default_logspace_accumulators_constraint",
    "set_default_sum_op",
    "structure",
    "testing",
    "visualization",
    "visualize",
    "visualize_dense_spn",
]


def __getattr__(name: str) -> Any:
    if name in ("visualization", "visualize"):  # on first use: optional packages
        return importlib.import_module(f"tfp_spn.{name}")
    if name == "visualize_dense_spn":
        return importlib.import_module("tfp_spn.visualize").visualize_dense_spn
    raise AttributeError(f"module 'tfp_spn' has no attribute {name!r}")
