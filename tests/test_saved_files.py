"""Files that earlier versions wrote load, and give the numbers that they gave.

Fits begin from other parameters than those of the files, so that one that forgets its
checkpoint ends elsewhere.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.data.v0_1 import write as v0_1
from tfp_spn.region_graphs import RegionGraph

NUMBERS = dict(np.load(v0_1.HERE / "numbers.npz"))
CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # another processor rounds otherwise
FAST_FITS = {"em of a chain", "unweighted hard em", "gradient"}  # one of each method


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("v0_1")
    with zipfile.ZipFile(v0_1.HERE / "files.zip") as archive:
        archive.extractall(folder)
    return folder


def compare(name, model) -> None:
    x = NUMBERS[f"models/{name}/x"]
    found = v0_1.answers(name, model, x)
    assert found
    for key, value in found.items():
        want = NUMBERS[f"models/{name}/{key}"]
        np.testing.assert_allclose(value, want, **CLOSE, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", v0_1.MODELS)
def test_keras_file_of_v0_1(name, files):
    compare(name, keras.saving.load_model(files / v0_1.model_file(name)))


@pytest.mark.parametrize("name", v0_1.WEIGHTS)
def test_weights_of_v0_1(name, files):
    model = v0_1.MODELS[name]()
    if name == "conditional":
        model(NUMBERS[f"models/{name}/x"])  # the network is built when it is called
    model.load_weights(files / v0_1.weights_file(name))
    compare(name, model)


@pytest.mark.parametrize(
    "name",
    [
        n if n in FAST_FITS else pytest.param(n, marks=pytest.mark.slow)
        for n in v0_1.FITS
    ],
)
def test_fit_that_v0_1_began(name, files):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what that version did not record
        circuit, history = v0_1.resumed(name, files / v0_1.fit_file(name))
    want = NUMBERS[f"fits/{name}/history"]
    assert len(history.log_likelihood) == len(want) == v0_1.LAST
    np.testing.assert_allclose(history.log_likelihood, want, **CLOSE)
    np.testing.assert_allclose(
        v0_1.rows_after(name, circuit), NUMBERS[f"fits/{name}/rows"], **CLOSE
    )


@pytest.mark.parametrize("name", v0_1.GRAPHS)
def test_region_graph_of_v0_1(name):
    graph = v0_1.graph(name)
    assert graph == RegionGraph.from_json(graph.to_json())
    assert graph == v0_1.GRAPHS[name]()
