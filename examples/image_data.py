"""Images for the examples: what comes with scikit-learn, a file, or Keras' data sets.

``digits`` and ``photographs`` come with scikit-learn and are always there. Other names,
such as ``mnist`` or ``fashion_mnist``, are looked for as ``NAME.npz`` in the folder (or
its folder ``images``) that the environment variable ``TFP_SPN_DATA`` names, and else
asked of `keras.datasets`, which downloads them once. A path ends in ``.npz`` and holds
``train_x, train_y, test_x, test_y`` (or ``x_train`` and so on, as Keras' files do).
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PARTS = ("train_x", "train_y", "test_x", "test_y")


class ImageData(NamedTuple):
    """Images as rows of pixels, and their classes.

    Attributes:
        name: Of the data set.
        shape: Height and width.
        num_values: Pixels are integers from 0 to one less.
        train: Images ``[N, height * width]`` and labels ``[N]``.
        validation: Likewise.
        test: Likewise.
    """

    name: str
    shape: tuple[int, int]
    num_values: int
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def num_pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def num_classes(self) -> int:
        return int(self.train[1].max()) + 1


def load_images(name: str, num_train: int | None = None) -> ImageData:
    """The data set of a name or a file; a fifth of the training images validate.

    Args:
        name: See the module.
        num_train: So many of the training images only, validation included.
    """
    x, y, x_test, y_test = load_arrays(name)
    num_values = 17 if name == "digits" else 256
    order = np.random.default_rng(13).permutation(len(x))[:num_train]
    num_validation = len(order) // 5
    parts = (order[num_validation:], order[:num_validation])
    train, validation = ((_rows(x[rows]), _labels(y[rows])) for rows in parts)
    test = _rows(x_test), _labels(y_test)
    stem = Path(name).stem
    return ImageData(stem, x.shape[1:3], num_values, train, validation, test)


def load_arrays(name: str) -> tuple[np.ndarray, ...]:
    """Images ``[N, height, width]`` and labels, of training and test."""
    if name == "digits":
        return _digits()
    found = find_arrays(name)
    missing = [part for part in PARTS if part not in found]
    if missing:
        raise SystemExit(
            f"images: {name} lacks arrays, received {sorted(found)}, expected "
            f"{', '.join(PARTS)}. Save them with np.savez_compressed."
        )
    return tuple(found[part] for part in PARTS)


def load_strangers(name: str, shape: tuple[int, int], num_values: int) -> np.ndarray:
    """Images of another kind, ``[N, height * width]``, in as many grey values."""
    if name == "photographs":
        return _photographs(shape, num_values)
    x = find_arrays(name)["test_x"]
    if x.shape[1:3] != tuple(shape):
        raise SystemExit(
            f"images: {name} has images of another size, received {x.shape[1:3]}, "
            f"expected {tuple(shape)}. Choose other images with --strangers."
        )
    return _rows(x)


def find_arrays(name: str) -> dict[str, Any]:
    """The arrays of a file, of ``TFP_SPN_DATA`` or of Keras, by name."""
    folder = os.environ.get("TFP_SPN_DATA", "")
    names = [name] if name.endswith(".npz") else [f"{name}.npz", f"{name}_test.npz"]
    places = [Path(folder, sub, file) for file in names for sub in ("images", "")]
    if name.endswith(".npz"):
        places = [Path(name)]
    for path in places:
        if path.is_file():
            with np.load(path) as file:
                return {_own_name(part): file[part] for part in file.files}
    if name.endswith(".npz"):
        raise SystemExit(f"images: there is no file {name}. Correct the path.")
    try:
        keras_data = importlib.import_module(f"keras.datasets.{name}")
    except ImportError:
        raise SystemExit(
            f"images: no data set is called {name!r}; expected digits, a name of "
            "keras.datasets such as mnist, or the path of an .npz file."
        ) from None
    try:
        (x, y), (x_test, y_test) = keras_data.load_data()
    except Exception as error:  # of any kind, by what is wrong with the network
        raise SystemExit(
            f"images: {name} is not here, and Keras could not download it ({error}). "
            f"Set TFP_SPN_DATA to a folder with {name}.npz, pass the path of such a "
            "file as --data, or leave out --data for the digits of scikit-learn."
        ) from error
    return dict(zip(PARTS, (x, y, x_test, y_test), strict=True))


def _own_name(name: str) -> str:
    """``x_train``, as in Keras' files, is ``train_x`` here."""
    first, _, last = name.partition("_")
    return f"{last}_{first}" if first in ("x", "y") and last else name


def _digits() -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.images[order], digits.target[order]
    return x[:1397], y[:1397], x[1397:], y[1397:]


def _photographs(shape: tuple[int, int], num_values: int) -> np.ndarray:
    """Pieces of scikit-learn's two photographs, in grey."""
    from sklearn.datasets import load_sample_images

    pieces = []
    for photograph in load_sample_images().images:
        grey = np.asarray(photograph, float).mean(-1) / 256 * num_values
        height, width = shape
        rows, columns = grey.shape[0] // height, grey.shape[1] // width
        grid = grey[: rows * height, : columns * width]
        grid = grid.reshape(rows, height, columns, width).swapaxes(1, 2)
        pieces.append(grid.reshape(-1, height * width))
    pieces = np.concatenate(pieces).astype("int32")
    return np.random.default_rng(0).permutation(pieces)[:1000]


def _rows(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).reshape(len(x), -1).astype("int32")


def _labels(y: np.ndarray) -> np.ndarray:
    return np.asarray(y).reshape(-1).astype("int32")
