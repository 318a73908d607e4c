"""`fit`: maximum likelihood in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfp_spn._arguments import (
    LARGEST_INTEGER,
    a_count,
    a_flag,
    a_rate,
    a_seed,
    reads,
)
from tfp_spn._keras_typing import OptimizerLike
from tfp_spn._typing import TensorLike
from tfp_spn.circuits.circuit import Circuit
from tfp_spn.circuits.data import Data
from tfp_spn.circuits.fixed_scales import warn_of_fixed_scales
from tfp_spn.distributions.dynamic_sum_product_network import (
    DynamicSumProductNetwork,
)
from tfp_spn.distributions.sum_product_network import SumProductNetwork
from tfp_spn.learning.averaged_parameters import AveragingTrainer
from tfp_spn.learning.batches import Batches, unpack
from tfp_spn.learning.circuit_identity import circuit_identity
from tfp_spn.learning.class_labels import classes_of, numbered, numbers_of, read_labels
from tfp_spn.learning.compilation import is_worth_compiling
from tfp_spn.learning.data_validation import (
    mask_of_lengths,
    split_off,
    validated,
)
from tfp_spn.learning.epoch_callbacks import EpochCallbacks
from tfp_spn.learning.finite_steps import FiniteSteps
from tfp_spn.learning.fit_arguments import check_arguments
from tfp_spn.learning.history import History, Stopping
from tfp_spn.learning.initialization import initialize_leaves
from tfp_spn.learning.log_likelihood import LogLikelihood
from tfp_spn.learning.maximization import as_circuit
from tfp_spn.learning.memory import check_memory
from tfp_spn.learning.method import Method, Terms, Trainer
from tfp_spn.learning.named_methods import method_of
from tfp_spn.learning.optimizer_identity import optimizer_identity
from tfp_spn.learning.perturbations import perturbed
from tfp_spn.learning.progress import Progress, TrainingState, data_digest
from tfp_spn.learning.regularization import regularization_of
from tfp_spn.learning.replicas import strategy_of
from tfp_spn.learning.rounds import default_batch_size, rounds_of_fit
from tfp_spn.learning.smoothing import default_smoothing
from tfp_spn.learning.starting_point import is_new, start_from
from tfp_spn.learning.step_sizes import StepSize
from tfp_spn.programs.program import Program


@reads(
    epochs=a_count(least=0),
    num_updates=a_count(least=0),
    batch_size=a_count(),
    steps_per_epoch=a_count(most=LARGEST_INTEGER),
    validation_split=a_rate(least=0, below=1),
    initialize=a_flag(),
    pseudocount=a_rate(least=0),
    tolerance=a_rate(least=0),
    patience=a_count(most=LARGEST_INTEGER),
    seed=a_seed(),
    verbose=a_flag(),
    jit_compile=a_flag(),
)
def fit(
    spn: Circuit | keras.Sequential | SumProductNetwork | DynamicSumProductNetwork,
    x: TensorLike,
    *,
    method: str | Method = "em",
    epochs: int | None = None,
    num_updates: int | None = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    observed: TensorLike = None,
    lengths: npt.ArrayLike | None = None,
    labels: TensorLike = None,
    unlabelled: object = None,
    sample_weight: TensorLike = None,
    validation_data: TensorLike
    | tuple[TensorLike, ...]
    | tf.data.Dataset
    | None = None,
    validation_split: float = 0.0,
    initialize: bool | None = None,
    regularization: object = None,
    pseudocount: float | None = None,
    step_size: StepSize | str | None = None,
    optimizer: OptimizerLike = None,
    tolerance: float | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
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
    infinite. An interruption (Ctrl-C) leaves those of the last complete epoch, or of
    the best one where these are taken in the end.

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
            batch. Or one of the objects of `tfp_spn.learning` that are a `Method`, such
            as `AnemoneExpectationMaximization`.
        epochs: Passes over the data. Default, without `num_updates` either: 50, or, of
            methods that learn from batches, as many as make 1,000 to 5,000 updates.
        num_updates: M-steps, or steps of an optimizer, in place of epochs, in fifty
            rounds or so: each ends as an epoch does. `patience` is in updates then, and
            the best parameters are kept if there are validation data.
        batch_size: Examples evaluated at once; for ``"em"`` it has no other meaning.
            Default: 512, less if there are fewer than 16,384 examples, at least 64.
        steps_per_epoch: Batches of a dataset that make an epoch; needed if it never
            ends, as after ``repeat()``. The next epoch goes on where this one ended.
            Default: the whole dataset.
        observed: bool ``[N, V]``: which values count; the others are integrated out
            and may be NaN. Default: all.
        lengths: Lengths of sequences, int ``[N]``: how many steps each one has, at
            most `num_steps`; what follows is padding and may hold anything.
        labels: Classes ``[N]``; with them the objective is ``log p(x, label)``. Other
            labels than whole numbers from 0 to ``num_classes - 1``, such as text, are
            numbered in sorted order: `History.classes` says which class has which.
        unlabelled: The label that stands for none, such as -1 or NaN: examples that
            have it are learned from by ``log p(x)``, in one fit with the others.
            Default: all labels are classes.
        sample_weight: How often each example counts, ``[N]``.
        validation_data: Held-out data in any of the forms of a dataset's batch, or a
            dataset.
        validation_split: Part of the examples, from 0 to 1, that is held out instead:
            the last ones, as in Keras (shuffle them before if they are in an order).
        initialize: Whether to start from `initialize_leaves`. Needs arrays. `False`
            starts from the parameters as they are. Default: in those leaves that were
            given no initializers, if data are arrays and the circuit is new. Whichever
            it is but `False`, a new circuit, one that was never fitted, loaded or
            assigned, draws its parameters from `seed`, whatever was drawn before.
        regularization: An object of `tfp_spn.learning`, or a list: `DataSoftening`,
            `InputDropout`; for EM `MarginalPseudocount`, `ExpectedCounts`,
            `SumEntropy`, `SumDropout` and any other `Adjustment`; for ``"gradient"`` a
            `keras.regularizers.Regularizer` of log-weights and logits.
        pseudocount: Examples added to each sum and leaf in each M-step: keeps rare
            events possible. With 0 full-batch EM is plain maximum likelihood. What
            smooths all data well may be much for a batch of ``"online_em"``. Default:
            0.01; for EM on arrays that have fewer than two observed values for each
            parameter, if no `regularization` is given either, one example in an epoch,
            with `MarginalPseudocount`: large circuits learn few rows by heart.
        step_size: Of M-steps, from 0 to 1; for ``"online_em"`` also a function of the
            number of steps, such as a Keras learning rate schedule, or ``"constant"``,
            ``"linear"`` or ``"cosine"``: 0.1, or from 0.5 to zero within the fit.
            Default: 1 for ``"em"``; for ``"online_em"`` 0.1 if `epochs` are given,
            which a later call may raise, else ``"cosine"``.
        optimizer: A Keras optimizer for ``"gradient"``. Default: ``Adam(1e-2)``.
        tolerance: Stop when the training log-likelihood rises by less.
        patience: Stop after so many epochs (updates, if `num_updates` is given)
            without a better validation log-likelihood, and take the best parameters in
            the end.
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
    way = method_of(method)
    regular = regularization_of(regularization, way)
    if batch_size is None:
        batch_size = default_batch_size(x, way.is_full_batch)
    if lengths is not None:
        observed = mask_of_lengths(program, x, lengths, observed)
    named = read_labels(labels, unlabelled)
    classes = classes_of(named, program.num_classes)
    numbers = numbers_of(named, classes, program.num_classes)
    data = Data(x, observed, numbers, sample_weight)
    held_out_data = None
    if validation_split:
        data = validated(program, data)
        data, held_out_data = split_off(data, validation_split)
    steps = steps_per_epoch
    if isinstance(x, tf.data.Dataset) and num_updates and not way.is_full_batch:
        steps = rounds_of_fit(None, num_updates, None, False, patience).length
    train = _batches(
        program, x, data, batch_size, steps, unlabelled, is_even=not way.is_full_batch
    )
    check_memory(program, train.batch_size)
    if pseudocount is None:
        pseudocount, regularization = default_smoothing(
            circuit, train, way, regularization, checkpoint
        )
        regular = regularization_of(regularization, way)
    if not train.is_dataset:
        warn_of_fixed_scales(circuit, train.data.x, train.data.observed, 4)
    validation = None
    if held_out_data is not None:
        validation = Batches(program, held_out_data, batch_size)
    elif validation_data is not None:
        others = validation_data
        if not isinstance(others, tf.data.Dataset):
            others = numbered(unpack(others), classes, program.num_classes, unlabelled)
        validation = _batches(
            program, validation_data, others, batch_size, unlabelled=unlabelled
        )
    rounds = rounds_of_fit(
        epochs,
        num_updates,
        train.batches_per_epoch,
        way.is_full_batch,
        patience,
        _relative_cost(train, validation),
    )
    is_start_drawn = initialize is not False and rounds.count > 0 and is_new(circuit)
    hooks = EpochCallbacks(callbacks, circuit, rounds.count)

    if jit_compile is None and not train.is_dataset:
        examples = rounds.examples_of_round(len(train.data.x), train.batch_size)
        jit_compile = is_worth_compiling(program, examples, rounds.count) and (
            strategy_of(circuit) is None
        )
    if step_size is None and way.step_sizes == "any" and epochs is None:
        step_size = "constant" if rounds.num_updates is None else "cosine"
    trainer = way.trainer(
        circuit,
        Terms(
            pseudocount,
            jit_compile,
            rounds.num_updates,
            step_size,
            optimizer,
            regular.adjustments,
            regular.e_step,
            regular.regularizer,
        ),
    )
    optimizer = getattr(trainer, "optimizer", None)
    state = TrainingState(circuit.live_params(), trainer.state)
    settings = {
        "method": method if isinstance(method, str) else repr(method),
        "seed": seed,
        "batch_size": batch_size,
        "pseudocount": pseudocount,
        **circuit_identity(circuit),
        "step_size": _size_of(trainer),
        **({} if rounds.length is None else {"round": rounds.length}),
        **({"regularization": regular.identity} if regular.identity else {}),
        "optimizer": None if optimizer is None else optimizer_identity(optimizer),
        "data": data_digest(train.data),
        "validation_data": None if validation is None else data_digest(validation.data),
    }
    replicas = trainer.replicas
    in_version_1 = {"structure": program.digest_in_version_1} if checkpoint else {}
    keeps_best = patience is not None or rounds.length is not None
    progress = Progress(
        state,
        settings,
        in_version_1,
        checkpoint,
        saves=replicas.is_chief,
        keeps_best=keeps_best,
    )
    replicas.check_agreement(
        {
            **settings,
            "epochs": rounds.count,
            "tolerance": tolerance,
            "patience": patience,
            "initialize": initialize,
            "is_start_drawn": is_start_drawn,
            "checkpoint": progress.last,
        }
    )
    finite = FiniteSteps(circuit, state, train, progress.start, optimizer)
    evaluate = LogLikelihood(circuit, jit_compile) if validation else None
    stopping = Stopping(
        rounds.count, tolerance, rounds.rounds_of(patience), rounds.reason
    )
    with progress.guarded(), hooks.with_optimizer(optimizer):
        if is_start_drawn and not progress.history.epochs:
            has_data = not (train.is_dataset or initialize)
            start_from(circuit, train.data if has_data else None, seed)
        if initialize and not progress.history.epochs:
            given = train.data
            initialize_leaves(
                circuit,
                given.x,
                given.observed,
                seed,
                sample_weight=given.sample_weight,
            )
        finite.check_start(state.take(), progress.best, checkpoint)
        progress.history.classes = classes
        hooks.begin()
        with tqdm(
            total=rounds.count,
            initial=progress.history.epochs,
            unit="epoch" if rounds.length is None else "round",
            disable=not verbose,
        ) as bar:
            while not stopping.is_reached(progress.history, hooks.have_stopped):
                hooks.begin_epoch(progress.history.epochs)
                number = progress.history.epochs + 1
                order = None if way.is_full_batch else seed
                log_likelihood = trainer.epoch(
                    perturbed(
                        program,
                        rounds.batches(train, number - 1, order),
                        regular.perturbations,
                        [seed, number],
                    )
                )
                held_out = None
                if validation is not None and evaluate is not None:
                    held_out = evaluate(validation())
                last = state.take()
                finite.check_epoch(number, last, log_likelihood)
                progress.complete_epoch(last, log_likelihood, held_out)
                if train.is_dataset and number == 1:
                    first = train.first
                    warn_of_fixed_scales(circuit, first.x, first.observed, 4)
                bar.set_postfix_str(progress.history.summary())
                bar.update()
                hooks.end_epoch(number - 1, log_likelihood, held_out)
        hooks.end()
        is_averaged = isinstance(trainer, AveragingTrainer) and trainer.take_average()
        best = max(progress.history.validation_log_likelihood, default=None)
        if keeps_best and best is not None and validation is not None:
            if not (is_averaged and evaluate and evaluate(validation()) >= best):
                progress.take_best()
    progress.history.num_updates = rounds.updates_after(progress.history.epochs)
    stopping.warn(progress.history, stacklevel=3)
    return progress.history


def _batches(
    program: Program,
    source: TensorLike | tf.data.Dataset,
    data: Data | tf.data.Dataset,
    batch_size: int,
    steps: int | None = None,
    unlabelled: object = None,
    is_even: bool = False,
) -> Batches:
    """Checks arrays, and cuts arrays or a dataset into batches."""
    if isinstance(source, tf.data.Dataset):
        return Batches(program, source, batch_size, steps, unlabelled)
    return Batches(program, validated(program, data), batch_size, is_even=is_even)


def _relative_cost(train: Batches, validation: Batches | None) -> float:
    """Validation examples per example of a batch, if both are known."""
    if validation is None or train.is_dataset or validation.is_dataset:
        return 0.0
    return len(validation.data.x) / train.batch_size


def _size_of(trainer: Trainer) -> float | str | None:
    step_size = getattr(trainer, "step_size", None)
    if step_size is None:
        return None
    return "a function" if callable(step_size) else float(step_size)
