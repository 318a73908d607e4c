"""Layers over images: ``[batch, height, width, channels]`` of log-values."""
