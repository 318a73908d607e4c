"""Checks of what users write themselves, for their own tests."""

from tfp_spn.testing.leaf_contract import check_leaf

__all__ = ["check_leaf"]
