"""Sequences: learn dynamic circuits by EM, then forecast, fill gaps and tell classes.

    python examples/sequences.py [--output figures] [--seed 0] [--fast]
    python examples/sequences.py --data FILE.npz [--states 100] [--epochs 60]

Without `--data`: yearly sunspots since 1700 and quarterly growth of the United States'
economy since 1959, which come with statsmodels. The first part of each is learned, the
rest tells how well. With `--data`: many sequences, arrays `<split>_x` of all their
steps one after the other, `<split>_len` and perhaps labels `<split>_y`, for the splits
train, test and perhaps valid; binary steps of 88 notes may be packed to 11 bytes. With
labels every class gets a circuit of its own, and the test sequences are classified.

All answers are exact: likelihoods, forecasts and completions cost a few passes over the
sequence.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import sequence_figures as figures
import tensorflow as tf
from sequence_data import (
    Part,
    Series,
    independent,
    load_parts,
    load_series,
    one_variable_at_a_time,
)
from sklearn.cluster import KMeans

import tfp_spn

Distribution = tfp_spn.distributions.DynamicSumProductNetwork


# --- circuits and learning ----------------------------------------------------------


def build_template(num_variables: int, is_binary: bool, num_states: int) -> Any:
    """A circuit over one step with a root for each state.

    Its states are mixtures of the same `num_states` products of independent variables,
    so that what one state learns of them serves the others too.
    """
    if is_binary:
        leaf = tfp_spn.layers.BernoulliLeaf(num_states)
    else:
        half = keras.initializers.Constant(0.5)
        leaf = tfp_spn.layers.NormalLeaf(
            num_states, scale_trainable=True, scale_initializer=half, min_scale=0.1
        )
    return tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(num_variables),
        leaf,
        num_sums=num_states,
        num_classes=num_states,
        leaf_sums=False,
        accumulator_initializer=tfp_spn.initializers.Dirichlet(alpha=0.1),
    )


def build_chain(part: Part, num_states: int, seed: int) -> Any:
    """A chain of hidden states whose observations are the template's."""
    keras.utils.set_random_seed(seed)  # of initial weights
    is_binary = np.issubdtype(part.x.dtype, np.integer)
    template = build_template(part.x.shape[-1], is_binary, num_states)
    return tfp_spn.circuits.dynamic_from_circuit(template, num_steps=part.x.shape[1])


def learn(
    circuit: Any, part: Part, validation: Part | None = None, **settings: Any
) -> Distribution:
    """Learns by EM from the real steps."""
    if validation is not None:
        settings["validation_data"] = evidence(validation)
    tfp_spn.learning.fit(circuit, **evidence(part), **settings)
    return Distribution(circuit)


def begin_with_windows(
    circuit: Any, steps: np.ndarray, num_states: int, window: int, seed: int
) -> None:
    """Makes states of clusters of short windows: EM needs a start that knows of time.

    A state begins as what steps at the end of its windows are on average, and is
    followed by the states that follow it in the series.
    """
    ends = steps[window - 1 :]
    lagged = [steps[window - 1 - lag : len(steps) - lag] for lag in range(window)]
    clusters = KMeans(num_states, n_init=3, random_state=seed)
    states = clusters.fit_predict(np.concatenate(lagged, axis=1))
    follows = np.full((num_states, num_states), 0.1)
    np.add.at(follows, (states[:-1], states[1:]), 1)
    follows /= follows.sum(1, keepdims=True)
    first = np.full(num_states, 1 / num_states)
    params = circuit.live_params()
    for name, value in tfp_spn.circuits.chain_params(first, follows).items():
        params[name].assign(tf.cast(value, params[name].dtype))
    means = np.stack([ends[states == k].mean(0) for k in range(num_states)], axis=1)
    params["leaf_location"].assign(means[..., np.newaxis])
    own = 0.9 * np.eye(num_states) + 0.1 / num_states  # a product for each state
    params["sums_0"].assign(np.log(own)[np.newaxis])


def evidence(part: Part) -> dict[str, np.ndarray]:
    """What counts: the real steps."""
    observed = np.broadcast_to(part.is_step[..., np.newaxis], part.x.shape)
    return {"x": part.x, "observed": observed}


def log_probs(spn: Distribution, part: Part, batch_size: int = 100) -> np.ndarray:
    """``log p`` of each step given those before, ``[N, num_steps]``, 0 in padding."""
    blocks = np.array_split(np.arange(len(part.x)), max(1, len(part.x) // batch_size))
    return np.concatenate(
        [
            spn.predictive_log_probs(part.x[rows], lengths=part.lengths[rows])
            for rows in blocks
        ]
    )


def one_step_at_a_time(
    train: Part, test: np.ndarray, num_states: int, seed: int, epochs: int
) -> np.ndarray:
    """A mixture of as many products: the circuit without its memory."""
    keras.utils.set_random_seed(seed)
    is_binary = np.issubdtype(train.x.dtype, np.integer)
    template = build_template(train.x.shape[-1], is_binary, num_states)
    tfp_spn.learning.fit(
        template, train.steps, initialize=True, epochs=epochs, seed=seed, verbose=False
    )
    return np.asarray(tfp_spn.distributions.SumProductNetwork(template).log_prob(test))


def print_likelihood(name: str, values: np.ndarray) -> None:
    print(f"  {name:<44} {np.mean(values):9.3f} nats per step", flush=True)


# --- two long series -----------------------------------------------------------------


def study_series(series: Series, options: argparse.Namespace) -> None:
    x = series.x[np.newaxis]
    num_valid = series.num_train // 5
    num_train = series.num_train - num_valid
    train = Part(x, np.array([num_train]))
    validation = Part(np.roll(x, -num_train, axis=1), np.array([num_valid]))
    every = Part(x, np.array([len(series.x)]))
    num_states = options.states or series.num_states
    epochs = options.epochs or 60
    if options.fast:
        num_states, epochs = min(num_states, 12), min(epochs, 15)
    print(
        f"\n{series.name}, {series.x.shape[1]} variables: {num_train} steps to learn "
        f"from, {num_valid} to validate, {len(series.x) - series.num_train} to test; "
        f"{num_states} states",
        flush=True,
    )
    circuit = build_chain(train, num_states, options.seed)
    begin_with_windows(circuit, train.steps, num_states, series.window, options.seed)
    settings = {"epochs": epochs, "patience": 10, "pseudocount": 0.3}
    spn = learn(circuit, train, validation, **settings)
    test = slice(series.num_train, None)
    steps = series.x[test]
    print_likelihood("test, independent steps and variables", independent(train, steps))
    print_likelihood(
        "test, independent variables (autoregressive)",
        one_variable_at_a_time(train, every)[test],
    )
    print_likelihood(
        "test, independent steps (mixture)",
        one_step_at_a_time(train, steps, num_states, options.seed, epochs),
    )
    print_likelihood("test, dynamic circuit", log_probs(spn, every)[0, test])
    save = figures.saver(options.output, series.name)
    past = (series.times <= series.now)[:, np.newaxis]
    title = f"A forecast of {series.now:g}: mean, one and two standard deviations"
    save("forecast", figures.draw_completion(spn, series, past, title, options.seed))
    variables, start, end = series.hidden
    gap = (series.times >= start) & (series.times < end)
    observed = ~(gap[:, np.newaxis] & np.isin(np.arange(series.x.shape[1]), variables))
    title = f"A gap from {start:g} to {end:g}, filled from all that is around it"
    save("gap", figures.draw_completion(spn, series, observed, title, options.seed))
    save("states", figures.draw_states(spn, series))


# --- many sequences -------------------------------------------------------------------


def study_sequences(path: Path, options: argparse.Namespace) -> None:
    parts = load_parts(path)
    train, test = parts["train"], parts["test"]
    print(f"{path.stem}: {train.x.shape[-1]} variables;", end=" ")
    print(
        ", ".join(f"{len(p.x)} {s} ({p.lengths.sum()} steps)" for s, p in parts.items())
    )
    save = figures.saver(options.output, path.stem)
    settings: dict[str, Any] = {"batch_size": 80, "pseudocount": 0.1}
    settings["initialize"] = True
    if train.labels is not None:
        settings |= {"epochs": options.epochs or 15, "verbose": False}
        study_classes(train, test, options, settings, save)
        return
    settings |= {"epochs": options.epochs or 60, "patience": 5}
    num_states = options.states or 100
    if options.fast:
        num_states, settings["epochs"] = 10, 3
    print_likelihood(
        "test, independent steps and variables", independent(train, test.steps)
    )
    print_likelihood(
        "test, independent variables (Markov chains)",
        one_variable_at_a_time(train, test),
    )
    print_likelihood(
        "test, independent steps (mixture)",
        one_step_at_a_time(train, test.steps, num_states, options.seed, 30),
    )
    start = time.perf_counter()
    circuit = build_chain(train, num_states, options.seed)
    spn = learn(circuit, train, parts.get("valid"), **settings)
    print(f"  {num_states} states, learned in {time.perf_counter() - start:.0f} s")
    for split, part in parts.items():
        values = log_probs(spn, part)[part.is_step]
        print_likelihood(f"{split}, dynamic circuit", values)
    if np.issubdtype(test.x.dtype, np.integer):
        row = int(np.argmax(test.lengths >= 64))
        save("piano_roll", figures.draw_piano_roll(spn, test.x[row], options.seed))


def study_classes(
    train: Part, test: Part, options: argparse.Namespace, settings: dict, save: Any
) -> None:
    """Parameters for each class, learned from its sequences alone."""
    num_states = options.states or 6
    classes = np.unique(train.labels)
    start = time.perf_counter()
    circuit = build_chain(train, num_states, options.seed)
    live = circuit.live_params()
    begin = {name: variable.numpy() for name, variable in live.items()}
    params: dict[str, list] = {name: [] for name in live}
    for label in classes:
        for name, variable in live.items():
            variable.assign(begin[name])
        learn(circuit, train.of(train.labels == label), **settings)
        for name, variable in live.items():
            params[name].append(variable.numpy())
    print(
        f"  {len(classes)} circuits of {num_states} states, learned in "
        f"{time.perf_counter() - start:.0f} s"
    )
    # One distribution whose batch are the classes.
    spn = Distribution(circuit, {name: np.stack(p) for name, p in params.items()})
    observed = test.is_step[:, np.newaxis, :, np.newaxis]
    log_prob = np.asarray(spn.log_prob(test.x[:, np.newaxis], observed=observed))
    own = np.searchsorted(classes, test.labels)
    rows = np.arange(len(own))
    total = test.lengths.sum()
    values = independent(train, test.steps)
    print_likelihood("test, independent steps and variables, no class", values)
    values = one_variable_at_a_time(train, test)
    print_likelihood("test, independent variables, no class", values)
    print_likelihood("test, circuit of the class", log_prob[rows, own].sum() / total)
    static = [
        independent(train.of(train.labels == label), test.steps) for label in classes
    ]
    firsts = np.append(0, np.cumsum(test.lengths)[:-1])
    floor = np.add.reduceat(np.stack(static, 1), firsts).argmax(1)
    found = log_prob.argmax(1)
    print(f"  test accuracy, independent steps: {np.mean(floor == own):.1%}")
    print(f"  test accuracy, dynamic circuits: {np.mean(found == own):.1%}", flush=True)
    save("confusion", figures.draw_confusion(own, found, classes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("figures"))
    parser.add_argument("--data", type=Path, help="an .npz file of sequences")
    parser.add_argument("--states", type=int, help="hidden states")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="smaller circuits")
    options = parser.parse_args()
    if options.data is not None and not options.data.is_file():
        parser.error(f"--data: there is no file {options.data}")
    start = time.perf_counter()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.data is not None:
        study_sequences(options.data, options)
    else:
        for series in load_series():
            study_series(series, options)
    print(f"\nDone in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
