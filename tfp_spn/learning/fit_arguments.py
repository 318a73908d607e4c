"""Checks of the arguments of `tfp_spn.learning.fit`, data aside."""

from __future__ import annotations

import os
import warnings
from typing import Any

import tensorflow as tf

from tfp_spn._arguments import a_rate, shown
from tfp_spn.learning.method import Method
from tfp_spn.learning.named_methods import method_of
from tfp_spn.learning.step_sizes import STEP_SIZES


def check_arguments(arguments: dict[str, Any]) -> None:
    """Checks the arguments of a call by name.

    Raises:
      TypeError: An argument is of a wrong type.
      ValueError: A value is wrong, or arguments do not fit together.
    """
    method = method_of(arguments["method"])
    checkpoint = arguments["checkpoint"]
    if not (checkpoint is None or isinstance(checkpoint, str | os.PathLike)):
        raise TypeError(
            "fit: `checkpoint` is a path, received "
            f"checkpoint={shown(checkpoint)} of type {type(checkpoint).__name__}, "
            'expected text. Pass a name such as "fit.npz".'
        )
    if not arguments["circuit"].trainable_variables:
        warnings.warn(
            "fit: nothing can be learned, received a circuit all of whose parameters "
            "are frozen, expected trainable ones. Set layer.trainable = True for what "
            "shall be learned.",
            stacklevel=4,  # whoever calls fit
        )
    if arguments["epochs"] is not None and arguments["num_updates"] is not None:
        raise ValueError(
            f"fit: the length comes twice, received epochs={arguments['epochs']} and "
            f"num_updates={arguments['num_updates']}, expected one of them. Leave out "
            "the other."
        )
    split = arguments["validation_split"]
    if split and arguments["validation_data"] is not None:
        raise ValueError(
            f"fit: validation data come twice, received validation_split={split!r} and "
            "validation_data, expected one of them. Leave out the other."
        )
    has_validation = arguments["validation_data"] is not None or split
    if arguments["patience"] is not None and not has_validation:
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


def _check_step_size(name: object, method: Method, step_size: object) -> None:
    """Checks the step size, which depends on the method."""
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
    a_rate(above=0, most=1)(step_size, "fit: `step_size`")


def _check_source(arguments: dict[str, Any]) -> None:
    """Checks that the arguments fit arrays, or a dataset."""
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
