"""One of a batch of univariate distributions."""

from __future__ import annotations

import operator
from typing import Any

from tensorflow_probability import distributions as tfd


class OfVariable:
    """Mixin of distributions whose last batch axis is that of variables."""

    def of_variable(self, number: int) -> tfd.Distribution:
        """The distribution of one variable.

        Args:
            number: Its place on the last batch axis.
        """
        spread: Any = self
        count = spread.batch_shape[-1]
        if isinstance(number, bool) or number not in range(count):
            raise ValueError(
                f"{type(self).__name__}: received variable {number}, expected one from "
                f"0 to {count - 1}. Count the variables of the distribution that was "
                "asked."
            )
        return self._one(operator.index(number))

    def _one(self, number: int) -> tfd.Distribution:
        spread: Any = self
        return spread[..., number]
