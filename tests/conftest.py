"""Process-wide settings, and guards that hold for every test."""

from __future__ import annotations

import gc
import logging
import os
import random
import weakref
import zlib
from collections import Counter

gc.disable()  # importing makes nothing that it would find

# Read when TensorFlow, matplotlib or a BLAS is first loaded, so set before any of them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
_IS_XDIST_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if _IS_XDIST_WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.quick_tracing import IS_OPTIMIZED, trace_quickly  # noqa: E402

# Tests compile far more than they run, unless TFP_SPN_OPTIMIZE is set: also, three
# tests in four compute queries operation by operation.
if not IS_OPTIMIZED:
    trace_quickly()

import hypothesis  # noqa: E402 - after the environment is set
import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

from tfp_spn.circuits import clear_traces  # noqa: E402
from tfp_spn.programs.traces import Traces  # noqa: E402

if _IS_XDIST_WORKER:  # one core per worker: threads of several would only compete
    tf.config.threading.set_intra_op_parallelism_threads(1)
keras.utils.set_random_seed(0)

# Derandomized: a failure on one machine is a failure on every machine. Search for new
# examples with `--hypothesis-profile=search`.
hypothesis.settings.register_profile(
    "fixed", deadline=None, derandomize=True, max_examples=12, print_blob=True
)
hypothesis.settings.register_profile(
    "search", deadline=None, max_examples=500, print_blob=True
)
hypothesis.settings.load_profile("fixed")


def pytest_collection_finish() -> None:
    """What has been imported stays: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _fixed_global_seed() -> None:
    """Python's and NumPy's global generators, and so Keras', start equal in each test.

    TensorFlow's does not: setting its seed would throw away all kernels, and every
    shared trace would be made ready anew.
    """
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what is meant


@pytest.fixture(autouse=True)
def _functions_are_compiled_again():
    """Whatever a test has changed."""
    yield
    tf.config.run_functions_eagerly(False)


_compiled_call = Traces.call
_OFTEN = 12
_num_calls: weakref.WeakKeyDictionary[Traces, Counter] = weakref.WeakKeyDictionary()


def _call_operation_by_operation(self, body, certainty, *arguments, **options):
    """`Traces.call` that compiles inside of functions, and what is called often.

    A dozen calls, operation by operation, take as long as one trace.
    """
    num_calls = _num_calls.setdefault(self, Counter())
    num_calls[body, certainty] += 1
    if tf.executing_eagerly() and num_calls[body, certainty] <= _OFTEN:
        options["is_compiled"] = False
    return _compiled_call(self, body, certainty, *arguments, **options)


def _is_compiled(item: pytest.Function) -> bool:
    """Whether a test is marked, or it is its turn.

    Of tests with parameters that of the first or the second variant and of every eighth
    from there, of others that of one in four, by name.
    """
    if IS_OPTIMIZED or item.get_closest_marker("compiled") is not None:
        return True
    turn = zlib.crc32(item.nodeid.partition("[")[0].encode())
    if hasattr(item, "callspec"):
        return sum(item.callspec.indices.values()) % 8 == turn % 2
    return turn % 4 == 0


@pytest.fixture(autouse=True)
def _queries_are_compiled_in_some_tests(request):
    """What a query computes is the same otherwise, in a third of the time.

    Of small circuits, that are asked a few times, nearly all of it is tracing.
    """
    is_compiled = _is_compiled(request.node)
    Traces.call = _compiled_call if is_compiled else _call_operation_by_operation
    _num_calls.clear()
    yield
    Traces.call = _compiled_call


@pytest.fixture(autouse=True, scope="module")
def _no_traces_of_other_modules():
    """What tests of a module share, those of the next one have no use for."""
    yield
    clear_traces()
    gc.collect()
    gc.freeze()  # what is left, modules keep
    tf.random.set_seed(0)  # TensorFlow forgets its kernels


class _AutoGraphWarnings(logging.Handler):
    """Collects what AutoGraph says through TensorFlow's logger."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "AutoGraph" in message:
            self.messages.append(message)


@pytest.fixture(autouse=True)
def _no_autograph_warning():
    """Fail a test during which AutoGraph could not convert some function.

    It then runs the function as it is, so a branch on a tensor is decided at tracing.
    """
    handler = _AutoGraphWarnings()
    logger = tf.get_logger()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    if handler.messages:
        pytest.fail("AutoGraph warned:\n" + "\n".join(handler.messages))
