"""Programs of sequences: a circuit over one step, joined in time by a chain."""
