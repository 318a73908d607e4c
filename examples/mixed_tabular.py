"""Tables of mixed types: learn with missing cells, compare with independence, impute.

    python examples/mixed_tabular.py [--data FILE.npz] [--epochs 60] [--seed 0] [--fast]

By default the table is synthetic: 6000 days of invented weather of four hidden kinds,
in seven columns of as many types. A file has the arrays `train`, `valid` and `test`,
floats with NaN where a value is missing, and `meta_types`, one number for each column:
1 real, 2 binary, 3 integer. Integers of many values are modelled as counts, others as
categories; real columns with a long tail as log-normal, or, where zeros occur, by
``log(1 + x)``.

The floor to beat is a circuit of the same leaves whose variables are independent: each
column is a mixture of as many components by itself. Both see the same training cells,
of which some are hidden at random, and learn by EM.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfp_spn
from tfp_spn import layers

HIDDEN = 0.1  # of the training cells
TO_IMPUTE = 0.2  # of the test cells
MOST_CATEGORIES = 16
LONG_TAIL = 5.0  # so many times the median, or the mean, is far out


@dataclass(frozen=True)
class Column:
    """A column's type; its values are shifted, then divided by the scale."""

    kind: str
    size: int = 0  # of categories and counts: the highest value
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Table:
    """Rows with NaN where a value is missing."""

    columns: list[Column]
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def synthetic_weather(num_rows: int, seed: int) -> Table:
    """Days of four kinds; what is seen of a day depends on its kind alone."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, num_rows, p=[0.4, 0.3, 0.2, 0.1])

    def of(*values: float) -> np.ndarray:
        return np.asarray(values)[kind]

    season = rng.choice(4, num_rows)
    likely = rng.random(num_rows) < 0.7
    x = np.stack(
        [
            rng.normal(of(5, 15, 25, 0), of(4, 3, 3, 2)),  # temperature
            rng.gamma(of(1, 4, 2, 9), of(1.0, 0.5, 3.0, 0.8)) + 1e-3,  # wind
            rng.poisson(of(1, 4, 0.3, 9)),  # showers
            rng.random(num_rows) < of(0.1, 0.5, 0.02, 0.9),  # fog
            np.where(likely, of(3, 0, 1, 2), season),  # season
            rng.vonmises(of(-2, 0, 1.5, 3), of(2, 4, 1, 8)),  # direction of the wind
            np.clip(rng.beta(of(2, 5, 1, 9), of(2, 2, 6, 1)), 1e-4, 1 - 1e-4),  # clouds
        ],
        axis=1,
    )
    kinds = ["real", "positive", "count", "binary", "category", "angle", "proportion"]
    columns = [
        Column("real", shift=x[:, 0].mean(), scale=x[:, 0].std()),
        *(Column(k, size=int(x[:, j + 1].max())) for j, k in enumerate(kinds[1:])),
    ]
    x[:, 0] = (x[:, 0] - columns[0].shift) / columns[0].scale
    train, valid, test = np.split(x, [num_rows * 2 // 3, num_rows * 5 // 6])
    return Table(columns, train, valid, test)


def read_table(path: Path) -> Table:
    """A file; columns are scaled by what the training part shows."""
    with np.load(path) as file:
        parts = {k: file[k].astype(np.float64) for k in ("train", "valid", "test")}
        types = file["meta_types"]
    everything = np.concatenate(list(parts.values()))
    columns = []
    for j, number in enumerate(types):
        seen = parts["train"][:, j]
        seen = seen[~np.isnan(seen)]
        high = int(np.nanmax(everything[:, j]))
        if number == 2:
            columns.append(Column("binary", size=1))
        elif number == 3:
            kind = "category" if high < MOST_CATEGORIES else "count"
            columns.append(Column(kind, size=high))
        elif seen.min() > 0 and seen.max() > LONG_TAIL * np.median(seen):
            columns.append(Column("positive", scale=seen.mean()))
        else:
            if seen.min() >= 0 and seen.max() > LONG_TAIL * np.mean(seen):
                for x in parts.values():
                    x[:, j] = np.log1p(x[:, j])
                seen = np.log1p(seen)
            columns.append(Column("real", shift=seen.mean(), scale=seen.std()))
    shift = np.array([column.shift for column in columns])
    scale = np.array([column.scale for column in columns])
    return Table(columns, **{k: (x - shift) / scale for k, x in parts.items()})


def leaf_of(column: Column, width: int) -> Any:
    """A leaf layer for all columns of a type."""
    if column.kind == "real":
        return layers.NormalLeaf(width, scale_trainable=True, min_scale=0.02)
    if column.kind == "binary":
        return layers.BernoulliLeaf(width)
    if column.kind == "category":
        return layers.CategoricalLeaf(width, num_categories=column.size + 1)
    family = {
        "positive": "LogNormal",
        "angle": "VonMises",
        "proportion": "Beta",
        "count": "NegativeBinomial",
    }[column.kind]
    if column.kind == "count":  # beyond a Poisson: of any greater spread
        if column.size > 20:
            return layers.BinomialLeaf(width, total_count=column.size)
        return layers.DistributionLeaf("Poisson", width)
    return layers.DistributionLeaf(family, width)


def build(columns: list[Column], graph: Any, width: int, num_sums: int) -> Any:
    """A circuit whose leaves are grouped by type: equal leaf layers share tables."""
    groups: dict[tuple[str, int], list[int]] = {}
    for j, column in enumerate(columns):
        size = column.size if column.kind in ("category", "count") else 0
        groups.setdefault((column.kind, size), []).append(j)
    leaves = [(leaf_of(columns[g[0]], width), g) for g in groups.values()]
    circuit = tfp_spn.circuits.from_region_graph(
        graph,
        layers.MixedLeaf(leaves),
        num_sums=num_sums,
        accumulator_initializer=tfp_spn.initializers.Dirichlet(alpha=0.3),
    )
    return tfp_spn.distributions.SumProductNetwork(circuit)


def learn(spn: Any, table: Table, epochs: int, seed: int) -> Any:
    """EM on the cells that are there and not hidden."""
    rng = np.random.default_rng([seed, 1])
    observed = ~np.isnan(table.train) & (rng.random(table.train.shape) >= HIDDEN)
    validation = {"x": table.valid, "observed": ~np.isnan(table.valid)}
    return tfp_spn.learning.fit(
        spn,
        table.train,
        observed=observed,
        validation_data=validation,
        epochs=epochs,
        patience=8,
        initialize=True,
        pseudocount=0.1,
        seed=seed,
        verbose=False,
    )


def impute(spn: Any, x: np.ndarray, observed: np.ndarray) -> dict[str, np.ndarray]:
    """Conditional means of numbers, and the most probable value of each category."""
    given = spn.condition(x.astype("float32"), observed)
    posteriors = given.univariate_posteriors()
    probs = {}
    for part in spn.program.leaf.parts(spn.program.layout):
        if isinstance(part.leaf, layers.CategoricalLeaf | layers.BernoulliLeaf):
            size = getattr(part.leaf, "num_categories", 2)
            for v in part.variables:
                one = posteriors.of_variable(int(v))
                values = np.arange(size)[:, np.newaxis]
                probs[int(v)] = np.asarray(one.prob(values)).argmax(0)
    best = np.full(x.shape, np.nan)
    for v, value in probs.items():
        best[:, v] = value
    return {"mean": np.asarray(given.mean()), "best": best}


def print_imputation(spn: Any, table: Table, seed: int) -> None:
    """Losses on hidden test cells, beside those of the column's mean or mode."""
    rng = np.random.default_rng([seed, 2])
    x, known = table.test, ~np.isnan(table.test)
    hidden = known & (rng.random(x.shape) < TO_IMPUTE)
    filled = impute(spn, np.nan_to_num(x), known & ~hidden)
    losses: dict[str, list[np.ndarray]] = {}  # of the circuit and of the floor
    for j, column in enumerate(table.columns):
        rows, train = hidden[:, j], table.train[:, j]
        train, truth = train[~np.isnan(train)], x[rows, j]
        if not rows.any() or column.kind == "angle":  # angles have no mean
            continue
        if column.kind in ("category", "binary"):
            values, counts = np.unique(train, return_counts=True)
            guesses = [filled["best"][rows, j], values[counts.argmax()]]
            wrong = np.stack([np.not_equal(guess, truth) for guess in guesses])
            losses.setdefault(f"{column.kind}: wrong", []).append(wrong)
            continue
        guesses = [filled["mean"][rows, j], train.mean()]
        off = np.stack([guess - truth for guess in guesses]) / train.std()
        losses.setdefault(f"{column.kind}: squared error", []).append(np.square(off))
        losses.setdefault(f"{column.kind}: absolute error", []).append(np.abs(off))
    print(
        f"\n{TO_IMPUTE:.0%} of the test cells imputed by conditional means (modes of "
        "categories), errors in standard deviations"
    )
    print(f"  {'':<30} circuit  mean or mode    gain   (columns)")
    for kind, parts in sorted(losses.items()):
        own, floor = np.concatenate(parts, axis=1).astype(float)
        gain, error = floor - own, (floor - own).std() / len(own) ** 0.5
        print(
            f"  {kind:<30} {own.mean():7.3f} {floor.mean():13.3f} "
            f"{gain.mean():7.4f} +- {error:.4f}  ({len(parts)})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a table as .npz")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--width", type=int, default=24, help="sums and components")
    parser.add_argument("--trees", type=int, default=6, help="trees of the structure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="a smaller table")
    options = parser.parse_args()
    width, epochs, num_rows = options.width, options.epochs, 6000
    if options.fast:
        width, epochs, num_rows = min(width, 8), min(epochs, 15), 1500
    start = time.perf_counter()
    if options.data is None:
        table = synthetic_weather(num_rows, options.seed)
    elif options.data.exists():
        table = read_table(options.data)
    else:
        parser.error(f"{options.data} does not exist")
    num_columns = len(table.columns)
    kinds = [column.kind for column in table.columns]
    print(f"{len(table.train)} rows of {num_columns} columns:", ", ".join(kinds))

    keras.utils.set_random_seed(options.seed)
    depth = int(np.log2(num_columns))
    trees = tfp_spn.region_graphs.random_binary_trees(
        num_columns, depth, num_repetitions=options.trees, seed=options.seed
    )
    independent = tfp_spn.region_graphs.fully_factorized(num_columns)
    observed = ~np.isnan(table.test)
    test = np.nan_to_num(table.test).astype("float32")
    log_probs = {}
    models = {"independent leaves": (independent, 1), "circuit": (trees, width)}
    for name, (graph, num_sums) in models.items():
        spn = build(table.columns, graph, width, num_sums)
        history = learn(spn, table, epochs, options.seed)
        log_probs[name] = np.asarray(spn.log_prob(test, observed=observed))
        value = log_probs[name]
        print(
            f"  {name:<20} {spn.circuit.count_params():7d} parameters, "
            f"{history.epochs:3d} epochs, test log-likelihood {value.mean():8.3f} "
            f"+- {value.std() / len(value) ** 0.5:.3f}",
            flush=True,
        )
    margin = log_probs["circuit"] - log_probs["independent leaves"]
    error = margin.std() / len(margin) ** 0.5
    print(f"  margin over independent leaves {margin.mean():.3f} +- {error:.3f} nats")
    print_imputation(spn, table, options.seed)
    print(f"\nDone in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
