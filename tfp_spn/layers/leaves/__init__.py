"""Leaf layers: one univariate family each."""
