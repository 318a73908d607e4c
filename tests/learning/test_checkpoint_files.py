"""Checkpoints of `fit`: whose they are, damaged ones, and interrupted writing."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.data.v0_1 import write as v0_1
from tests.learning.learning_cases import assert_same, data_of, values_of
from tests.processes import output_of
from tfp_spn import circuits, constraints, layers, region_graphs, sum_ops
from tfp_spn._function_identity import function_identity
from tfp_spn.learning import (
    ExpectationMaximization,
    GradientAscent,
    checkpoint_file,
    fit,
)
from tfp_spn.learning.circuit_identity import circuit_identity

X = data_of("normal", 30)
GRAPH = region_graphs.random_binary_trees(4, 2, 2, seed=0)


def run(circuit: Any, path: Path, epochs: int = 2, x: Any = X, **kwargs: Any) -> Any:
    return fit(circuit, x, epochs=epochs, checkpoint=path, verbose=False, **kwargs)


def normal(**kwargs: Any) -> Any:
    return layers.NormalLeaf(2, scale_trainable=True, **kwargs)


def over(leaf: Any, graph: Any = GRAPH, **kwargs: Any) -> Any:
    return circuits.from_region_graph(graph, leaf, 2, **kwargs)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "fit.npz"
    run(over(normal()), path)
    return path.read_bytes()


# --- going on ------------------------------------------------------------------------


def test_a_fit_goes_on_with_the_smoothing_that_it_began_with(tmp_path) -> None:
    """The default depends on the data's size, and was 0.01 once."""
    found = []
    for number, smoothing in enumerate(({}, {"pseudocount": 0.01})):
        circuit, path = over(normal()), tmp_path / f"{number}.npz"
        run(circuit, path, pseudocount=0.01)
        run(circuit, path, epochs=4, **smoothing)
        found.append(values_of(circuit))
    assert_same(*found)


# --- whose they are ------------------------------------------------------------------


def t_of(df: float, make: Any = None) -> Any:
    return layers.DistributionLeaf(
        make or (lambda loc, df: tfp.distributions.StudentT(df, loc, 1.0)),
        2,
        parameters={"loc": ()},
        constants={"df": df},
    )


def made_by(make: Any) -> Any:
    return over(layers.DistributionLeaf(make, 2, parameters={"loc": ()}))


def local(family: Any, scale: float = 1.0, values: Any = 1.0) -> Any:
    def make(loc: Any, scale: float = scale) -> Any:
        return family(loc, scale * values)

    return make


def caller(family: Any) -> Any:
    class Make:
        def __call__(self, loc: Any) -> Any:
            return family(loc, self.scale)

        def __init__(self, scale: float) -> None:
            self.scale = scale

    return Make


def unsaved(family: Any) -> Any:
    class Mine(layers.DistributionLeaf):
        def component_distribution(self, rows: Any) -> Any:
            return family(rows["loc"], rows["scale"])

    return Mine("Normal", 2)


tfd = tfp.distributions
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "lambdas": (lambda loc: tfd.Normal(loc, 1.0), lambda loc: tfd.Laplace(loc, 1.0)),
    "constants": (lambda loc: tfd.Normal(loc, 1.0), lambda loc: tfd.Normal(loc, 2.0)),
    "local functions": (local(tfd.Normal), local(tfd.Cauchy)),
    "defaults": (local(tfd.Normal), local(tfd.Normal, 2.0)),
    "closures": (local(tfd.Normal), local(tfd.Normal, values=2.0)),
    "arrays": (
        local(tfd.Normal, values=np.float32([1.0])),
        local(tfd.Normal, values=np.float32([2.0])),
    ),
    "functions in closures": (
        local(local(tfd.Normal)),
        local(local(tfd.Cauchy)),
    ),
    "partial": (
        functools.partial(local(tfd.Normal), scale=2.0),
        functools.partial(local(tfd.Normal), scale=3.0),
    ),
    "objects": (caller(tfd.Normal)(1.0), caller(tfd.Normal)(2.0)),
    "objects' classes": (caller(tfd.Normal)(1.0), caller(tfd.Cauchy)(1.0)),
}


def test_functions_are_told_apart_and_known_again() -> None:
    def identity(make: Any) -> Any:
        return json.loads(json.dumps(circuit_identity(made_by(make))))

    for name, (one, other) in FUNCTIONS.items():
        assert identity(one) == identity(one), name
        assert identity(one) != identity(other), name
    assert identity(local(tfd.Normal)) == identity(local(tfd.Normal))
    assert identity(caller(tfd.Normal)(1.0)) == identity(caller(tfd.Normal)(1.0))


def test_functions_are_known_in_another_process() -> None:
    program = (
        "from tests.learning.test_checkpoint_files import FUNCTIONS\n"
        "from tfp_spn._function_identity import function_identity as identity\n"
        "print(hash('tfp_spn'))\n"
        "print([identity(f) for pair in FUNCTIONS.values() for f in pair])"
    )
    hashed, found = output_of(code=program).splitlines()
    assert int(hashed) != hash("tfp_spn")
    here = [function_identity(f) for pair in FUNCTIONS.values() for f in pair]
    assert found == str(here)


def mixed(*variables: list[int]) -> Any:
    return layers.MixedLeaf([(normal(min_scale=0.1), v) for v in variables])


def stack(seed: int = 3, leaf: Any = None, **sums: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.FlatToRegions(2),
            leaf or normal(),
            layers.PermuteAndPadScopesRandom([2, 2], seed=seed),
            layers.DenseProduct(2),
            layers.DenseSum(2, **sums),
            layers.DenseProduct(2),
            layers.RootSum(False, **sums),
        ]
    )


def dynamic(num_steps: int = 3, **kwargs: Any) -> Any:
    template = over(normal(), region_graphs.fully_factorized(2), num_classes=2)
    return circuits.dynamic_from_circuit(template, num_steps, **kwargs)


EM = sum_ops.SumOpEMBackprop()
HARD = sum_ops.SumOpHardEMBackprop
SWAPPED = region_graphs.random_binary_trees(4, 2, 2, seed=1)
GRADIENT = {"method": "gradient"}
SEQUENCES = {"x": X[:, :2].reshape(10, 3, 2)}
# What begins, what goes on with its checkpoint, where they differ, and how both fit.
OTHERS: dict[str, tuple[Callable[[], Any], Callable[[], Any], str, dict[str, Any]]] = {
    "family": (
        lambda: over(normal()),
        lambda: over(layers.LaplaceLeaf(2, scale_trainable=True)),
        "leaf.*NormalLeaf.*LaplaceLeaf",
        {},
    ),
    "family of tfd": (
        lambda: over(layers.DistributionLeaf("Laplace", 2)),
        lambda: over(layers.DistributionLeaf("Gumbel", 2)),
        r"leaf.*\(Laplace\).*\(Gumbel\)",
        GRADIENT,
    ),
    "constants": (
        lambda: over(t_of(4.0)),
        lambda: over(t_of(5.0)),
        r"leaf.*'df': 4.0.*'df': 5.0",
        GRADIENT,
    ),
    "smallest scale": (
        lambda: over(normal()),
        lambda: over(normal(min_scale=0.5)),
        "leaf.*'min_scale': 0.001.*'min_scale': 0.5",
        {},
    ),
    "constraint": (
        lambda: over(normal(scale_constraint=constraints.Clip(0.1))),
        lambda: over(normal(scale_constraint=constraints.Clip(0.2))),
        "leaf.*scale_constraint",
        {},
    ),
    "frozen": (
        lambda: over(normal()),
        lambda: over(normal(location_trainable=False)),
        "leaf.*location_trainable.*True.*False",
        {},
    ),
    "counts": (
        lambda: over(layers.BinomialLeaf(2, 50)),
        lambda: over(layers.BinomialLeaf(2, 60)),
        "leaf.*'total_count': 50.*60",
        {"x": np.full([9, 4], 3)},
    ),
    "variables": (
        lambda: over(mixed([0, 1], [2, 3])),
        lambda: over(mixed([0, 2], [1, 3])),
        "leaf.*variables",
        {},
    ),
    "dtype": (
        lambda: over(normal()),
        lambda: over(normal(dtype="float64")),
        "leaf.*float32.*float64",
        {},
    ),
    "rule": (lambda: over(normal()), lambda: over(normal(), sum_op=EM), "rules", {}),
    "rule's argument": (
        lambda: over(normal(), sum_op=HARD()),
        lambda: over(normal(), sum_op=HARD(0.5)),
        r"rules.*sample_prob=0.5",
        {},
    ),
    "weights": (
        lambda: over(normal()),
        lambda: over(
            normal(), sum_op=sum_ops.SumOpGradBackprop(logspace_accumulators=False)
        ),
        "rules",
        {},
    ),
    "graph of equal shapes": (
        lambda: over(normal()),
        lambda: over(normal(), SWAPPED),
        "'structure': {'region_graph'",
        {},
    ),
    "product": (
        lambda: over(normal(), leaf_sums=True),
        lambda: over(normal(), leaf_sums=True, sum_product="tucker"),
        "'structure': {'sum_product': 'cp'}",
        {},
    ),
    "classes": (
        lambda: over(normal()),
        lambda: over(normal(), num_classes=2),
        "'structure': {'num_classes': 1}",
        {},
    ),
    "permutation": (
        lambda: stack(),
        lambda: stack(seed=4),
        "'structure': {.*'permutations'",
        {},
    ),
    "layer": (
        lambda: stack(),
        lambda: stack(leaf=layers.CauchyLeaf(2, scale_trainable=True)),
        "leaf.*NormalLeaf.*CauchyLeaf",
        {},
    ),
    "steps": (
        lambda: dynamic(),
        lambda: dynamic(4),
        "'structure': {'num_steps': 3}.*'num_steps': 4",
        SEQUENCES,
    ),
    "function": (
        lambda: made_by(local(tfd.Normal)),
        lambda: made_by(local(tfd.Cauchy)),
        "make_distribution",
        {"method": "gradient"},
    ),
    "class": (
        lambda: over(unsaved(tfd.Normal)),
        lambda: over(unsaved(tfd.Cauchy)),
        "code",
        {},
    ),
    "method": (lambda: over(normal()), lambda: over(normal()), "'method': 'em'", {}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_circuit_is_refused(
    name, tmp_path, monkeypatch
) -> None:
    make, make_other, regex, settings = OTHERS[name]
    path = tmp_path / "fit.npz"
    with monkeypatch.context() as patch:  # the file matters, not what was learned
        for trainer in (ExpectationMaximization, GradientAscent):
            patch.setattr(trainer, "epoch", lambda self, batches: 0.0)
        run(make(), path, 1, **settings)
    kept = path.read_bytes()
    other = make_other()
    before = [v.numpy() for v in other.variables]
    if name == "steps":
        settings = {"x": np.zeros([10, 4, 2])}
    if name == "method":
        settings = {"method": "online_em"}
    with pytest.raises(ValueError, match=f"belongs to another fit, received.*{regex}"):
        run(other, path, 2, **settings)
    for variable, value in zip(other.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert path.read_bytes() == kept


def test_names_and_initial_values_do_not_matter(tmp_path) -> None:
    keras.utils.set_random_seed(1)
    circuit = over(normal(name="a", location_initializer="zeros"), name="b")
    run(circuit, tmp_path / "fit.npz", 1)
    keras.utils.set_random_seed(2)
    other = over(normal(location_initializer=keras.initializers.RandomNormal(seed=3)))
    assert run(other, tmp_path / "fit.npz", 1).epochs == 1
    assert_same(values_of(other), values_of(circuit))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "make",
    [
        lambda: over(t_of(4.0)),
        pytest.param(stack, marks=SLOW),
        pytest.param(dynamic, marks=SLOW),
    ],
)
def test_all_kinds_of_circuits_go_on(make, tmp_path) -> None:
    settings = SEQUENCES if make is dynamic else {}
    settings = {**settings, "method": "gradient", "initialize": False}
    whole = make()
    state = [v.numpy() for v in whole.variables]
    run(whole, tmp_path / "whole.npz", 3, **settings)
    first, second = make(), make()
    for variable, value in zip(first.variables, state, strict=True):
        variable.assign(value)
    run(first, tmp_path / "parts.npz", 1, **settings)
    run(second, tmp_path / "parts.npz", 3, **settings)
    for have, want in zip(second.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(have, want)


def test_version_1_goes_on_with_a_warning_that_the_next_epoch_ends(tmp_path) -> None:
    path = tmp_path / "fit.npz"
    name = "unweighted hard em"
    with zipfile.ZipFile(v0_1.HERE / "files.zip") as archive:
        path.write_bytes(archive.read(v0_1.fit_file(name)))
    with pytest.warns(
        UserWarning, match="does not record leaf, rules; exp.* Make sure"
    ):
        v0_1.resumed(name, path, epochs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "fit: the log-likelihood was still rising")
        v0_1.resumed(name, path, epochs=3)
    with zipfile.ZipFile(v0_1.HERE / "files.zip") as archive:
        path.write_bytes(archive.read(v0_1.fit_file("em of images")))
    with pytest.raises(ValueError, match="another fit, received .*'structure'"):
        v0_1.resumed(name, path)


# --- damaged ones --------------------------------------------------------------------


def with_arrays(**changes: Any) -> Callable[[bytes], bytes]:
    """The file with other arrays; `None` leaves one out."""

    def damage(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            arrays = {**file, **{k.replace("__", "/"): v for k, v in changes.items()}}
        out = io.BytesIO()
        np.savez(out, **{k: v for k, v in arrays.items() if v is not None})
        return out.getvalue()

    return damage


def with_settings(**changes: Any) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            settings = {**json.loads(str(file["settings"])), **changes}
        return with_arrays(settings=np.asarray(json.dumps(settings)))(data)

    return damage


def without_settings(*names: str) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as file:
            kept = json.loads(str(file["settings"]))
        kept = {name: value for name, value in kept.items() if name not in names}
        return with_arrays(settings=np.asarray(json.dumps(kept)))(data)

    return damage


def with_member(name: str, content: bytes, **info: Any) -> Callable[[bytes], bytes]:
    """The file with another member of the archive."""

    def damage(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(member, old.read(member))
            new.writestr(name, content, **info)
        return out.getvalue()

    return damage


def npy_header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class Bomb:
    def __reduce__(self) -> Any:
        return open, ("unpickled", "w")


def pickled(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([value], dtype=object), allow_pickle=True)
    return out.getvalue()


def compressed(data: bytes) -> bytes:
    out = io.BytesIO()
    with np.load(io.BytesIO(data)) as file:
        np.savez_compressed(out, **file)
    return out.getvalue()


def flipped(part: float) -> Callable[[bytes], bytes]:
    """One bit of the values of a parameter."""

    def damage(data: bytes) -> bytes:
        start = data.index(b"last/params/sums_0.npy") + 200
        place = start + int(part * 64)
        return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]

    return damage


LOCATION = "last/params/leaf_location.npy"
BIG = "(1000000000000, 100)"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"cut at {n}": lambda d, n=n: d[:n] for n in (0, 1, 2, 4, 9, 30, 60, 128, 500)},
    **{
        f"cut at {part:.0%}": lambda d, part=part: d[: int(part * len(d))]
        for part in (0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
    },
    **{f"{n} bytes short": lambda d, n=n: d[:-n] for n in (1, 2, 5, 22, 23, 99)},
    **{f"flip at {part}": flipped(part) for part in (0.0, 0.3, 0.6, 0.9)},
    "head lost": lambda d: b"\x00" * 100 + d[100:],
    "tail lost": lambda d: d[:-100] + b"\x00" * 100,
    "zeros": lambda d: b"\x00" * len(d),
    "text": lambda d: b"nonsense",
    "HDF5": lambda d: b"\x89HDF\r\n\x1a\n" + d[8:-8],
    "one array": lambda d: npy_header("(1,)") + b"\x00" * 4,
    "pickle": lambda d: pickle.dumps(Bomb()),
    "pickled array": lambda d: pickled(Bomb()),
    "other npz": lambda d: other_npz(),
    "compressed": compressed,
    "pickled settings": with_member("settings.npy", pickled(Bomb())),
    "pickled parameter": with_member(LOCATION, pickled(Bomb())),
    "huge array": with_member(LOCATION, npy_header(BIG) + b"\x00" * 64),
    "huge text": with_member("settings.npy", npy_header("()", "<U9999999999")),
    "huge nothing": with_member(LOCATION, npy_header("(0, 10000000000000000000)")),
    "negative shape": with_member(LOCATION, npy_header("(-2, -2)") + b"\x00" * 16),
    "odd shape": with_member(LOCATION, npy_header("'all'") + b"\x00" * 16),
    "deep header": with_member(LOCATION, npy_header("(" * 5000)),
    "no array": with_member(LOCATION, b"\x93NUM"),
    "no bytes": with_member(LOCATION, b""),
    "a bomb": with_member(
        LOCATION,
        npy_header("(100000000,)") + b"\x00" * 400_000_000,
        compress_type=zipfile.ZIP_DEFLATED,
    ),
    "dtype of a parameter": with_arrays(last__params__sums_0=np.zeros([4, 4, 2])),
    "shape of a parameter": with_arrays(last__params__sums_0=np.zeros([2], "f4")),
    "byte order": with_arrays(last__params__leaf_scale=np.zeros([8, 2, 1], ">f4")),
    "text for a parameter": with_arrays(last__params__sums_0=np.asarray("a")),
    "parameter missing": with_arrays(last__params__sums_0=None),
    "parameter too many": with_arrays(last__params__more=np.zeros(3, "f4")),
    "best too many": with_arrays(best__params__sums_0=np.zeros(3, "f4")),
    "something else": with_arrays(more=np.zeros(3)),
    "no settings": with_arrays(settings=None),
    "no history": with_arrays(log_likelihood=None),
    "empty history": with_arrays(log_likelihood=np.zeros([0])),
    "history of integers": with_arrays(log_likelihood=np.zeros([2], int)),
    "history of rank 2": with_arrays(log_likelihood=np.zeros([2, 1])),
    "history is a number": with_arrays(log_likelihood=np.zeros([])),
    "history of NaN": with_arrays(log_likelihood=np.full([2], np.nan)),
    "history of inf": with_arrays(log_likelihood=np.array([-1.0, np.inf])),
    "validation of NaN": with_arrays(validation_log_likelihood=np.full([2], np.nan)),
    "validation of another length": with_arrays(validation_log_likelihood=np.zeros(1)),
    "validation without the best": with_arrays(validation_log_likelihood=np.zeros(2)),
    "reason": with_arrays(stopped_because=np.asarray("hunger")),
    "settings are numbers": with_arrays(settings=np.zeros(3)),
    "settings are bytes": with_arrays(settings=np.asarray(b"{}")),
    "settings are a list": with_arrays(settings=np.asarray("[]")),
    "settings are no JSON": with_arrays(settings=np.asarray("{'a': 1}")),
    "settings are deep": with_arrays(settings=np.asarray("[" * 100_000)),
    "settings are long numbers": with_arrays(settings=np.asarray("9" * 5000)),
    "settings are empty": with_arrays(settings=np.asarray("{}")),
    "version 1 without a method": without_settings("version", "method"),
    "version 2 without a leaf": without_settings("leaf"),
    "version 2 of no leaf": with_settings(leaf={}),
    "version 2 of an unknown leaf": with_settings(leaf={"0": {}}),
    "version 2 of no structure": with_settings(structure={}),
    **{
        f"version {version}": with_settings(version=version)
        for version in (0, 3, -1, "2", None, [2], 2.5)
    },
    "leaf of another kind": with_settings(leaf=[1]),
    "more settings": with_settings(more=1),
    "structure": with_settings(structure="0" * 16),
}


def other_npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3), b=np.ones(2))
    return out.getvalue()


def test_damaged_checkpoints_are_refused(good, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(DAMAGES) >= 60
    path = tmp_path / "fit.npz"
    circuit = over(normal())
    before = values_of(circuit)
    for name, damage in DAMAGES.items():
        data = damage(good)
        assert data != good, name
        path.write_bytes(data)
        with pytest.raises(ValueError, match="fit: checkpoint '.*fit.npz' ") as raised:
            run(circuit, path)
        message = str(raised.value)
        assert "cannot be read, received" in message or "another fit" in message, name
        assert "choose another path." in message, name
        assert len(message) < 1500, name
        assert path.read_bytes() == data, name
        assert os.listdir(tmp_path) == ["fit.npz"], name  # nothing was unpickled
    assert_same(values_of(circuit), before)


def test_what_is_no_file_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(ValueError, match="cannot be read, received .* no file"):
            run(over(normal()), path)


def test_the_file_is_good_unless_damaged(good, tmp_path) -> None:
    path = tmp_path / "fit.npz"
    for same in (with_arrays(), with_settings()):
        path.write_bytes(same(good))
        assert run(over(normal()), path).epochs == 2


# --- interrupted writing -------------------------------------------------------------


def test_a_killed_fit_leaves_nothing_for_ever(good, tmp_path, monkeypatch) -> None:
    path = tmp_path / "fit.npz"
    path.write_bytes(good)
    others = [".fit.npz.backup", ".other.npz.abcdefgh.partial", "fit.npz.partial"]
    for name in others:
        (tmp_path / name).touch()

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # nothing runs after a kill
        patch.setattr(checkpoint_file.os, "replace", killed)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        with pytest.raises(KeyboardInterrupt):
            run(over(normal()), path, 3)
    left = set(os.listdir(tmp_path)) - {"fit.npz", *others}
    assert len(left) == 1
    assert path.read_bytes() == good
    run(over(normal()), path, 2)  # has nothing to write
    assert set(os.listdir(tmp_path)) == {"fit.npz", *others}


def test_a_file_that_another_fit_took_for_a_leftover_is_written_again(
    tmp_path, monkeypatch
) -> None:
    path = tmp_path / "fit.npz"
    replace, calls = os.replace, []

    def taken_away(source: str, target: Any) -> None:
        calls.append(source)
        if len(calls) == 1:
            checkpoint_file.remove_leftovers(path)
        replace(source, target)

    monkeypatch.setattr(checkpoint_file.os, "replace", taken_away)
    run(over(normal()), path, 1)
    assert len(calls) == 2
    assert os.listdir(tmp_path) == ["fit.npz"]
    assert run(over(normal()), path, 1).epochs == 1


def test_a_full_disk_leaves_the_last_checkpoint(good, tmp_path, monkeypatch) -> None:
    path = tmp_path / "fit.npz"
    path.write_bytes(good)
    circuit = over(normal())
    before = values_of(circuit)

    def full(file: Any, **kwargs: Any) -> None:
        file.write(b"begun")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_file.np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            run(circuit, path, 3)
    assert_same(values_of(circuit), before)
    assert os.listdir(tmp_path) == ["fit.npz"]
    assert path.read_bytes() == good
    run(circuit, path, 3)
    assert path.read_bytes() != good


def test_settings_are_those_of_the_region_graph(good) -> None:
    """Not of its folding: files of today must be known by any later one."""
    with np.load(io.BytesIO(good)) as file:
        settings = json.loads(str(file["settings"]))
    assert settings["version"] == 2
    assert settings["structure"] == {
        "region_graph": "368e07905c6e256b",
        "num_sums": 2,
        "sum_product": "cp",
        "num_classes": 1,
        "leaf_sums": True,
        "num_dims": 1,
    }
    assert settings["rules"] == [
        ["SumOpGradBackprop(logspace_accumulators=None)", True]
    ]
    (leaf,) = settings["leaf"].values()
    assert leaf["class"] == "tfp_spn>NormalLeaf"
    assert leaf["variables"] == [0, 1, 2, 3]
    assert leaf["min_scale"] == 0.001


# --- optimizers that cannot be saved -----------------------------------------------


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate


def test_schedules_without_a_configuration(tmp_path) -> None:
    def learn(optimizer: Any, epochs: int, path: Path | None = None) -> Any:
        settings = {"method": "gradient", "epochs": epochs, "verbose": False}
        return fit(over(normal()), X, optimizer=optimizer, checkpoint=path, **settings)

    adam, sgd = keras.optimizers.Adam, keras.optimizers.SGD
    path = tmp_path / "fit.npz"
    assert learn(adam(Schedule(0.1)), 1).epochs == 1
    assert learn(adam(Schedule(0.1)), 1, path).epochs == 1
    assert learn(adam(Schedule(0.1)), 1, path).epochs == 1
    for other in (
        adam(Schedule(0.2)),
        adam(Schedule(0.1), beta_1=0.5),
        sgd(Schedule(0.1)),
        adam(0.1),
    ):
        with pytest.raises(ValueError, match="belongs to another fit, .*'optimizer'"):
            learn(other, 1, path)
    path.unlink()
    assert learn(sgd(lambda: 0.1), 1, path).epochs == 1
    assert learn(sgd(lambda: 0.1), 1, path).epochs == 1
    with pytest.raises(ValueError, match="belongs to another fit, .*'learning_rate'"):
        learn(sgd(lambda: 0.2), 1, path)
