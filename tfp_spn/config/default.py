"""A default value of the process that can be set for good or for a while."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Default(Generic[T]):
    """Holds a value; see `tfp_spn.config` for how it is used.

    Args:
        value: The first value.
    """

    def __init__(self, value: T) -> None:
        self.value = value

    def replace(self, value: T) -> Replacement[T]:
        """Sets the value, and returns what sets it back."""
        replacement = Replacement(self, self.value)
        self.value = value
        return replacement


class Replacement(Generic[T]):
    """A default that was set: as a context manager, until the end of the block.

    Args:
        default: The default.
        previous: What it was before.
    """

    def __init__(self, default: Default[T], previous: T) -> None:
        self._default = default
        self._previous = previous

    def __enter__(self) -> T:
        return self._default.value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._default.value = self._previous
