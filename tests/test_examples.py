"""The examples run in their short form, print what they promise and write figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MARGIN = (
    r"margin over independent leaves (\S+) ",
    r"margin over independent leaves \S+ \+- (\S+)",
)
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

DIGITS_FIGURES = {
    "class_posteriors.png",
    "class_samples.png",
    "completions_bottom_hidden.png",
    "completions_left_hidden.png",
    "completions_right_hidden.png",
    "completions_top_hidden.png",
    "learning_curve.png",
    "region_graph.png",
    "samples.png",
}


def run_example(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, text)]


@pytest.mark.examples
def test_digits(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    printed = run_example("digits.py", "--fast", "--output", str(tmp_path / "figures"))

    floor = numbers(r"test, independent pixels +(\S+) nats", printed)
    circuits = numbers(r"test, circuit(?: with classes)? +(\S+) nats", printed)
    assert len(floor) == 1
    assert len(circuits) == 2
    assert min(circuits) > floor[0] + 5

    accuracies = numbers(r"% of pixels hidden: +(\S+)%", printed)
    assert len(accuracies) == 4
    assert accuracies[0] > 80
    assert accuracies[0] >= accuracies[-1] > 30

    assert {path.name for path in (tmp_path / "figures").iterdir()} == DIGITS_FIGURES
    for path in (tmp_path / "figures").iterdir():
        assert path.stat().st_size > 5_000


@pytest.mark.examples
@pytest.mark.slow
def test_mixed_tabular(tmp_path: Path) -> None:
    printed = run_example("mixed_tabular.py", "--fast")
    margin, error = (numbers(pattern, printed)[0] for pattern in MARGIN)
    assert margin > 1 + 5 * error
    gains = numbers(r" (\S+) \+- \S+  \(1\)", printed)
    assert len(gains) == 10
    assert min(gains) > 0

    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, [400, 1])
    x = np.where(rng.random([400, 3]) < 0.9, kind, 1 - kind).astype("float32")
    x[:, 0] = rng.gamma(1 + 8 * kind[:, 0])
    x[5, 1] = np.nan
    parts = dict(zip(("train", "valid", "test"), np.split(x, [200, 300]), strict=True))
    np.savez(tmp_path / "table.npz", meta_types=[1, 2, 3], **parts)
    path = str(tmp_path / "table.npz")
    printed = run_example("mixed_tabular.py", "--fast", "--data", path)
    assert "200 rows of 3 columns: real, binary, category" in printed
    assert numbers(MARGIN[0], printed)[0] > 0


def test_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in EXAMPLES.glob("*.py") if path.name not in text]
    assert not missing
