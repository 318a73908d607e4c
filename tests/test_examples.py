"""The examples run in their short form, print what they promise and write figures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.processes import output_of

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
    return output_of(EXAMPLES / name, *arguments)


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


@pytest.mark.slow
@pytest.mark.examples
def test_classification(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    printed = run_example("classification.py", "--output", str(tmp_path))
    accuracies = numbers(r"of test images (\S+)%", printed)
    assert accuracies[-1] > 90
    hidden = numbers(r"hidden(?: at random)?: (\S+)%", printed)
    assert len(hidden) == 5
    assert min(hidden) > 20
    assert len(list(tmp_path.glob("classification_*.png"))) == 2


@pytest.mark.slow
@pytest.mark.examples
def test_completion(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    printed = run_example("completion.py", "--epochs", "4", "--output", str(tmp_path))
    for half in ("left", "bottom"):
        guesses = numbers(rf"{half} half hidden: mean image (\S+),", printed)
        errors = numbers(rf"{half} known (\d+)", printed)
        assert errors[-1] < guesses[0]
    assert {path.name for path in tmp_path.iterdir()} == {
        "completion_errors.png",
        "completions_bottom_half.png",
        "completions_left_half.png",
    }


@pytest.mark.slow
@pytest.mark.examples
def test_vae(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    printed = run_example("vae.py", "--fast", "--seeds", "2", "--output", str(tmp_path))
    kinds = ("normal", "mixture", "spn_prior", "spn_pixels")
    for kind in kinds:
        bounds = re.findall(rf"seed \d {kind} +ELBO +(\S+) +weighted +(\S+)", printed)
        assert len(bounds) == 2
        for elbo, weighted in bounds:
            assert -64 * 0.7 < float(elbo) < float(weighted) < 0  # of 64 binary pixels
        assert len(numbers(rf"\n  {kind} +(-\S+) \+- ", printed)) == 2  # both tables
    figures = {"samples", "reconstructions", *(f"completions_{k}" for k in kinds)}
    assert {path.stem for path in tmp_path.iterdir()} == figures


SEQUENCE_FIGURES = {
    f"{series}_{figure}.png"
    for series in ("sunspots", "economy")
    for figure in ("forecast", "gap", "states")
}


@pytest.mark.examples
def test_sequences(tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    output = tmp_path / "figures"
    printed = run_example("sequences.py", "--fast", "--output", str(output))
    floor = numbers(r"test, independent steps and variables +(\S+) nats", printed)
    circuits = numbers(r"test, dynamic circuit +(\S+) nats", printed)
    assert len(floor) == len(circuits) == 2
    assert all(have > low for have, low in zip(circuits, floor, strict=True))
    assert {path.name for path in output.iterdir()} == SEQUENCE_FIGURES
    for path in output.iterdir():
        assert path.stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.examples
def test_sequences_of_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 12), ("test", 8)):
        labels = np.arange(count) % 2
        lengths = rng.integers(3, 9, count)
        steps = [
            np.cumsum(rng.normal((2 * label - 1) * 0.5, 1.0, (length, 2)), axis=0)
            for label, length in zip(labels, lengths, strict=True)
        ]
        x = np.concatenate(steps).astype("float32")
        arrays |= {f"{split}_x": x, f"{split}_len": lengths, f"{split}_y": labels}
    np.savez(tmp_path / "walks.npz", **arrays)
    output = tmp_path / "figures"
    arguments = ["--data", str(tmp_path / "walks.npz"), "--output", str(output)]
    printed = run_example("sequences.py", "--states", "2", "--epochs", "3", *arguments)
    [accuracy] = numbers(r"test accuracy, dynamic circuits: +(\S+)%", printed)
    assert 50 <= accuracy <= 100
    assert {path.name for path in output.iterdir()} == {"walks_confusion.png"}


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


@pytest.mark.examples
def test_image_classes(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    arguments = ["--train", "400", "--units", "6", "--epochs", "12", "--verbose", "0"]
    arguments += ["--lambdas", "0", "0.5", "--output", str(tmp_path)]
    arguments += ["--batch-size", "20", "--learning-rate", "0.05"]
    printed = run_example("image_classes.py", *arguments)
    rows = re.findall(r"^ *(0\.\d0) +(0\.\d+) +(\S+) +(\S+) +(\S+)", printed, re.M)
    assert [row[0] for row in rows[:2]] == ["0.00", "0.50"]
    generative, hybrid = ([float(v) for v in row[1:]] for row in rows[:2])
    assert hybrid[0] > 0.5
    assert hybrid[2] < generative[2]  # the discriminative loss
    assert generative[1] < hybrid[1]
    names = ("training", "missing", "log_likelihood", "class_samples", "completions")
    figures = {f"digits_{name}.png" for name in names}
    assert {path.name for path in tmp_path.glob("*.png")} == figures
    again = run_example("image_classes.py", *arguments, "--lambdas", "0.5")
    assert "parameters" in printed
    assert "parameters" not in again  # it comes from the cache
    pattern = r"^ 0.50.*%.*(?= \()"
    assert re.findall(pattern, again, re.M) == re.findall(pattern, printed, re.M) != []


@pytest.mark.examples
def test_images_that_are_not_there(tmp_path: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import image_data
    finally:
        sys.path.remove(str(EXAMPLES))
    with pytest.raises(SystemExit, match="no data set is called 'nmist'; expected dig"):
        image_data.load_images("nmist")
    with pytest.raises(SystemExit, match=r"there is no file x\.npz. Correct"):
        image_data.load_images("x.npz")
    x, y = np.zeros([5, 4, 4], np.uint8), np.arange(5)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = image_data.load_images(str(tmp_path / "a.npz"))
    assert (data.shape, data.num_values) == ((4, 4), 256)
    assert (len(data.train[0]), len(data.validation[0])) == (4, 1)
    np.savez(tmp_path / "b.npz", test_x=x)
    with pytest.raises(SystemExit, match=r"lacks arrays, received \['test_x'\]"):
        image_data.load_images(str(tmp_path / "b.npz"))
    with pytest.raises(SystemExit, match=r"received \(4, 4\), expected \(8, 8\)"):
        image_data.load_strangers(str(tmp_path / "b.npz"), (8, 8), 17)


@pytest.mark.examples
def test_image_parametrisations() -> None:
    pytest.importorskip("sklearn")
    arguments = ["--region-graphs", "quad-graph", "--sum-products", "cp", "cp-t"]
    arguments += ["--train", "300", "--units", "2", "--epochs", "3"]
    printed = run_example("benchmarks/images.py", *arguments)
    rows = re.findall(r"^quad-graph +(cp|cp-t) .* (adam|em) .* (\S+)$", printed, re.M)
    assert [row[:2] for row in rows] == [
        (product, method) for product in ("cp", "cp-t") for method in ("adam", "em")
    ]
    assert all(1.5 < float(bits) < np.log2(17) for *_, bits in rows)
