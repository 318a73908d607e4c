"""Layers over regions: ``[batch, scopes, decomps, nodes]`` of log-values."""
