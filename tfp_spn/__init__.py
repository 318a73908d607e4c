"""Sum-product networks (probabilistic circuits) as TFP distributions on Keras 3.

A sum-product network is a deep mixture model whose log-likelihood, marginals,
conditionals, moments and exact conditional samples each cost one or two passes over the
network. The package keeps three things apart:

- structure: `region_graphs` says how variables are split, in plain Python and NumPy;
- parameters: `layers` own variables, `circuits` stack them to Keras models;
- views: `distributions` shows a circuit as a `tfd.Distribution`.

`learning` fits circuits by gradient or expectation-maximisation.
"""

from __future__ import annotations

from importlib import metadata

from tfp_spn import _backend

_backend.require_tensorflow_backend()

try:
    __version__ = metadata.version("tfp_spn")
except metadata.PackageNotFoundError:  # imported from a source tree, not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
