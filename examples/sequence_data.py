"""The data of `sequences.py`, and what can be said of them without dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


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
        window: Steps that are clustered together for a start.
        hidden: Variables and years, from and to, of a gap to be filled.
        now: The year when the forecast is made.
    """

    name: str
    x: np.ndarray
    times: np.ndarray
    variables: list[str]
    num_train: int
    num_states: int
    window: int
    hidden: tuple[list[int], float, float]
    now: float


def load_series() -> list[Series]:
    """The two that come with statsmodels."""
    from statsmodels.datasets import macrodata, sunspots

    data = sunspots.load_pandas().data
    roots = np.sqrt(data["SUNACTIVITY"].to_numpy())[:, np.newaxis]
    years = data["YEAR"].to_numpy()
    sun = Series(
        "sunspots", standardised(roots, 230), years, ["sunspots (root)"], 230, 24, 3,
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
        "economy", standardised(x, 150), times, names, 150, 4, 1,
        ([0, 1, 6], 1973, 1977), 1974.75,
    )  # fmt: skip
    return [sun, economy]


def standardised(x: np.ndarray, num_train: int) -> np.ndarray:
    part = x[:num_train]
    return ((x - part.mean(0)) / part.std(0)).astype("float32")


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


def normal(x: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    """The logarithm of a normal density."""
    z = (x - mean) / stddev
    return -0.5 * (z**2 + np.log(2 * np.pi)) - np.log(stddev)
