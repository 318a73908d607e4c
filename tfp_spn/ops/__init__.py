"""The kernel: stateless functions of tensors, in log space."""
