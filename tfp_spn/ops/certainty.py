"""How a pass makes sure that no digit is lost.

Fast passes say whether digits may have been lost to underflow, which is rare. What is
done about it depends on who owns the call:

- inside a user's graph the exact pass, a function of its own, stands in a conditional
  after the fast one (`CHECKED`),
- where the library calls a compiled function itself, that function reports a flag
  (`reporting`), and only if it is set another one is traced that is `EXACT`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tensorflow as tf

from tfp_spn._typing import Tensor

Nest = TypeVar("Nest")


@dataclass(frozen=True, eq=False)
class Certainty:
    """How a pass treats digits that may have been lost.

    Attributes:
        is_exact: Whether passes are exact from the start.
        flags: Collects whether passes were lossy, scalar bools, in place of evaluating
            again; `None`: they evaluate again.
        is_large: Whether there may be too much for one pass, if flags are collected.
    """

    is_exact: bool = False
    flags: list[Tensor] | None = None
    is_large: bool = False

    def choose(self, is_lossy: Tensor, exact: Callable[[], Nest], fast: Nest) -> Nest:
        """The results of a fast pass, or of the exact one where that is needed."""
        if self.flags is not None:
            self.flags.append(is_lossy)
            return fast
        chosen = tf.cond(is_lossy, exact, lambda: fast)
        return tf.nest.map_structure(
            lambda value, like: tf.ensure_shape(value, like.shape), chosen, fast
        )

    def of_part(self) -> Certainty:
        """The same for a part that is computed in a loop, of which no flag comes out.

        What the part's `is_lossy` is, the loop hands out for `note`.
        """
        return self if self.flags is None else reporting()

    def note(self, is_lossy: Tensor) -> None:
        """Collects the flags of parts."""
        if self.flags is not None:
            self.flags.append(tf.reduce_any(is_lossy))

    @property
    def is_lossy(self) -> Tensor:
        """Whether any reporting pass was lossy."""
        flags = self.flags or [tf.constant(False)]
        return flags[0] if len(flags) == 1 else tf.reduce_any(tf.stack(flags))


CHECKED = Certainty()
"""Evaluates again, in a conditional."""

EXACT = Certainty(is_exact=True)
"""Never takes the fast pass."""


def reporting(is_large: bool = False) -> Certainty:
    """Takes the fast pass and collects whether it was lossy."""
    return Certainty(flags=[], is_large=is_large)
