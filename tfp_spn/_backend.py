"""What comes before all else: Keras runs on TensorFlow, which takes us as written."""

from __future__ import annotations

import os

_MESSAGE = (
    "tfp_spn needs Keras on its TensorFlow backend, because TensorFlow Probability "
    "cannot trace through any other. Received backend {received!r}, expected "
    "'tensorflow'. Set the environment variable KERAS_BACKEND=tensorflow (or "
    '"backend": "tensorflow" in ~/.keras/keras.json) before keras is first imported.'
)


def require_tensorflow_backend() -> None:
    """Check that Keras runs on TensorFlow.

    Raises:
      ImportError: Keras is configured for another backend.
    """
    try:
        import keras
    except ModuleNotFoundError as error:
        # Keras fails on its own when the configured backend is not installed.
        configured = os.environ.get("KERAS_BACKEND", "tensorflow")
        if configured == "tensorflow" or error.name == "keras":
            raise
        raise ImportError(_MESSAGE.format(received=configured)) from error
    received = keras.backend.backend()
    if received != "tensorflow":
        raise ImportError(_MESSAGE.format(received=received))


def leave_code_as_written() -> None:
    """Tells AutoGraph that no code of this package branches on tensors.

    Otherwise a user's `tf.function` has all that it reaches parsed and rewritten, which
    takes seconds.
    """
    from tensorflow.python.autograph.core import config

    rule = config.DoNotConvert(__package__)
    config.CONVERSION_RULES = (rule, *config.CONVERSION_RULES)
