"""Batches with noise: what a fit may see in place of the data themselves."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfp_spn._arguments import a_rate, read_fields
from tfp_spn.learning.batches import Batch
from tfp_spn.programs.program import Program


class Perturbation(abc.ABC):
    """Changes the batches that a fit learns from; validation sees the data."""

    @abc.abstractmethod
    def __call__(
        self, program: Program, batch: Batch, rng: np.random.Generator
    ) -> Batch:
        """The batch with noise."""


@dataclass(frozen=True)
class InputDropout(Perturbation):
    """Hides values: each one is integrated out with probability `rate`.

    Args:
        rate: From 0 to below 1.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        read_fields(self, rate=a_rate(least=0, below=1))

    def __call__(
        self, program: Program, batch: Batch, rng: np.random.Generator
    ) -> Batch:
        """The batch with a mask."""
        shape = (len(batch.x), *program.mask_shape)
        kept = rng.random(shape) >= self.rate
        if batch.observed is not None:
            kept &= batch.observed.numpy()
        return batch._replace(observed=tf.constant(kept))


@dataclass(frozen=True)
class DataSoftening(Perturbation):
    """Softens data towards the marginals of their columns [1].

    Each value is replaced, with probability `strength`, by that of another example of
    the batch in the same column: in expectation, an example is the mixture of itself
    and of independent columns. (Some 0.002; more if examples are few.)

    Args:
        strength: From 0 to 1.

    References:
        [1]: Liu, Van den Broeck. Tractable regularization of probabilistic circuits.
        NeurIPS, 2021.
    """

    strength: float = 2e-3

    def __post_init__(self) -> None:
        read_fields(self, strength=a_rate(least=0, most=1))

    def __call__(
        self, program: Program, batch: Batch, rng: np.random.Generator
    ) -> Batch:
        """The batch with values of other examples."""
        x, shape = batch.x.numpy(), (len(batch.x), *program.mask_shape)
        examples = np.flatnonzero(batch.weights.numpy() > 0)
        if not len(examples):
            return batch
        source = rng.choice(examples, shape)
        where = rng.random(shape) < self.strength
        if batch.observed is not None:
            observed = batch.observed.numpy()
            where &= observed & np.take_along_axis(observed, source, 0)
        extra = x.ndim - len(shape)
        source = source.reshape(*shape, *[1] * extra)
        others = np.take_along_axis(x, np.broadcast_to(source, x.shape), 0)
        x = np.where(where.reshape(*shape, *[1] * extra), others, x)
        return batch._replace(x=tf.constant(x))


@dataclass(frozen=True)
class SumDropout:
    """Leaves out children of sums, with probability `rate`, anew for each batch.

    A child of all sums of a region goes as one, and one of them always stays. The
    training log-likelihood that is reported is that of what is left. For EM.

    Args:
        rate: From 0 to below 1.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        read_fields(self, rate=a_rate(least=0, below=1))


def perturbed(
    program: Program,
    batches: Iterable[Batch],
    perturbations: tuple[Perturbation, ...],
    seed: list[int],
) -> Iterator[Batch]:
    """The batches, each with noise of its own."""
    for number, batch in enumerate(batches):
        for place, perturbation in enumerate(perturbations):
            rng = np.random.default_rng([*seed, number, place])
            batch = perturbation(program, batch, rng)
        yield batch
