"""The regularization of `fit`, by what it acts on."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tfp_spn._keras_typing import Regularizer
from tfp_spn.learning.adjustment import Adjustment
from tfp_spn.learning.e_step import EStep
from tfp_spn.learning.method import Method
from tfp_spn.learning.perturbations import Perturbation, SumDropout


@dataclass(frozen=True, eq=False)
class Regularization:
    """What `fit` was given, sorted.

    Attributes:
        adjustments: Of expected counts, for EM.
        perturbations: Of batches.
        e_step: What the E-step does besides.
        regularizer: Of the parameters, for gradients.
        identity: What a checkpoint records.
    """

    adjustments: tuple[Adjustment, ...]
    perturbations: tuple[Perturbation, ...]
    e_step: EStep
    regularizer: Regularizer | None
    identity: list[str]


def regularization_of(given: Regularizer | None, method: Method) -> Regularization:
    """Sorts one regularization, or a list of them.

    Raises:
        TypeError: One is none.
        ValueError: One is not for this method, or there are two of one kind.
    """
    items = [] if given is None else given
    items = list(items) if isinstance(items, list | tuple) else [items]
    is_regularizer = keras.regularizers.Regularizer
    for item in items:
        kinds = (Adjustment, Perturbation, SumDropout, is_regularizer)
        if not isinstance(item, kinds):
            raise TypeError(
                "fit: regularization is of objects, received a "
                f"{type(item).__name__}, expected tfp_spn.learning.SumEntropy, "
                "ExpectedCounts, MarginalPseudocount, DataSoftening, InputDropout or "
                "SumDropout, or a keras.regularizers.Regularizer. Choose some of these."
            )
        is_wrong = (
            not isinstance(item, Perturbation)
            and isinstance(item, is_regularizer) != method.is_gradient
        )
        if is_wrong:
            raise ValueError(
                f"fit: a regularization of another method, received {item!r} for "
                f"{'gradients' if method.is_gradient else 'EM'}, expected "
                f"{'one of Keras' if method.is_gradient else 'one of EM'} or a "
                "perturbation of data. Leave it out, or choose another method."
            )
    for kind, name in ((SumDropout, "SumDropout"), (is_regularizer, "a regularizer")):
        if sum(isinstance(item, kind) for item in items) > 1:
            raise ValueError(
                f"fit: {name} comes twice, received regularization={items!r}, expected "
                "it once. Leave out the other, or use keras.regularizers.L1L2."
            )
    adjustments = tuple(item for item in items if isinstance(item, Adjustment))
    rates = [item.rate for item in items if isinstance(item, SumDropout)]
    regularizers = [item for item in items if isinstance(item, is_regularizer)]
    return Regularization(
        adjustments,
        tuple(item for item in items if isinstance(item, Perturbation)),
        EStep(
            with_marginals=any(a.needs_marginals for a in adjustments),
            sum_dropout=rates[0] if rates else 0.0,
        ),
        regularizers[0] if regularizers else None,
        [
            str(item.get_config()) if isinstance(item, is_regularizer) else repr(item)
            for item in items
        ],
    )
