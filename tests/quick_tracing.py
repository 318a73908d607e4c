"""Settings of TensorFlow under which functions are ready sooner and run slower."""

from __future__ import annotations

import os

IS_OPTIMIZED = "TFP_SPN_OPTIMIZE" in os.environ
"""Whether tests are to compile as users do."""

_GRAPPLER = (
    "arithmetic_optimization",
    "constant_folding",
    "dependency_optimization",
    "implementation_selector",
    "layout_optimizer",
    "loop_optimization",
    "remapping",
    "shape_optimization",
)


def trace_quickly() -> None:
    """XLA does not optimise, Grappler little, and no operation knows who made it.

    (Without any of Grappler TensorFlow 2.21 crashes in some functions.) Nothing that
    computes has run yet.
    """
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    import tensorflow as tf  # after the environment is set
    from tensorflow.python.util import tf_stack

    tf.config.optimizer.set_experimental_options(dict.fromkeys(_GRAPPLER, False))
    # Reading the stack, deep in pytest, is a seventh of what tracing takes.
    stack = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: stack
