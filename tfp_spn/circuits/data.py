"""Examples with what users say of them, whatever form it comes in."""

from __future__ import annotations

from typing import NamedTuple

from tfp_spn._typing import TensorLike


class Data(NamedTuple):
    """Examples, as arrays with examples first, or tensors.

    Attributes:
        x: ``[N, V]``, ``[N, V, D]`` or ``[N, height, width, D]``.
        observed: bool ``[N, V]`` (``[N, height, width]`` of images) or `None`.
        labels: int ``[N]`` or `None`.
        sample_weight: ``[N]`` or `None`.
    """

    x: TensorLike
    observed: TensorLike = None
    labels: TensorLike = None
    sample_weight: TensorLike = None


def values_and_mask(inputs: TensorLike) -> tuple[TensorLike, TensorLike]:
    """Splits what a model is called with: ``x``, ``(x, observed)`` or a dict of both.

    Args:
        inputs: One of these. Anything else, such as a dataset, counts as values.

    Returns:
        The values and their mask, `None` if there is none.
    """
    if isinstance(inputs, dict) and "x" in inputs:
        return inputs["x"], inputs.get("observed")
    if isinstance(inputs, list | tuple) and len(inputs) == 2:
        return inputs[0], inputs[1]
    return inputs, None
