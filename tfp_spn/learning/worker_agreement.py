"""Whether the processes of a strategy do the same, told by a few numbers of each.

Each worker reads the same batches and takes its share of them. If their data, their
arguments or their checkpoints differed, the sums over all workers would mean nothing;
so each tells what it is about to do, and all raise the same error if they disagree.
"""

from __future__ import annotations

import zlib

import numpy as np

from tfp_spn.learning.batches import Batch

_END, _BATCH, _FAILED = range(3)
_FACTS = ("x", "observed", "labels", "weights")


def digest(value: object) -> int:
    """A number that tells values apart: arrays, what else has a text, dicts of them."""
    if isinstance(value, dict):
        return digest(repr([(key, digest(value[key])) for key in sorted(value)]))
    if isinstance(value, np.ndarray):
        head = f"{value.shape} {value.dtype}".encode()
        return zlib.crc32(np.ascontiguousarray(value).data, zlib.crc32(head))
    return zlib.crc32(repr(value).encode())


def no_batch(failed: bool = False) -> list[int]:
    """Returns the message of a worker whose data have ended, or cannot be read."""
    return [_FAILED if failed else _END, 0, *[0] * len(_FACTS)]


def batch_facts(batch: Batch) -> list[int]:
    """Returns what a worker tells of its next batch: how many examples, and which."""
    parts = (getattr(batch, name) for name in _FACTS)
    digests = [0 if part is None else digest(part.numpy()) for part in parts]
    return [_BATCH, int(batch.x.shape[0]), *digests]


def check_turn(facts: np.ndarray, turn: int) -> None:
    """Checks what all workers said before they do a batch.

    Args:
        facts: ``[replicas, numbers]``, of `batch_facts` or `no_batch`.
        turn: Number of the batch, from 0.

    Raises:
        RuntimeError: A worker could not read its batch.
        ValueError: The batches are not the same.
    """
    states = facts[:, 0]
    if (states == _FAILED).any():
        raise RuntimeError(
            f"tfp_spn.learning: batch {turn} could not be read by replica "
            f"{np.flatnonzero(states == _FAILED)[0]}, expected the same batch in all "
            "workers. See the error in that worker, and start all again."
        )
    if (facts == facts[0]).all():
        return
    if (states == _END).any():
        received = f"none in replica {np.flatnonzero(states == _END)[0]}"
    elif (facts[:, 1] != facts[0, 1]).any():
        received = f"{facts[:, 1].tolist()} examples by replica"
    else:
        parts = np.flatnonzero((facts[:, 2:] != facts[0, 2:]).any(axis=0))
        received = f"different {', '.join(_FACTS[part] for part in parts)}"
    raise ValueError(
        f"tfp_spn.learning: workers have different data, received in batch {turn} "
        f"{received}, expected the same batches in the same order in all workers, "
        "which take their shares themselves. Do not shard the data; give shuffles of "
        "a dataset a seed."
    )


def check_settings(names: list[str], digests: np.ndarray) -> None:
    """Checks that all workers were called alike.

    Args:
        names: Names of what was digested.
        digests: ``[replicas, names]``.

    Raises:
        ValueError: They differ.
    """
    differs = (digests != digests[0]).any(axis=0)
    if differs.any():
        raise ValueError(
            "fit: workers were called differently, received different "
            f"{[name for name, d in zip(names, differs, strict=True) if d]}, expected "
            "the same in all workers. Pass all workers the same data and arguments, "
            "and a checkpoint that all of them can read."
        )
