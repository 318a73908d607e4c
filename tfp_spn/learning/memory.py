"""Whether a batch can be learned from in the memory of this machine."""

from __future__ import annotations

from tfp_spn._machine import memory_of_machine
from tfp_spn.programs.program import Program

_GIB = 2**30


def check_memory(program: Program, batch_size: int) -> None:
    """Refuses batches whose units alone need more memory than there is.

    A gradient keeps the units of all regions for every example of a batch. (Evaluation
    does not: it takes large batches in blocks.)

    Raises:
        ValueError: The batch does not fit.
    """
    available = memory_of_machine()
    of_example = program.dtype.size * program.num_units  # others are made again
    needed = of_example * batch_size
    if available is not None and needed > available:
        raise ValueError(
            f"fit: a batch does not fit into memory, received {batch_size} examples, "
            f"whose units need {of_example / 2**20:.3g} MiB each and "
            f"{needed / _GIB:.3g} GiB in all; expected less than the "
            f"{available / _GIB:.3g} GiB of this machine. Pass a batch_size of at most "
            f"{max(1, available // (2 * of_example))}."
        )
