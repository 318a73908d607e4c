"""When XLA saves more time in a fit than its compilation takes.

XLA makes a step about a third faster and takes a second or two longer to compile, for
each step of the circuit. Both are known beforehand up to a factor of three, from sizes
alone, so that the choice is the same each time: graphs and XLA round differently.
"""

from __future__ import annotations

from tfp_spn.programs.program import Program

_SECONDS_PER_STEP = 1.5
"""What XLA takes to compile one step of a circuit, beyond tracing it."""

_SECONDS_PER_UNIT = 5e-9
"""What it saves for a unit and an example. Both measured on two CPU cores."""

_MAX_EPOCHS = 10
"""More may be asked for than are needed."""


def is_worth_compiling(program: Program, num_examples: int, epochs: int) -> bool:
    """Whether a fit is long enough for XLA to pay off.

    Args:
        program: The circuit. Sequences are loops, which XLA makes no faster.
        num_examples: Examples of an epoch.
        epochs: Epochs asked for.
    """
    if program.chain_specs:
        return False
    num_passes = num_examples * min(epochs, _MAX_EPOCHS)
    saved = num_passes * program.num_units * _SECONDS_PER_UNIT
    return saved > _SECONDS_PER_STEP * len(program.step.steps)
