"""Sequences of unequal length: which steps of a batch are real.

Lengths, masks and ragged tensors all become one bool mask over steps. What lies in the
others is never looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfp_spn._typing import Tensor, TensorLike

PADDINGS = ("pre", "post")


class Sequences(NamedTuple):
    """A batch of sequences.

    Attributes:
        x: ``[batch, num_steps, *step_shape]``.
        is_step: bool ``[batch, num_steps]``, or `None`: all steps are real.
    """

    x: Tensor
    is_step: Tensor | None


def to_sequences(
    inputs: object, mask: TensorLike, padding: str, label: str
) -> Sequences:
    """Reads a model's inputs.

    Args:
        inputs: Data; a ragged tensor of data; or a pair of data and lengths (integers
            ``[batch]``) or mask (bool ``[batch, num_steps]``).
        mask: The mask that Keras passes along, or one for each of a pair, or `None`.
        padding: On which side sequences with lengths are padded.
        label: The model, as error messages begin.

    Raises:
        TypeError: The second of a pair is neither lengths nor a mask.
        ValueError: There are not one or two inputs, shapes do not match, or a length
            is below one or above the number of steps. (Lengths and masks that a
            compiled function receives are checked when it runs:
            `tf.errors.InvalidArgumentError`.)
    """
    inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if len(inputs) not in (1, 2):
        raise ValueError(
            f"{label}: received {len(inputs)} inputs, expected data, or a pair of data "
            "and lengths or mask. Labels go to the y of fit."
        )
    x, steps = inputs[0], inputs[1] if len(inputs) == 2 else None
    if isinstance(x, tf.RaggedTensor):
        if steps is not None or x.ragged_rank != 1:
            raise ValueError(
                f"{label}: received ragged data of ragged rank {x.ragged_rank} with "
                f"{len(inputs) - 1} further inputs, expected ragged rank 1 (only the "
                "number of steps varies) and no lengths. Build them, for example, by "
                "tf.RaggedTensor.from_row_lengths(all_steps, lengths)."
            )
        steps, x = x.row_lengths(), x.to_tensor()
        padding = "post"
    x = tf.convert_to_tensor(x)
    if x.shape.rank is not None and x.shape.rank < 3:
        raise ValueError(
            f"{label}: received data of shape {tuple(x.shape)}, expected [batch, "
            "num_steps, num_variables]. Give single sequences a first axis of length "
            "1, and sequences of single numbers a last one."
        )
    if x.shape[1] == 0:
        raise ValueError(
            f"{label}: received data of shape {tuple(x.shape)}, with 0 steps, expected "
            "at least 1. Leave empty sequences out."
        )
    masks = [m for m in tf.nest.flatten(mask) if m is not None]
    if steps is not None:
        steps = tf.convert_to_tensor(steps)
        masks.append(_mask_of(steps, x, padding, label))
    if not masks:
        return Sequences(x, None)
    is_step = tf.ones([], tf.bool)
    for each in masks:
        is_step &= _checked_mask(tf.convert_to_tensor(each), x, label)
    return Sequences(x, _without_empty(is_step, label))


def fill_padding(sequences: Sequences) -> Tensor:
    """`x` with a real step of the same sequence in place of every other one.

    So no layer ever sees what padding holds, nor zeros, which may lie far away from all
    data: networks may look at the batch as a whole, for example to choose between a
    fast and an exact evaluation.
    """
    x, is_step = sequences
    if is_step is None:
        return x
    first = tf.argmax(tf.cast(is_step, tf.int32), axis=1)  # the first of the largest
    real = tf.gather(x, first, axis=1, batch_dims=1)[:, tf.newaxis]
    return tf.where(over_axes(is_step, x), x, real)


def over_axes(mask: Tensor, like: Tensor) -> Tensor:
    """Appends axes of length one to `mask`, up to the rank of `like`."""
    for _ in range(like.shape.rank - mask.shape.rank):
        mask = mask[..., tf.newaxis]
    return mask


def _mask_of(steps: Tensor, x: Tensor, padding: str, label: str) -> Tensor:
    """The mask of lengths; a mask itself is returned as it is."""
    if steps.dtype == tf.bool:
        return steps
    if not steps.dtype.is_integer:
        raise TypeError(
            f"{label}: received a second input of dtype {steps.dtype.name}, expected "
            "integers, the lengths [batch], or bool, a mask [batch, num_steps]. "
            "Convert it, for example by lengths.astype('int32')."
        )
    if steps.shape.rank == 2 and steps.shape[1] == 1:
        steps = steps[:, 0]
    if steps.shape.rank != 1 or not steps.shape.is_compatible_with(x.shape[:1]):
        raise ValueError(
            f"{label}: received lengths of shape {tuple(steps.shape)} for data of "
            f"shape {tuple(x.shape)}, expected one length per sequence, "
            f"{tuple(x.shape[:1])}."
        )
    lengths = _checked_lengths(tf.cast(steps, tf.int32), tf.shape(x)[1], label)
    mask = tf.sequence_mask(lengths, tf.shape(x)[1])
    return mask if padding == "post" else tf.reverse(mask, axis=[1])


def _checked_mask(mask: Tensor, x: Tensor, label: str) -> Tensor:
    if mask.dtype != tf.bool or not mask.shape.is_compatible_with(x.shape[:2]):
        raise ValueError(
            f"{label}: received a mask of dtype {mask.dtype.name} and shape "
            f"{tuple(mask.shape)} for data of shape {tuple(x.shape)}, expected bool "
            f"and {tuple(x.shape[:2])}, one flag per sequence and step. (To hide "
            "single variables of a step use a distribution.)"
        )
    return mask


def _checked_lengths(lengths: Tensor, num_steps: Tensor, label: str) -> Tensor:
    found = "received sequences of lengths"
    remedy = (
        "each. Leave empty sequences out, and give all steps of the longer ones or "
        "their true lengths."
    )
    valid = (lengths >= 1) & (lengths <= num_steps)
    if tf.executing_eagerly():
        wrong = [int(row) for row in tf.where(~valid)[:, 0]]
        if wrong:
            received = [int(lengths[row]) for row in wrong[:8]]
            raise ValueError(
                f"{label}: {found} {received} (sequences {wrong[:8]} of the batch), "
                f"expected 1 to {int(num_steps)} steps {remedy}"
            )
        return lengths
    smallest, largest = tf.reduce_min(lengths), tf.reduce_max(lengths)
    rows = [tf.argmin(lengths), tf.argmax(lengths)]
    message = [f"{label}: {found}", smallest, "to", largest, "(sequences", rows[0]]
    message += ["and", rows[1], "of the batch), expected 1 to", num_steps, "steps"]
    check = tf.debugging.Assert(tf.reduce_all(valid), [*message, remedy])
    with tf.control_dependencies([check]):
        return tf.identity(lengths)


def _without_empty(is_step: Tensor, label: str) -> Tensor:
    found = "received sequences of 0 steps: the masks leave nothing of"
    remedy = "expected at least 1 step each. Leave empty sequences out."
    has_steps = tf.reduce_any(is_step, axis=1)
    if tf.executing_eagerly():
        wrong = [int(row) for row in tf.where(~has_steps)[:, 0]]
        if wrong:
            raise ValueError(
                f"{label}: {found} the sequences {wrong[:8]} of the batch; {remedy}"
            )
        return is_step
    first = tf.argmin(tf.cast(has_steps, tf.int32))
    message = [f"{label}: {found} sequence", first, f"of the batch; {remedy}"]
    check = tf.debugging.Assert(tf.reduce_all(has_steps), message)
    with tf.control_dependencies([check]):
        return tf.identity(is_step)
