"""How the decoder, the points and the weights of a continuous mixture are learned."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfp_spn._typing import Tensor
from tfp_spn.learning.even_batches import EvenBatches
from tfp_spn.structure.columns import Columns
from tfp_spn.structure.continuous_decoder import Batch, ContinuousDecoder

_MANY_STEPS = 2000
"""From so many steps on they are compiled by XLA."""

_LOW_RATE = 0.1
"""Part of the first rate, below which a fall is as good as ended."""

_BLOCK = 1024
"""Rows that are evaluated at once."""


def sobol_points(num_points: int, num_dims: int) -> npt.NDArray[np.float32]:
    """``[M, num_dims]`` in the unit cube, evenly spread."""
    from scipy.stats import qmc

    exponent = max(0, int(np.ceil(np.log2(num_points))))
    points = qmc.Sobol(num_dims, scramble=False).random_base2(exponent)
    return points[:num_points].astype(np.float32)


def normal_points(base: Any, shift: Tensor) -> Tensor:
    """Points of the unit cube, shifted around it, as points of a standard normal."""
    u = tf.math.floormod(tf.convert_to_tensor(base) + shift, 1.0)
    return tf.math.ndtri(tf.clip_by_value(u, 1e-5, 1 - 1e-5))


class _FallingRate:
    """A learning rate that falls as a cosine does, to zero.

    Args:
        start: The first rate.
        num_steps: After so many it is zero.
        ends: When it is zero at the latest, on the clock.
    """

    def __init__(self, start: float, num_steps: int, ends: float) -> None:
        self._start, self._num_steps, self._step = start, num_steps, 0
        self._began, self._ends = time.perf_counter(), ends

    def __call__(self) -> float:
        """The rate of the next step."""
        part = self._step / self._num_steps
        if self._ends < math.inf:
            now = time.perf_counter()
            part = max(part, (now - self._began) / max(self._ends - self._began, 1e-9))
        self._step += 1
        return self._start * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


class ContinuousLearner:
    """Steps, validation, and the best so far."""

    def __init__(
        self,
        decoder: ContinuousDecoder,
        train: Columns,
        valid: Columns,
        batch_size: int,
        patience: int,
        seed: int,
        verbose: bool,
    ) -> None:
        self.decoder = decoder
        self.train, self.valid = decoder.read(train), decoder.read(valid)
        self.num_valid = len(valid.values)
        self.weight_of_valid = float(valid.weights.sum())
        self.batch_size = min(batch_size, len(train.values))
        self.batches = EvenBatches(
            len(train.values), self.batch_size, train.weights / train.weights.sum()
        )
        self.patience = patience
        self.rng = np.random.default_rng(seed)
        self.rng_of_points = np.random.default_rng([seed, 1])
        self.verbose = verbose
        self.history: list[float] = []
        self.is_interrupted = False

    def learn_network(
        self, base: np.ndarray, epochs: int, learning_rate: float, ends: float
    ) -> None:
        """Gradient steps on the network; each has points of its own.

        Rates fall to zero with the epochs or the time, whichever ends first. If
        validation gets worse before that, they fall in some epochs more from the best.
        """
        decoder, num_points = self.decoder, len(base)
        (network,) = decoder.networks
        variables = network.trainable_variables
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build(variables)
        log_weights = tf.fill([num_points], -float(np.log(num_points)))
        center = normal_points(base, tf.fill([base.shape[1]], 0.5))

        @tf.function(jit_compile=self._is_worth_compiling(epochs))
        def step(arrays: tuple[Tensor, ...], shift: Tensor) -> None:
            z, batch = normal_points(base, shift), Batch(*arrays)
            with tf.GradientTape() as tape:
                value = decoder.log_prob(batch, z, training=True)
                loss = -_total(value, log_weights, batch)
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)

        def of_rows(rows: Batch) -> None:
            shift = self.rng_of_points.random(base.shape[1], dtype=np.float32)
            step(rows.arrays, tf.constant(shift))

        def fall(epochs: int) -> bool:
            return self._until_worse(
                of_rows,
                lambda: (center, log_weights),
                network.weights,
                optimizer.learning_rate,
                epochs,
                ends,
                "network",
            )

        is_worse = fall(epochs)
        if is_worse and float(optimizer.learning_rate) > _LOW_RATE * learning_rate:
            fall(1 + int(np.argmax(self.history)) // 2)

    def learn_points(
        self, base: np.ndarray, epochs: int, learning_rate: float, ends: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Gradient steps on points and weights, likewise; the network is kept."""
        decoder = self.decoder
        start = normal_points(base, tf.fill([base.shape[1]], 0.5))
        points = keras.Variable(start, name="points")
        logits = keras.Variable(tf.zeros([len(base)]), name="logits")
        variables = [points, logits]
        optimizer = keras.optimizers.Adam(learning_rate)
        optimizer.build(variables)

        @tf.function(jit_compile=self._is_worth_compiling(epochs))
        def step(arrays: tuple[Tensor, ...]) -> None:
            batch = Batch(*arrays)
            with tf.GradientTape() as tape:
                z = tf.convert_to_tensor(points.value)
                value = decoder.log_prob(batch, z, training=False)
                log_weights = tf.nn.log_softmax(logits.value)
                loss = -_total(value, log_weights, batch)
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)

        def state() -> tuple[Tensor, Tensor]:
            return tf.convert_to_tensor(points), tf.nn.log_softmax(logits.value)

        self._until_worse(
            lambda rows: step(rows.arrays),
            state,
            variables,
            optimizer.learning_rate,
            epochs,
            ends,
            "points",
        )
        z, log_weights = state()
        return z.numpy(), np.asarray(log_weights, np.float64)

    def of_held_out(
        self, points: npt.NDArray[np.float32], log_weights: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Log-likelihood of each held-out row."""
        z, log_weights = tf.constant(points), log_weights.astype(np.float32)
        found = [
            _log_prob(self.decoder.log_prob(rows, z, training=False), log_weights)
            for rows in self._blocks()
        ]
        return np.concatenate(found).astype(np.float64)

    def _until_worse(
        self,
        step: Callable[[Batch], None],
        state: Callable[[], tuple[Tensor, Tensor]],
        variables: list[Any],
        rate: Any,
        epochs: int,
        ends: float,
        name: str,
    ) -> bool:
        """Epochs at a falling rate until validation gets worse; keeps the best.

        Returns:
            Whether it got worse, rather than that epochs or time are over.
        """
        if self.is_interrupted:
            return False
        evaluate = tf.function(self._log_likelihood)
        falling = _FallingRate(float(rate), epochs * self.batches.count, ends)

        def step_at_rate(rows: Batch) -> None:
            rate.assign(falling())
            step(rows)

        best_values: list[np.ndarray] = []
        bar = tqdm(range(epochs), desc=name, disable=not self.verbose, leave=False)
        try:
            best, waited = self._validate(evaluate, state), 0
            best_values = [v.numpy() for v in variables]
            for _ in bar:
                if not self._epoch(step_at_rate, ends):
                    break
                value = self._validate(evaluate, state)
                self.history.append(value)
                bar.set_postfix(validation=f"{value:.3f}")
                waited += 1
                if value > best:
                    best, waited = value, 0
                    best_values = [v.numpy() for v in variables]
                if waited >= self.patience:
                    return True
        except KeyboardInterrupt:
            self.is_interrupted = True
        finally:
            for variable, kept in zip(variables, best_values, strict=False):
                variable.assign(kept)
        return False

    def _is_worth_compiling(self, epochs: int) -> bool:
        """Whether XLA, which takes seconds to compile, saves more."""
        return epochs * self.batches.count > _MANY_STEPS

    def _epoch(self, step: Callable[[Batch], None], ends: float) -> bool:
        """Whether there is time for another epoch behind it."""
        for rows, weight in self.batches(self.rng):
            if time.perf_counter() > ends:
                return False
            missing = self.batch_size - len(rows)
            batch = self.train.rows(np.pad(rows, [0, missing], mode="edge"))
            weight = np.pad(weight * self.batches.count, [0, missing])
            step(dataclasses.replace(batch, weight=weight.astype(np.float32)))
        return True

    def _validate(self, evaluate: Any, state: Callable) -> float:
        z, log_weights = state()
        total = sum(
            float(evaluate(rows.arrays, z, log_weights)) for rows in self._blocks()
        )
        return total / self.weight_of_valid

    def _blocks(self) -> Iterator[Batch]:
        for start in range(0, self.num_valid, _BLOCK):
            yield self.valid.rows(slice(start, start + _BLOCK))

    def _log_likelihood(
        self, arrays: tuple[Tensor, ...], z: Tensor, log_weights: Tensor
    ) -> Tensor:
        batch = Batch(*arrays)
        value = self.decoder.log_prob(batch, z, training=False)
        return _total(value, log_weights, batch)


def _log_prob(value: Tensor, log_weights: Tensor) -> Tensor:
    return tf.reduce_logsumexp(value + log_weights, axis=-1)


def _total(value: Tensor, log_weights: Tensor, batch: Batch) -> Tensor:
    return tf.tensordot(_log_prob(value, log_weights), batch.weight, 1)
