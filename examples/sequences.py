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
from typing import Any, NamedTuple

import keras
import numpy as np
import sequence_figures as figures

import tfp_spn

Distribution = tfp_spn.distributions.DynamicSumProductNetwork


class Part(NamedTuple):
    """Sequences, padded on the right.

    Attributes:
        x: ``[N, num_steps, V]``.
        lengths: int ``[N]``.
        labels: int ``[N]`` or `None`.
    """

    x: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray | None = None

    @property
    def is_step(self) -> np.ndarray:
        """The mask of real steps, ``[N, num_steps]``."""
        return np.arange(self.x.shape[1]) < self.lengths[:, np.newaxis]

    @property
    def steps(self) -> np.ndarray:
        """All real steps, ``[sum of lengths, V]``."""
        return self.x[self.is_step]

    def of(self, rows: np.ndarray) -> Part:
        """Some of the sequences."""
        labels = None if self.labels is None else self.labels[rows]
        return Part(self.x[rows], self.lengths[rows], labels)


# --- circuits and learning ----------------------------------------------------------


def build_template(num_variables: int, is_binary: bool, num_states: int) -> Any:
    """A circuit over one step with a root for each state.

    Its states are mixtures of the same `num_states` products of independent variables,
    so that what one state learns of them serves the others too.
    """
    if is_binary:
        leaf = tfp_spn.layers.BernoulliLeaf(num_states)
    else:
        leaf = tfp_spn.layers.NormalLeaf(
            num_states, scale_trainable=True, min_scale=0.1
        )
    return tfp_spn.circuits.from_region_graph(
        tfp_spn.region_graphs.fully_factorized(num_variables),
        leaf,
        num_sums=num_states,
        num_classes=num_states,
        leaf_sums=False,
        accumulator_initializer=tfp_spn.initializers.Dirichlet(alpha=0.1),
    )


def learn(
    part: Part, num_states: int, seed: int, validation: Part | None = None, **settings
) -> Distribution:
    """A chain of hidden states whose observations are the template's."""
    keras.utils.set_random_seed(seed)  # of initial weights
    is_binary = np.issubdtype(part.x.dtype, np.integer)
    template = build_template(part.x.shape[-1], is_binary, num_states)
    circuit = tfp_spn.circuits.dynamic_from_circuit(template, num_steps=part.x.shape[1])
    if validation is not None:
        settings["validation_data"] = evidence(validation)
    tfp_spn.learning.fit(
        circuit, seed=seed, initialize=True, **evidence(part), **settings
    )
    return Distribution(circuit)


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


# --- floors: what is lost without dependencies ---------------------------------------


def independent(train: Part, test: np.ndarray) -> np.ndarray:
    """Neither steps nor variables know of each other; ``[len(test)]``."""
    steps = train.steps
    if np.issubdtype(steps.dtype, np.integer):
        p = (steps.sum(0) + 1) / (len(steps) + 2)
        return np.where(test == 1, np.log(p), np.log1p(-p)).sum(-1)
    return normal(test, steps.mean(0), steps.std(0)).sum(-1)


def one_variable_at_a_time(train: Part, test: Part) -> np.ndarray:
    """Each variable is a Markov chain of its own, linear if it is real.

    Returns ``[sum of lengths of test]``.
    """

    def pairs(part: Part) -> tuple[np.ndarray, np.ndarray]:
        both = part.is_step[:, 1:]
        return part.x[:, :-1][both], part.x[:, 1:][both]

    (before, after), (before_test, after_test) = pairs(train), pairs(test)
    first = independent(train, test.x[:, 0])
    if np.issubdtype(train.x.dtype, np.integer):
        rest = np.zeros(len(after_test))
        for value in (0, 1):
            rows = before == value
            p = ((after * rows).sum(0) + 0.1) / (rows.sum(0) + 0.2)
            term = np.where(after_test == 1, np.log(p), np.log1p(-p))
            rest += np.where(before_test == value, term, 0).sum(-1)
        return np.concatenate([first, rest])
    mean, centre = before.mean(0), after.mean(0)
    slope = ((before - mean) * (after - centre)).sum(0) / ((before - mean) ** 2).sum(0)
    error = (after - centre - slope * (before - mean)).std(0)
    foretold = centre + slope * (before_test - mean)
    return np.concatenate([first, normal(after_test, foretold, error).sum(-1)])


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


def normal(x: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    """The logarithm of a normal density."""
    z = (x - mean) / stddev
    return -0.5 * (z**2 + np.log(2 * np.pi)) - np.log(stddev)


def print_likelihood(name: str, values: np.ndarray) -> None:
    print(f"  {name:<44} {np.mean(values):9.3f} nats per step", flush=True)


# --- two long series -----------------------------------------------------------------


class Series(NamedTuple):
    """One long sequence.

    Attributes:
        name: For headings and files.
        x: ``[num_steps, V]``, standardised by its first part.
        times: ``[num_steps]``, in years.
        variables: Their names.
        num_train: Steps before those for testing; the last fifth of them tells when to
            stop.
        num_states: Hidden states.
        hidden: Variables and years, from and to, of a gap to be filled.
        now: The year when the forecast is made.
    """

    name: str
    x: np.ndarray
    times: np.ndarray
    variables: list[str]
    num_train: int
    num_states: int
    hidden: tuple[list[int], float, float]
    now: float


def load_series() -> list[Series]:
    """The two that come with statsmodels."""
    from statsmodels.datasets import macrodata, sunspots

    data = sunspots.load_pandas().data
    roots = np.sqrt(data["SUNACTIVITY"].to_numpy())[:, np.newaxis]
    years = data["YEAR"].to_numpy()
    sun = Series(
        "sunspots", standardised(roots, 230), years, ["sunspots (root)"], 230, 32,
        ([0], 1950, 1970), 1965,
    )  # fmt: skip
    data = macrodata.load_pandas().data
    growth = ["realgdp", "realcons", "realinv", "realdpi", "cpi"]
    changes = ["tbilrate", "unemp"]
    x = np.concatenate(
        [
            100 * np.diff(np.log(data[growth].to_numpy()), axis=0),
            np.diff(data[changes].to_numpy(), axis=0),
        ],
        axis=1,
    )
    times = (data["year"] + (data["quarter"] - 1) / 4).to_numpy()[1:]
    names = ["GDP", "consumption", "investment", "income", "prices"]
    names += ["interest rate", "unemployment"]
    economy = Series(
        "economy", standardised(x, 150), times, names, 150, 4,
        ([0, 1, 6], 1973, 1977), 1974.75,
    )  # fmt: skip
    return [sun, economy]


def standardised(x: np.ndarray, num_train: int) -> np.ndarray:
    part = x[:num_train]
    return ((x - part.mean(0)) / part.std(0)).astype("float32")


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
    settings = {"epochs": epochs, "patience": 10, "pseudocount": 0.3}
    spn = learn(train, num_states, options.seed, validation, **settings)
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


def load_parts(path: Path) -> dict[str, Part]:
    """The splits of a file, padded to one length."""
    with np.load(path) as data:
        splits = [s for s in ("train", "valid", "test") if f"{s}_x" in data]
        if "train" not in splits or "test" not in splits:
            raise SystemExit(f"{path}: expected arrays train_x and test_x")
        lengths = {s: data[f"{s}_len"].astype(int) for s in splits}
        num_steps = max(each.max() for each in lengths.values())
        parts = {}
        for split in splits:
            steps = data[f"{split}_x"]
            if steps.dtype == np.uint8 and steps.shape[-1] == 11:
                steps = np.unpackbits(steps, axis=1)[:, :88]
            is_real = np.issubdtype(steps.dtype, np.floating)
            shape = (len(lengths[split]), num_steps, steps.shape[-1])
            x = np.zeros(shape, "float32" if is_real else "int32")
            x[np.arange(num_steps) < lengths[split][:, np.newaxis]] = steps
            labels = data.get(f"{split}_y")
            parts[split] = Part(x, lengths[split], labels)
    train = parts["train"].steps
    if np.issubdtype(train.dtype, np.floating):
        mean, stddev = train.mean(0), train.std(0)
        parts = {s: p._replace(x=(p.x - mean) / stddev) for s, p in parts.items()}
    return parts


def study_sequences(path: Path, options: argparse.Namespace) -> None:
    parts = load_parts(path)
    train, test = parts["train"], parts["test"]
    print(f"{path.stem}: {train.x.shape[-1]} variables;", end=" ")
    print(
        ", ".join(f"{len(p.x)} {s} ({p.lengths.sum()} steps)" for s, p in parts.items())
    )
    save = figures.saver(options.output, path.stem)
    settings: dict[str, Any] = {"batch_size": 80, "pseudocount": 0.1}
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
    spn = learn(train, num_states, options.seed, parts.get("valid"), **settings)
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
    """A circuit for each class, learned from its sequences alone."""
    num_states = options.states or 6
    classes = np.unique(train.labels)
    start = time.perf_counter()
    scores = []
    for label in classes:
        part = train.of(train.labels == label)
        spn = learn(part, num_states, options.seed, **settings)
        scores.append(log_probs(spn, test, 400).sum(-1))
    print(
        f"  {len(classes)} circuits of {num_states} states, learned in "
        f"{time.perf_counter() - start:.0f} s"
    )
    log_prob = np.stack(scores, axis=1)  # [N, classes]
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
