"""Images as arrays, from what circuits give and take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Shape = Sequence[int]


def as_images(
    values: object,
    shape: Shape | None,
    name: str,
    leading: tuple[int | None, ...] = (None,),
) -> np.ndarray:
    """Values as ``[*leading, height, width]``.

    Args:
        values: ``[*leading, height, width]``, or ``[*leading, height * width]`` if
            `shape` is given; an array or tensor.
        shape: Height and width of an image whose pixels are the last axis, row by row.
        name: Name of the argument, for messages.
        leading: Sizes that the leading axes must have, `None` for any.

    Returns:
        A NumPy array.

    Raises:
        ValueError: If the shape is another one.
    """
    images = np.asarray(values)
    received = images.shape
    expected = [*("any" if size is None else str(size) for size in leading)]
    if shape is None:
        expected += ["height", "width"]
        remedy = "Pass shape=(height, width) if each image is a row of pixels."
        fits = images.ndim == len(leading) + 2
    else:
        height, width = check_shape(shape)
        expected += [str(height * width)]
        remedy = "Check `shape`, or leave it out if the images are two-dimensional."
        if received[-2:] == (height, width) and images.ndim == len(leading) + 2:
            images = images.reshape(*received[:-2], height * width)
        fits = images.ndim == len(leading) + 1 and images.shape[-1] == height * width
    fits = fits and all(
        wanted is None or size == wanted
        for size, wanted in zip(images.shape, leading, strict=False)
    )
    if not fits:
        raise ValueError(
            f"`{name}` does not hold images. Received shape {received}; expected "
            f"({', '.join(expected)}). {remedy}"
        )
    return (
        images if shape is None else images.reshape(*images.shape[:-1], height, width)
    )


def as_mask(observed: object, images: np.ndarray, shape: Shape | None) -> np.ndarray:
    """A mask for each image, from one for each or one for all.

    Raises:
        TypeError: If it is not bool.
        ValueError: If it is of another shape.
    """
    observed = np.asarray(observed)
    if observed.dtype != bool:
        raise TypeError(
            f"`observed` must be bool, True where a pixel is visible. Received dtype "
            f"{observed.dtype}. Compare it first, for example observed > 0."
        )
    image_ndims = 2 if shape is None else 1
    if observed.ndim == image_ndims:
        observed = np.broadcast_to(observed, (len(images), *observed.shape))
    observed = as_images(observed, shape, "observed", (len(images),))
    if observed.shape != images.shape:
        raise ValueError(
            f"`observed` does not fit `images`. Received images of shape "
            f"{observed.shape[1:]}; expected {images.shape[1:]}. Pass a flag for "
            "each pixel."
        )
    return observed


def check_shape(shape: Shape) -> tuple[int, int]:
    """Height and width as integers.

    Raises:
        ValueError: If `shape` is not two positive integers.
    """
    sizes = tuple(shape)
    if len(sizes) != 2 or any(int(size) != size or size < 1 for size in sizes):
        raise ValueError(
            f"`shape` is not the shape of an image. Received {shape!r}; expected two "
            "positive integers, the height and the width. Pass for example (28, 28)."
        )
    return int(sizes[0]), int(sizes[1])


def value_range(
    images: np.ndarray, limits: tuple[float, float] | None
) -> tuple[float, float]:
    """The values drawn in the first and the last colour: `limits`, or the extremes."""
    if limits is not None:
        return float(limits[0]), float(limits[1])
    finite = images[np.isfinite(images)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
