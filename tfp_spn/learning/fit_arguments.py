"""Checks of the arguments of `tfp_spn.learning.fit`, data aside."""

from __future__ import annotations

import numbers
from typing import Any

import tensorflow as tf

from tfp_spn.learning.method import Method
from tfp_spn.learning.named_methods import method_of
from tfp_spn.learning.step_sizes import STEP_SIZES

_COUNTS = {
    "epochs": 0,
    "num_updates": 0,
    "batch_size": 1,
    "steps_per_epoch": 1,
}
"""Arguments that are counts, and the least value of each."""


def check_arguments(arguments: dict[str, Any]) -> None:
    """Checks the arguments of a call by name.

    Raises:
      TypeError: An argument is of a wrong type.
      ValueError: A value is wrong, or arguments do not fit together.
    """
    method = method_of(arguments["method"])
    for name, least in _COUNTS.items():
        if arguments[name] is not None:
            _check_integer(name, arguments[name], least)
    if arguments["epochs"] is not None and arguments["num_updates"] is not None:
        raise ValueError(
            f"fit: the length comes twice, received epochs={arguments['epochs']} and "
            f"num_updates={arguments['num_updates']}, expected one of them. Leave out "
            "the other."
        )
    _check_integer("seed", arguments["seed"], least=0)
    _check_number("pseudocount", arguments["pseudocount"])
    if arguments["tolerance"] is not None:
        _check_number("tolerance", arguments["tolerance"])
    split = arguments["validation_split"]
    if not isinstance(split, numbers.Real) or not 0 <= float(split) < 1:
        raise ValueError(
            f"fit: validation_split is no part, received validation_split={split!r}, "
            "expected a number from 0 to below 1, such as 0.1. Correct the argument."
        )
    if split and arguments["validation_data"] is not None:
        raise ValueError(
            f"fit: validation data come twice, received validation_split={split!r} and "
            "validation_data, expected one of them. Leave out the other."
        )
    if arguments["patience"] is not None:
        _check_integer("patience", arguments["patience"], least=1)
        if arguments["validation_data"] is None and not split:
            raise ValueError(
                "fit: patience without validation data, received "
                f"patience={arguments['patience']}, expected validation_data too. Pass "
                "validation_data=x_valid, or stop by tolerance."
            )
    _check_step_size(arguments["method"], method, arguments["step_size"])
    if arguments["optimizer"] is not None and not method.is_gradient:
        raise ValueError(
            "fit: an optimizer has no meaning for EM, received method="
            f"{arguments['method']!r} and "
            f"optimizer={arguments['optimizer']!r}, expected method='gradient'. Use "
            "that, or step_size."
        )
    _check_source(arguments)


def _check_step_size(name: Any, method: Method, step_size: Any) -> None:
    if step_size is None:
        return
    if method.is_gradient:
        raise ValueError(
            "fit: the optimizer has the step size of gradient ascent, received "
            f"step_size={step_size!r}, expected none. Pass optimizer=keras.optimizers."
            "Adam(learning_rate=...)."
        )
    if method.step_sizes == "none":
        raise ValueError(
            f"fit: the method has a step size of its own, received step_size="
            f"{step_size!r} with method={name!r}, expected none. Give it to the method."
        )
    if method.step_sizes == "any":
        if callable(step_size) or step_size in STEP_SIZES:
            return
        if isinstance(step_size, str):
            raise ValueError(
                f"fit: unknown step size, received step_size={step_size!r}, expected "
                f"a number, a function of the number of steps, or any of "
                f"{', '.join(map(repr, STEP_SIZES))}. Choose one of these."
            )
    if callable(step_size):
        raise ValueError(  # noqa: TRY004
            "fit: a step per epoch has one size, received a function "
            f"step_size={step_size!r} with method={name!r}, expected a number above "
            "0 and at most 1. Pass a number, or use method='online_em', where it may "
            "be a function of the number of steps."
        )
    if not isinstance(step_size, numbers.Real) or not 0 < float(step_size) <= 1:
        raise ValueError(
            f"fit: step_size is no part of a step, received step_size={step_size!r}, "
            "expected a number above 0 and at most 1 (or, for 'online_em', a function "
            "of the number of steps). Choose one in this range."
        )


def _check_source(arguments: dict[str, Any]) -> None:
    for name in ("x", "validation_data"):
        if isinstance(arguments[name], tf.distribute.DistributedDataset):
            raise TypeError(
                f"fit: {name} is distributed already, received a DistributedDataset, "
                "expected a tf.data.Dataset of batches for all replicas together. Pass "
                "the dataset itself: fit shares its batches out."
            )
    if not isinstance(arguments["x"], tf.data.Dataset):
        if arguments["steps_per_epoch"] is not None:
            raise ValueError(
                "fit: steps_per_epoch is for datasets, received steps_per_epoch="
                f"{arguments['steps_per_epoch']} with arrays, expected None: each "
                "epoch sees all of them. Leave it out, or pass a tf.data.Dataset."
            )
        return
    steps = arguments["steps_per_epoch"]
    is_counted = arguments["num_updates"] is not None
    if steps and is_counted and not method_of(arguments["method"]).is_full_batch:
        raise ValueError(
            f"fit: a fit in updates has no epochs, received steps_per_epoch={steps} "
            f"with num_updates={arguments['num_updates']}, expected one of them. Leave "
            "out steps_per_epoch."
        )
    extras = [
        name
        for name in (
            "observed",
            "lengths",
            "labels",
            "sample_weight",
            "initialize",
            "validation_split",
        )
        if arguments[name] is not None
        and arguments[name] is not False
        and not (name == "validation_split" and arguments[name] == 0)
    ]
    if extras:
        raise ValueError(
            f"fit: a dataset carries its own parts, received {', '.join(extras)} "
            "beside it, expected none. Let its elements be dicts with the keys x, "
            "observed, labels and sample_weight; call initialize_leaves on an array "
            "before."
        )


def _check_integer(name: str, value: Any, least: int) -> None:
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"fit: {name} is not a count, received {name}={value!r}, expected an "
            f"integer of at least {least}. Correct the argument."
        )


def _check_number(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < float("inf"):
        raise ValueError(
            f"fit: {name} must not be negative, received {name}={value!r}, expected a "
            "finite number of at least 0. Correct the argument."
        )
