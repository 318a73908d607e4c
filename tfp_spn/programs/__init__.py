"""Compiled circuits: structure as index tables, and every query as pure functions."""
