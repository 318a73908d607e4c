"""Export of a distribution's queries, to run where tfp_spn is not installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfp_spn._arguments import a_flag, reads
from tfp_spn._typing import Tensor
from tfp_spn.distributions.sum_product_network import SumProductNetwork


@reads(gradients=a_flag())
def export_saved_model(
    distribution: SumProductNetwork,
    path: str | os.PathLike,
    queries: Sequence[str] | None = None,
    gradients: bool = False,
) -> None:
    """Writes queries of a distribution as the signatures of a SavedModel.

    `tf.saved_model.load` reads it in a process with TensorFlow alone:

    - ``log_prob(value, observed)``: ``log_prob [N]`` of the observed variables;
    - ``sample(num_samples, seed)``: ``samples [num_samples, *event_shape]``;
    - ``condition(value, observed, num_samples, seed)``: ``samples [num_samples, N,
      *event_shape]`` and ``mode [N, *event_shape]``, ``mean`` too where there is one;
    - ``class_posterior(value, observed)``: ``probs [N, num_classes]`` and the most
      probable ``label [N]``.

    `value` is ``[N, *event_shape]`` of the distribution's dtype, `observed` bool ``[N,
    num_variables]`` (all `True`: everything counts), `num_samples` an int32 scalar,
    `seed` int32 ``[2]``: equal seeds, equal samples. Signatures are called with
    keywords and return a dict. Variables are saved as variables, with their present
    values.

    Args:
        distribution: A distribution without batch dimensions.
        path: Folder to write to.
        queries: Names of the signatures to write, each of which takes its time to
            trace. Default: all four.
        gradients: Whether what is loaded can be differentiated. Their functions are
            traced too then, which takes about three times as long.

    Raises:
        TypeError: The distribution is of another type.
        ValueError: It has batch dimensions, or a query is unknown.

    Example:
        >>> import tempfile, tensorflow as tf, tfp_spn
        >>> circuit = tfp_spn.circuits.from_region_graph(
        ...     tfp_spn.region_graphs.random_binary_trees(4, 1, num_repetitions=2),
        ...     leaf=tfp_spn.layers.NormalLeaf(num_components=2), num_sums=2)
        >>> spn = tfp_spn.distributions.SumProductNetwork(circuit)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tfp_spn.export_saved_model(spn, folder, ["log_prob", "sample"])
        ...     queries = tf.saved_model.load(folder).signatures
        >>> seed = tf.constant([0, 1])
        >>> queries["sample"](num_samples=tf.constant(3), seed=seed)["samples"].shape
        TensorShape([3, 4])
    """
    if not isinstance(distribution, SumProductNetwork):
        raise TypeError(
            f"export_saved_model: received a {type(distribution).__name__}, expected a "
            "tfp_spn.distributions.SumProductNetwork. Conditionals are exported with "
            "their distribution, which takes the evidence as an argument; make a "
            "distribution of a circuit or a stack of layers first."
        )
    if distribution.batch_shape.rank != 0:
        raise ValueError(
            "export_saved_model: received a distribution of batch shape "
            f"{tuple(distribution.batch_shape)}, expected none. Export its members one "
            "by one, for example distribution[0]."
        )
    names = list(_INPUTS if queries is None else queries)
    unknown = sorted(set(names) - set(_INPUTS))
    if unknown or not names:
        raise ValueError(
            f"export_saved_model: received queries={names}, expected some of "
            f"{list(_INPUTS)}. Leave queries out to write all of them."
        )
    module, specs = _Queries(distribution), _specs(distribution)
    signatures = {}
    for name in names:
        inputs = {argument: specs[argument] for argument in _INPUTS[name]}
        signatures[name] = getattr(module, name).get_concrete_function(**inputs)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=gradients)
    tf.saved_model.save(module, os.fspath(path), signatures, options)


_INPUTS = {
    "log_prob": ("value", "observed"),
    "sample": ("num_samples", "seed"),
    "condition": ("value", "observed", "num_samples", "seed"),
    "class_posterior": ("value", "observed"),
}


def _specs(distribution: SumProductNetwork) -> dict[str, tf.TensorSpec]:
    event = distribution.event_shape
    variables = event[: max(1, event.rank - 1)]  # pixels, if events are images
    return {
        "value": tf.TensorSpec([None, *event], distribution.dtype, "value"),
        "observed": tf.TensorSpec([None, *variables], tf.bool, "observed"),
        "num_samples": tf.TensorSpec([], tf.int32, "num_samples"),
        "seed": tf.TensorSpec([2], tf.int32, "seed"),
    }


class _Queries(tf.Module):
    """Owns the variables that the functions read."""

    def __init__(self, distribution: SumProductNetwork) -> None:
        super().__init__(name="queries")
        self.parameters = [v for v in distribution.variables]
        # Only TensorFlow's own objects may be tracked: others need their classes.
        self._distribution = self._no_dependency(distribution)

    @tf.function(autograph=False)
    def log_prob(self, value: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Marginal log-probability."""
        return {"log_prob": self._distribution.log_prob(value, observed=observed)}

    @tf.function(autograph=False)
    def sample(self, num_samples: Tensor, seed: Tensor) -> dict[str, Tensor]:
        """Samples."""
        return {"samples": self._distribution.sample(num_samples, seed=seed)}

    @tf.function(autograph=False)
    def condition(
        self, value: Tensor, observed: Tensor, num_samples: Tensor, seed: Tensor
    ) -> dict[str, Any]:
        """Samples and statistics given the evidence."""
        given = self._distribution.condition(value, observed)
        results = {"samples": given.sample(num_samples, seed=seed)}
        if self._distribution.program.leaf.has_mode:
            results["mode"] = given.mode()
        if self._distribution.program.leaf.has_moments:
            results["mean"] = given.mean()
        return results

    @tf.function(autograph=False)
    def class_posterior(self, value: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Class probabilities."""
        posterior = self._distribution.posterior_marginal(value, observed)
        probs = posterior.probs_parameter()
        return {"probs": probs, "label": tf.argmax(probs, -1, tf.int32)}
