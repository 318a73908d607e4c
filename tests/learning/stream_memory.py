"""A program of its own: how much memory grows while a long stream is read.

    python stream_memory.py METHOD NUM_BATCHES

Prints the growth of the resident set in bytes, after a first part of the stream, and
the bytes of examples that were read meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from resource import getpagesize
from typing import Any

import tensorflow as tf

from tests.learning.learning_cases import circuit_of
from tfp_spn.learning import (
    Batch,
    Batches,
    ExpectationMaximization,
    GradientAscent,
    LogLikelihood,
    MinibatchExpectationMaximization,
)

NUM_EXAMPLES = 2048
WARM_UP = 40


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * getpagesize()


def stream(num_batches: int) -> Any:
    def examples(number: Any) -> Any:
        seed = tf.stack([number, tf.constant(0, tf.int64)])
        return tf.random.stateless_normal([NUM_EXAMPLES, 4], seed)

    return tf.data.Dataset.range(num_batches).map(examples)


def main(method: str, num_batches: int) -> None:
    circuit = circuit_of("normal")
    trainer = {
        "em": lambda: ExpectationMaximization(circuit).epoch,
        "online_em": lambda: MinibatchExpectationMaximization(circuit).epoch,
        "gradient": lambda: GradientAscent(circuit).epoch,
        "evaluation": lambda: LogLikelihood(circuit),
    }[method]()
    sizes = []

    def measured() -> Iterator[Batch]:
        batches = Batches(circuit.program, stream(WARM_UP + num_batches), 0)
        for number, batch in enumerate(batches()):
            if number >= WARM_UP:
                sizes.append(resident_bytes())
            yield batch

    trainer(measured())
    part = max(len(sizes) // 10, 1)
    growth = max(sizes[-part:]) - max(sizes[:part])
    print(growth, num_batches * NUM_EXAMPLES * 4 * 4)


main(sys.argv[1], int(sys.argv[2]))
