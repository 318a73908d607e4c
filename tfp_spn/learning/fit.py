"""`fit`: maximum likelihood in one call."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

import tensorflow as tf
from tqdm import tqdm

from tfp_spn._keras_typing import OptimizerLike
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.learning.batches import Batches, unpack
from tfp_spn.learning.circuit_identity import circuit_identity
from tfp_spn.learning.class_labels import classes_of, numbered
from tfp_spn.learning.compilation import is_worth_compiling
from tfp_spn.learning.data_validation import (
    Data,
    mask_of_lengths,
    split_off,
    validated,
)
from tfp_spn.learning.epoch_callbacks import EpochCallbacks
from tfp_spn.learning.expectation_maximization import ExpectationMaximization
from tfp_spn.learning.finite_steps import FiniteSteps
from tfp_spn.learning.fit_arguments import check_arguments
from tfp_spn.learning.fixed_scales import warn_of_fixed_scales
from tfp_spn.learning.gradient_ascent import GradientAscent
from tfp_spn.learning.history import History, Stopping
from tfp_spn.learning.initialization import initialize_leaves
from tfp_spn.learning.log_likelihood import LogLikelihood
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.memory import check_memory
from tfp_spn.learning.minibatch_expectation_maximization import (
    MinibatchExpectationMaximization,
    StepSize,
)
from tfp_spn.learning.optimizer_identity import optimizer_identity
from tfp_spn.learning.progress import Progress, TrainingState, data_digest
from tfp_spn.learning.replicas import strategy_of
from tfp_spn.learning.starting_point import is_new, start_from
from tfp_spn.programs.program import Program

Method = Literal["em", "online_em", "gradient"]
Trainer: TypeAlias = (
    ExpectationMaximization | MinibatchExpectationMaximization | GradientAscent
)


def fit(
    spn: Any,
    x: TensorLike,
    *,
    method: Method = "em",
    epochs: int = 50,
    batch_size: int = 512,
    steps_per_epoch: int | None = None,
    observed: TensorLike = None,
    lengths: Any = None,
    labels: TensorLike = None,
    unlabelled: object = None,
    sample_weight: TensorLike = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    initialize: bool | None = None,
    pseudocount: float = 0.01,
    step_size: StepSize | None = None,
    optimizer: OptimizerLike = None,
    tolerance: float | None = None,
    patience: int | None = None,
    callbacks: Any = None,
    seed: int = 0,
    verbose: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    jit_compile: bool | None = None,
) -> History:
    """Fits a circuit to data by maximum likelihood.

    A circuit that was created within ``strategy.scope()`` of a
    `tf.distribute.MirroredStrategy` or `tf.distribute.MultiWorkerMirroredStrategy` is
    fitted by all of its replicas, with the results of one up to rounding. `batch_size`
    is that of all replicas together. Each process of a cluster calls `fit` alike, with
    the same data, of which each computes its share; an optimizer is created within the
    scope, too.

    Nothing is changed when arguments or data are found wrong: arrays are checked before
    anything else; an error later on, as in a dataset, brings back the parameters from
    before the call, and so does an epoch that ends with parameters that are NaN or
    infinite. An interruption (Ctrl-C) leaves those of the last complete epoch.

    Args:
        spn: A circuit, a `keras.Sequential` of `tfp_spn.layers`, or a
            `SumProductNetwork`; its trainable variables are updated.
        x: ``[N, V]`` (``[N, V, D]``), or a `tf.data.Dataset` of batches ``x``, ``(x,
            labels)``, ``(x, labels, sample_weight)`` or dicts with the keys ``x,
            observed, labels, sample_weight``. The first batch sets the size: larger
            ones are cut to it, smaller ones filled up, so that
            nothing is compiled anew.
        method: ``"em"``: an M-step per epoch, on the expectations of all data;
            ``"online_em"``: one per batch; ``"gradient"``: an optimizer step per
            batch.
        epochs: Passes over the data.
        batch_size: Examples evaluated at once; for ``"em"`` it has no other meaning.
        steps_per_epoch: Batches of a dataset that make an epoch; needed if it never
            ends, as after ``repeat()``. The next epoch goes on where this one ended.
            Default: the whole dataset.
        observed: bool ``[N, V]``: which values count; the others are integrated out
            and may be NaN. Default: all.
        lengths: Lengths of sequences, int ``[N]``: how many steps each one has, at
            most `num_steps`; what follows is padding and may hold anything.
        labels: Classes ``[N]``; with them the objective is ``log p(x, label)``. Other
            labels than integers from 0 to ``num_classes - 1``, such as text, are
            numbered in sorted order: `History.classes` says which class has which.
        unlabelled: The label that stands for none, such as -1: examples that have it
            are learned from by ``log p(x)``, in one fit with the others. Default: all
            labels are classes.
        sample_weight: How often each example counts, ``[N]``.
        validation_data: Held-out data in any of the forms of a dataset's batch, or a
            dataset.
        validation_split: Part of the examples, from 0 to 1, that is held out instead:
            the last ones, as in Keras (shuffle them before if they are in an order).
        initialize: Whether to start from `initialize_leaves`. Needs arrays. `False`
            starts from the parameters as they are. Default: a circuit that was never
            fitted, loaded or assigned draws its parameters from `seed`, whatever was
            drawn before, and starts from arrays in those leaves that were given no
            initializers; any other circuit starts from its parameters.
        pseudocount: Examples added to each sum and leaf in each M-step: keeps rare
            events possible. With 0 full-batch EM is plain maximum likelihood. What
            smooths all data well may be much for a batch of ``"online_em"``.
        step_size: Size of M-steps, from 0 to 1; for ``"online_em"`` also a function of
            the number of steps, such as a Keras learning rate schedule. Default: 1 for
            ``"em"``, 0.1 for ``"online_em"``.
        optimizer: A Keras optimizer for ``"gradient"``. Default: ``Adam(1e-2)``.
        tolerance: Stop when the training log-likelihood rises by less.
        patience: Stop after so many epochs without a better validation log-likelihood,
            and take the best parameters in the end.
        callbacks: Keras callbacks, whose model is the circuit. They are called before
            and after each epoch, with ``loss``, ``val_loss``, ``log_likelihood`` and
            ``val_log_likelihood``.
        seed: Seed of the starting point and of the order of batches. Full-batch EM does
            not shuffle; a dataset shuffles itself.
        verbose: Whether to show a progress bar.
        checkpoint: Path of an ``.npz`` file that is written after each epoch. If it
            exists, the fit continues where that one stopped; one of another circuit
            (other structure, leaves, learning rules or dtype), method or objective is
            refused, and one of other data where the shape or the first and last rows
            tell (of a dataset, only its types are known). Of several processes, the
            first one writes and all read. A file of tfp_spn 0.1 is taken with a
            warning: it records neither leaves nor rules.
        jit_compile: Whether XLA compiles what is done for a batch. Default: where it
            saves more than it takes, by the sizes of the circuit and of the data; never
            for datasets, whose size is unknown, sequences and several replicas.

    Returns:
        The log-likelihoods and why it stopped. A warning says if the likelihood was
        still rising by more than ten times the tolerance (0.001 if none is given).

    Raises:
        TypeError: Arguments or data of a wrong type.
        ValueError: Wrong arguments, shapes or values; a step that is not finite; a
            circuit that was not created under the strategy in scope; processes that
            were called differently.
        RuntimeError: Another process of the cluster was lost or could not read its
            data.

    Example:
        >>> import numpy as np, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.BernoulliLeaf(num_components=2), num_sums=2)
        >>> x = np.random.default_rng(0).integers(0, 2, [100, 4])
        >>> history = tfp_spn.learning.fit(circuit, x, epochs=5, verbose=False)
        >>> history.epochs, history.stopped_because
        (5, 'epochs')
    """
    circuit = as_circuit(spn)
    program = circuit.program
    check_arguments(locals())
    if lengths is not None:
        observed = mask_of_lengths(program, lengths, observed)
    classes = classes_of(labels, program.num_classes, unlabelled)
    data = Data(x, observed, labels, sample_weight)
    data = numbered(data, classes, program.num_classes, unlabelled)
    held_out_data = None
    if validation_split:
        data = validated(program, data)
        data, held_out_data = split_off(data, validation_split)
    train = _batches(program, x, data, batch_size, steps_per_epoch, unlabelled)
    check_memory(program, train.batch_size)
    if not train.is_dataset:
        warn_of_fixed_scales(circuit, train.data)
    validation = None
    if held_out_data is not None:
        validation = Batches(program, held_out_data, batch_size)
    elif validation_data is not None:
        data = validation_data
        if not isinstance(data, tf.data.Dataset):
            data = numbered(unpack(data), classes, program.num_classes, unlabelled)
        validation = _batches(
            program, validation_data, data, batch_size, unlabelled=unlabelled
        )
    is_start_drawn = initialize is None and epochs > 0 and is_new(circuit)
    hooks = EpochCallbacks(callbacks, circuit, epochs)

    if jit_compile is None and not train.is_dataset:
        jit_compile = is_worth_compiling(program, len(train.data.x), epochs) and (
            strategy_of(circuit) is None
        )
    trainer = _trainer(circuit, method, step_size, pseudocount, optimizer, jit_compile)
    optimizer = trainer.optimizer if isinstance(trainer, GradientAscent) else None
    state = TrainingState(circuit.live_params(), trainer.state)
    settings = {
        "method": method,
        "seed": seed,
        "batch_size": batch_size,
        "pseudocount": pseudocount,
        **circuit_identity(circuit),
        "step_size": _size_of(trainer),
        "optimizer": None if optimizer is None else optimizer_identity(optimizer),
        "data": data_digest(train.data),
        "validation_data": None if validation is None else data_digest(validation.data),
    }
    replicas = trainer.replicas
    in_version_1 = {"structure": program.digest_in_version_1} if checkpoint else {}
    progress = Progress(
        state, settings, in_version_1, checkpoint, saves=replicas.is_chief
    )
    replicas.check_agreement(
        {
            **settings,
            "epochs": epochs,
            "tolerance": tolerance,
            "patience": patience,
            "initialize": initialize,
            "is_start_drawn": is_start_drawn,
            "checkpoint": progress.last,
        }
    )
    finite = FiniteSteps(circuit, state, train, progress.start, optimizer)
    evaluate = LogLikelihood(circuit, jit_compile) if validation else None
    stopping = Stopping(epochs, tolerance, patience)
    with progress.guarded():
        if is_start_drawn and not progress.history.epochs:
            start_from(circuit, None if train.is_dataset else train.data, seed)
        elif initialize and not progress.history.epochs:
            initialize_leaves(circuit, train.data.x, train.data.observed, seed)
        finite.check_start(state.take(), progress.best, checkpoint)
        progress.history.classes = classes
        hooks.begin()
        with tqdm(
            total=epochs,
            initial=progress.history.epochs,
            unit="epoch",
            disable=not verbose,
        ) as bar:
            while not stopping.is_reached(progress.history, hooks.have_stopped):
                hooks.begin_epoch(progress.history.epochs)
                order = None if method == "em" else [seed, progress.history.epochs]
                log_likelihood = trainer.epoch(train(order))
                held_out = None
                if validation is not None and evaluate is not None:
                    held_out = evaluate(validation())
                last, number = state.take(), progress.history.epochs + 1
                finite.check_epoch(number, last, log_likelihood)
                progress.complete_epoch(last, log_likelihood, held_out)
                bar.set_postfix_str(progress.history.summary())
                bar.update()
                hooks.end_epoch(number - 1, log_likelihood, held_out)
        hooks.end()
        if patience is not None:
            progress.take_best()
    stopping.warn(progress.history, stacklevel=2)
    return progress.history


def _batches(
    program: Program,
    source: Any,
    data: Any,
    batch_size: int,
    steps: int | None = None,
    unlabelled: Any = None,
) -> Batches:
    """Checks arrays, and cuts arrays or a dataset into batches."""
    if isinstance(source, tf.data.Dataset):
        return Batches(program, source, batch_size, steps, unlabelled)
    return Batches(program, validated(program, data), batch_size)


def _trainer(
    circuit: Circuit,
    method: Method,
    step_size: StepSize | None,
    pseudocount: float,
    optimizer: object,
    jit_compile: bool | None,
) -> Trainer:
    """Builds the trainer of a method."""
    if method == "em":
        size = 1.0 if step_size is None else float(step_size)  # type: ignore[arg-type]
        return ExpectationMaximization(circuit, size, pseudocount, jit_compile)
    if method == "online_em":
        size = 0.1 if step_size is None else step_size  # type: ignore[assignment]
        return MinibatchExpectationMaximization(circuit, size, pseudocount, jit_compile)
    return GradientAscent(circuit, optimizer, jit_compile)


def _size_of(trainer: Trainer) -> float | str | None:
    if isinstance(trainer, GradientAscent):
        return None
    step_size = trainer.step_size
    return "a function" if callable(step_size) else float(step_size)
