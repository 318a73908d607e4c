"""Files that were edited to call, read or write something: each is refused untouched.

The good files are those of `tests.data.v0_1`; each edit puts a description of something
hostile into one slot of their configurations.
"""

from __future__ import annotations

import copy
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import tfp_spn
from tests.data.v0_1 import write as v0_1

# --- what hostile descriptions name ---------------------------------------------------

CALLED: list[str] = []


class Trap:
    """Registered by a user, but nothing that any slot expects."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        CALLED.append("Trap")

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: Any) -> Trap:
        return cls()


@keras.saving.register_keras_serializable("hostile")
class TrapLayer(Trap, keras.layers.Layer):
    pass


@keras.saving.register_keras_serializable("hostile")
class TrapInitializer(Trap, keras.initializers.Initializer):
    pass


keras.saving.register_keras_serializable("hostile")(Trap)


def function(module: str, name: str) -> dict[str, Any]:
    names = {"config": name, "registered_name": name}
    return {"module": module, "class_name": "function", **names}


def instance(module: str, name: str, registered: str | None = None, /, **config: Any):
    names = {"class_name": name, "registered_name": registered}
    return {"module": module, **names, "config": config}


def trap(name: str = "Trap") -> dict[str, Any]:
    return instance(__name__, name, f"hostile>{name}")


PLOT = function("keras.visualization", "plot_image_gallery")
EVAL = function("builtins", "eval")
SYSTEM = function("os", "system")
DOWNLOAD = function("keras.utils", "get_file")
UNSAFE = function("keras.config", "enable_unsafe_deserialization")
LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
SPEC = {**instance("keras_cv.trap", "Trap"), "class_name": "__typespec__"}
SPEC |= {"spec_name": "Trap", "config": []}
IMPORT = instance("keras_cv.trap", "Trap")
IMPORT_FUNCTION = function("keras_cv.trap", "trap")
PROCESS = instance("subprocess", "Popen", args=["touch", "mine.png"])
LOGGER = instance("keras.callbacks", "CSVLogger", filename="mine.png")
SERVER = instance("keras.callbacks", "RemoteMonitor")
VOCABULARY = instance("keras.layers", "StringLookup", vocabulary="mine.png")
SAVED_MODEL = instance("keras.layers", "TFSMLayer", filepath="saved", name="a")
TORCH = instance("keras.layers", "TorchModuleWrapper", module="gASVAAAA", name="a")
PLOTTING_LAYER = instance(
    "keras.layers",
    "Lambda",
    function=PLOT,
    arguments={"path": "mine.png", "value_range": [0, 1]},
)
DENSE = instance("keras.layers", "Dense")
TRAP = "hostile>TrapLayer"
PLOTTING_DENSE = instance("keras.layers", "Dense", units=2, activation=PLOT)


def sequential(*layers: Any) -> dict[str, Any]:
    return instance("keras", "Sequential", name="a", layers=list(layers))


def functional(layer: Any) -> dict[str, Any]:
    layer = {"inbound_nodes": [], **layer, "name": "a"}
    ends = {"input_layers": ["a", 0, 0], "output_layers": ["a", 0, 0]}
    found = instance("keras.src.models.functional", "Functional", "Functional")
    return found | {"config": {"name": "b", "layers": [layer], **ends}}


def seeded(seed: Any) -> dict[str, Any]:
    return instance("keras.initializers", "RandomNormal", seed=seed)


def constant(value: Any) -> dict[str, Any]:
    return instance("keras.initializers", "Constant", value=value)


# --- where they are put --------------------------------------------------------------

Edit = Callable[[dict[str, Any]], None]


def put(path: str, value: Any) -> Edit:
    """`value` at a path of keys, in the configuration of the model."""

    def edit(config: Any) -> None:
        *keys, last = path.split("/")
        for key in keys:
            config = config[int(key) if isinstance(config, list) else key]
        config[int(last) if isinstance(config, list) else last] = value

    return edit


LEAF, MIXED = "config/leaf/config", "config/leaf/config/leaves"
STACK = "config/stack/{}/config"
LAYER = "config/layers/{}"
CONDITIONAL = LAYER.format(2)
COMPILED = "compile_config"
# What Keras itself would call as soon as it makes the model that it is told of.
IMAGE = {"class_name": "__numpy__", "config": {"value": [[[[0.5] * 3]]]}}
IMAGE["config"]["dtype"] = "float32"
PLOTTED = {**PLOTTING_LAYER, "inbound_nodes": [{"args": [IMAGE], "kwargs": {}}]}
PLOTTING_MODEL = functional(PLOTTED)

# good file, path, what is put there
HOSTILE: list[tuple[str, str, Any]] = [
    ("gamma", f"{LEAF}/make_distribution", PLOT),
    ("gamma", f"{LEAF}/make_distribution", EVAL),
    ("gamma", f"{LEAF}/make_distribution", SYSTEM),
    ("gamma", f"{LEAF}/make_distribution", LAMBDA),
    ("gamma", f"{LEAF}/make_distribution", SAVED_MODEL),
    ("gamma", f"{LEAF}/make_distribution", IMPORT_FUNCTION),
    ("gamma", f"{LEAF}/make_distribution", trap()),
    ("gamma", f"{LEAF}/make_distribution", function("builtins", "relu")),
    ("gamma", f"{LEAF}/make_distribution", function("builtins", "hostile>Trap")),
    ("gamma", f"{LEAF}/make_distribution", "keras.visualization.plot_image_gallery"),
    ("gamma", f"{LEAF}/constants", {"force_probs_to_zero_outside_support": PLOT}),
    ("gamma", f"{LEAF}/constants", {"name": trap()}),
    ("gamma", f"{LEAF}/initializers", {"rate": DOWNLOAD}),
    ("gamma", f"{LEAF}/initializers", {"rate": seeded(VOCABULARY)}),
    ("gamma", f"{LEAF}/initializers", {"rate": TRAP}),
    ("gamma", f"{LEAF}/dtype", SAVED_MODEL),
    ("gamma", f"{LEAF}/dtype", trap("TrapInitializer")),
    ("registered function", f"{LEAF}/initializers/rate", trap("TrapLayer")),
    ("normal", "config/leaf", trap("TrapLayer")),
    ("normal", "config/leaf", VOCABULARY),
    ("normal", "config/leaf", IMPORT),
    ("normal", "config/leaf", PROCESS),
    ("normal", "config/leaf", [[trap("TrapLayer"), [0, 1, 2, 3, 4]]]),
    ("normal", "config/leaf", function("builtins", "tfp_spn>NormalLeaf")),
    ("normal", "config/leaf/registered_name", TRAP),
    ("normal", "config/leaf/build_config", {"input_shape": IMPORT}),
    ("normal", f"{LEAF}/location_initializer", PLOT),
    ("normal", f"{LEAF}/location_initializer", constant(PLOT)),
    ("normal", f"{LEAF}/location_initializer", constant({"a": [IMPORT]})),
    ("normal", f"{LEAF}/location_initializer", constant(trap("TrapLayer"))),
    ("normal", f"{LEAF}/location_initializer", constant(instance("keras.layers", "A"))),
    ("normal", f"{LEAF}/scale_initializer", seeded(trap())),
    ("normal", f"{LEAF}/scale_initializer", VOCABULARY),
    ("normal", f"{LEAF}/scale_initializer", "hostile>Trap"),
    ("normal", f"{LEAF}/accumulator_initializer", LAMBDA),
    ("normal", f"{LEAF}/scale_constraint", EVAL),
    ("normal", f"{LEAF}/scale_constraint", trap("TrapInitializer")),
    ("normal", f"{LEAF}/activity_regularizer", trap("TrapLayer")),
    ("normal", f"{LEAF}/activity_regularizer", PLOT),
    ("normal", f"{LEAF}/activity_regularizer", TRAP),
    ("normal", "config/leaf/class_name", "__lambda__"),
    ("normal", "config/leaf/class_name", "__typespec__"),
    ("chosen leaf", f"{LEAF}/location_initializer", LOGGER),
    ("chosen leaf", f"{LEAF}/scale_constraint/config", IMPORT),
    ("cauchy", f"{LEAF}/location_initializer/config/seed", SPEC),
    ("bernoulli", f"{LEAF}/logits_initializer", DOWNLOAD),
    ("binomial", f"{LEAF}/logits_initializer", instance("keras.utils", "Progbar")),
    ("categorical", f"{LEAF}/logits_initializer", UNSAFE),
    ("mixed", f"{MIXED}/0/0", trap("TrapLayer")),
    ("mixed", f"{MIXED}/0/0/config/scale_initializer", VOCABULARY),
    ("mixed", f"{MIXED}/2/0/config/make_distribution", PLOT),
    ("mixed", f"{MIXED}/1/0/config/logits_initializer", seeded(LOGGER)),
    ("normal", "config/sum_op", trap()),
    ("normal", "config/sum_op", PLOT),
    ("normal", "config/sum_op/config/logspace_accumulators", IMPORT),
    ("normal", "config/accumulator_initializer", SYSTEM),
    ("normal", "config/accumulator_initializer", trap("TrapLayer")),
    ("normal", "config/accumulator_initializer/config/seed", trap()),
    ("normal", "config/accumulator_initializer/config/seed", SERVER),
    ("normal", "config/dtype", SAVED_MODEL),
    ("normal", "config/name", IMPORT),
    ("circuit of a stack", "config/stack/1", VOCABULARY),
    ("circuit of a stack", "config/stack/2", trap("TrapLayer")),
    ("circuit of a stack", "config/stack", PLOTTING_LAYER),
    ("circuit of a stack", f"{STACK.format(1)}/scale_initializer", PLOT),
    ("circuit of a stack", f"{STACK.format(4)}/accumulator_regularizer", trap()),
    ("circuit of a stack", f"{STACK.format(4)}/sum_op", instance("os", "system")),
    ("chosen sums", f"{LAYER.format(7)}/config/sum_op", trap("TrapLayer")),
    ("chosen sums", f"{LAYER.format(7)}/config/accumulator_initializer", PLOT),
    ("chosen sums", f"{LAYER.format(7)}/config/accumulator_regularizer", EVAL),
    ("chosen sums", f"{LAYER.format(7)}/config/linear_accumulator_constraint", PLOT),
    ("chosen sums", f"{LAYER.format(7)}/config/logspace_accumulator_constraint", TORCH),
    ("chosen sums", f"{LAYER.format(2)}/config/seed", IMPORT),
    ("images", f"{LAYER.format(1)}/config/logits_initializer", PLOT),
    ("images", f"{LAYER.format(3)}/config/accumulator_initializer/config/seed", trap()),
    ("images", f"{LAYER.format(2)}/config/dtype", VOCABULARY),
    ("dynamic", "config/template", sequential(PLOTTING_LAYER)),
    ("dynamic", "config/template", trap("TrapLayer")),
    ("dynamic", "config/template/config/leaf/config/logits_initializer", PLOT),
    ("dynamic", "config/sum_op", PLOT),
    ("dynamic cp", "config/accumulator_initializer", VOCABULARY),
    ("libspn dynamic", "config/template_network", trap("TrapLayer")),
    ("libspn dynamic", "config/interface_network_t0", sequential(PLOTTING_LAYER)),
    (
        "libspn dynamic",
        "config/interface_network_t_minus_1",
        functional(PLOTTING_LAYER),
    ),
    ("libspn dynamic", "config/top_network", PLOT),
    ("libspn dynamic", "config/top_network", sequential(trap())),
    ("libspn dynamic", "config/top_network/compile_config", {"loss": trap()}),
    ("libspn dynamic", "config/top_network/compile_config", {"loss": PLOT}),
    ("libspn dynamic", "config/top_network", sequential(PLOTTING_DENSE)),
    ("sequential", "config/layers/4", PLOTTING_LAYER),
    ("sequential", "config/layers/4", SAVED_MODEL),
    ("sequential", "config/layers/4", VOCABULARY),
    ("sequential", "config/layers/4", sequential(sequential(PLOTTING_LAYER))),
    ("functional", "config/layers/4/config", {"name": IMPORT}),
    ("functional", "config/layers/4", {"name": "a", **PLOTTING_LAYER}),
    ("functional", "config/layers/4/inbound_nodes/0/kwargs", {"mask": PLOT}),
    ("sequential", "config/layers/4", {**DENSE, "config": {"bias_initializer": PLOT}}),
    ("sequential", "config/layers/4", {**DENSE, "config": {"bias_regularizer": TRAP}}),
    ("conditional", f"{CONDITIONAL}/config/network", PLOT),
    ("conditional", f"{CONDITIONAL}/config/network", PLOTTING_LAYER),
    ("conditional", f"{CONDITIONAL}/config/network", trap()),
    ("conditional", f"{CONDITIONAL}/config/network", sequential(PLOTTING_DENSE)),
    ("conditional", f"{CONDITIONAL}/config/network", functional(PLOTTING_LAYER)),
    ("conditional", f"{CONDITIONAL}/config/circuit", sequential(PLOTTING_LAYER)),
    ("conditional", f"{CONDITIONAL}/config/circuit/config/leaf", IMPORT),
    ("regression", f"{CONDITIONAL}/config/make_distribution", PLOT),
    ("regression", f"{CONDITIONAL}/config/make_distribution", SYSTEM),
    ("regression", f"{CONDITIONAL}/config/make_distribution", PLOTTING_LAYER),
    ("regression", f"{CONDITIONAL}/config/make_distribution", trap()),
    ("regression", f"{CONDITIONAL}/config/output", PLOT),
    ("regression", f"{CONDITIONAL}/config/output", trap("TrapLayer")),
    ("median", f"{CONDITIONAL}/config/output", "__init_subclass__"),
    ("normal", COMPILED, {"loss": PLOTTING_MODEL}),
    ("normal", COMPILED, {"loss": {"a": [PLOT]}}),
    ("normal", COMPILED, {"loss": "hostile>Trap"}),
    ("normal", COMPILED, {"loss": trap("TrapLayer")}),
    ("normal", COMPILED, {"loss": instance("keras.layers", "Identity")}),
    ("normal", COMPILED, {"metrics": [PLOTTING_MODEL]}),
    ("normal", COMPILED, {"metrics": ["mse", trap()]}),
    ("normal", COMPILED, {"weighted_metrics": {"a": ["hostile>Trap"]}}),
    ("normal", COMPILED, {"optimizer": PLOTTING_MODEL}),
    ("normal", COMPILED, {"optimizer": "hostile>Trap"}),
    ("normal", COMPILED, {"optimizer": trap()}),
    ("normal", COMPILED, {"optimizer": instance("keras.optimizers", "SGD", name=PLOT)}),
    (
        "normal",
        COMPILED,
        {"optimizer": instance("keras.optimizers", "SGD", learning_rate=PROCESS)},
    ),
    ("normal", COMPILED, {"jit_compile": PLOTTING_MODEL}),
    ("normal", COMPILED, {"mine": sequential(PLOTTING_LAYER)}),
    ("normal", COMPILED, PLOTTING_MODEL),
    ("normal", COMPILED, [PLOTTING_MODEL]),
    ("normal", COMPILED, trap()),
    ("circuit of a stack", COMPILED, {"loss": PLOTTING_MODEL}),
    ("functional", COMPILED, {"metrics": [[PLOT]]}),
    ("sequential", COMPILED, {"loss": PLOTTING_MODEL}),
    ("dynamic", COMPILED, {"loss": PLOTTING_MODEL}),
    ("dynamic", f"config/template/{COMPILED}", {"loss": PLOTTING_MODEL}),
    ("libspn dynamic", COMPILED, {"optimizer": PLOTTING_MODEL}),
    ("libspn dynamic", f"config/top_network/{COMPILED}", {"loss": "hostile>Trap"}),
    ("normal", "config/region_graph", IMPORT),
    ("normal", "config/region_graph", "[" * 100_000),
    ("normal", "config/region_graph", None),
]
BY_KERAS = (SAVED_MODEL, TORCH, VOCABULARY)  # layers where any layer may be
OURS = (
    "names what loading must not call",
    "received make_distribution=",  # a name that is none of tfd
    "received output=",
    "region graph",
    "RegionGraph",
)


@pytest.fixture(scope="module")
def good() -> dict[str, dict[str, bytes]]:
    """The members of good files by name."""
    members = {}
    with zipfile.ZipFile(v0_1.HERE / "files.zip") as archive:
        for name in {case[0] for case in HOSTILE}:
            with (
                archive.open(v0_1.model_file(name)) as file,
                zipfile.ZipFile(file) as f,
            ):
                members[name] = {n: f.read(n) for n in f.namelist()}
    return members


def write_edited(path: Path, members: dict[str, bytes], edit: Edit) -> None:
    config = json.loads(members["config.json"])
    edit(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if name == "config.json":
                data = json.dumps(config).encode()
            archive.writestr(name, data)


EVENTS: list[tuple[str, Any]] = []
_WATCHING = [False]
WATCHED = (
    "open",
    "import",
    "exec",
    "marshal.loads",
    "os.",
    "pickle.find_class",
    "shutil.",
    "socket.",
    "subprocess.Popen",
    "urllib.Request",
)


def _audit(event: str, arguments: Any) -> None:
    if _WATCHING[0] and event.startswith(WATCHED):
        EVENTS.append((event, str(arguments[0]) if arguments else ""))


sys.addaudithook(_audit)  # stays for good, but is deaf outside of `events`


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """The working directory: a precious file, and a module that tells of imports."""
    (tmp_path / "mine.png").write_text("precious")
    (tmp_path / "keras_cv").mkdir()
    (tmp_path / "keras_cv" / "__init__.py").write_text("")
    (tmp_path / "keras_cv" / "trap.py").write_text("open('mine.png', 'w').write('!')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [n for n in sys.modules if n.startswith("keras_cv")]:
        del sys.modules[name]


def attempt(path: Path) -> tuple[Exception | None, list[tuple[str, Any]]]:
    """Loads a file in safe mode: the error, and what else was touched."""
    EVENTS.clear()
    CALLED.clear()
    error: Exception | None = None
    _WATCHING[0] = True
    try:
        keras.saving.load_model(path, safe_mode=True)
    except Exception as raised:
        error = raised
    finally:
        _WATCHING[0] = False
    return error, [e for e in EVENTS if e[1] != str(path)]


def test_hostile_files_are_refused_and_touch_nothing(good, folder) -> None:
    for number, (name, where, value) in enumerate(HOSTILE):
        path = folder / f"{number}.keras"
        write_edited(path, good[name], put(where, copy.deepcopy(value)))
        before = sorted(folder.rglob("*"))
        error, touched = attempt(path)
        case = f"{name}: {where} = {str(value)[:120]}"
        assert error is not None, f"{case} was loaded"
        assert CALLED == [], case
        assert touched == [], case
        assert sorted(folder.rglob("*")) == before, case
        assert (folder / "mine.png").read_text() == "precious", case
        if value not in BY_KERAS:
            assert any(words in str(error) for words in OURS), f"{case}\n{error}"


def test_the_files_are_good_unless_edited(good, folder) -> None:
    for name, members in good.items():
        write_edited(folder / "good.keras", members, lambda config: None)
        error, _ = attempt(folder / "good.keras")
        assert error is None, name


@keras.saving.register_keras_serializable("hostile")
def harmless(y_true: Any, y_pred: Any) -> Any:
    return -y_pred


def test_what_compile_takes_is_loaded(good, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "good.keras", "w") as archive:
        for name, data in good["normal"].items():
            archive.writestr(name, data)
    circuit = keras.saving.load_model(tmp_path / "good.keras")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(schedule))
    for arguments in (
        {"optimizer": scaled, "loss": tfp_spn.losses.NegativeLogLikelihood()},
        {
            "optimizer": tfp_spn.optimizers.OnlineExpectationMaximization(0.1),
            "loss": harmless,
            "metrics": [
                "mse",
                tfp_spn.metrics.LogLikelihood(),
                keras.losses.mean_squared_error,
            ],
            "loss_weights": 2.0,
        },
        {"optimizer": "sgd", "loss": "mse", "weighted_metrics": [harmless]},
        {"loss": keras.losses.Huber(), "metrics": [keras.losses.Huber()]},
    ):
        circuit.compile(**arguments)
        circuit.optimizer.build(circuit.trainable_variables)
        circuit.save(tmp_path / "compiled.keras")
        loaded = keras.saving.load_model(tmp_path / "compiled.keras")
        assert loaded.compiled
        assert type(loaded.optimizer) is type(circuit.optimizer)
        assert loaded.get_compile_config() == circuit.get_compile_config()
