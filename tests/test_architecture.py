"""The shape of the package: who imports whom, and how modules are laid out.

Read from the syntax trees, so that a forbidden import inside a function counts too.
"""

from __future__ import annotations

import ast
import functools
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.processes import output_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tfp_spn"
MAX_LINES = 500

# A unit is a subpackage or a module at the top of the package. Imports point to units
# that stand earlier in the list of dependencies; private modules (`_typing`, ...) are
# open to all, and what they import counts as imported by whoever uses them.
_STATIC = {"region_graphs"}
_BELOW_LAYERS = _STATIC | {"ops", "sum_ops", "initializers", "constraints", "config"}
_MODELS = _BELOW_LAYERS | {"layers", "programs", "circuits"}
ALLOWED_UNITS: dict[str, set[str]] = {
    "region_graphs": set(),
    "ops": _STATIC,
    "sum_ops": {"ops"},
    "initializers": _STATIC | {"ops"},
    "constraints": _STATIC | {"ops"},
    "config": {"sum_ops", "initializers", "constraints"},
    "layers": _BELOW_LAYERS,
    "programs": _BELOW_LAYERS | {"layers"},
    "circuits": _BELOW_LAYERS | {"layers", "programs"},
    "distributions": _MODELS,
    "learning": _MODELS | {"distributions"},
    "structure": _MODELS | {"distributions", "learning"},
    "losses": {"learning"},
    "metrics": {"ops", "programs", "learning"},
    "models": _MODELS | {"distributions"},
    "optimizers": {"learning"},
    "saved_model": {"distributions"},
    "testing": _MODELS | {"learning"},
    "visualization": _MODELS | {"distributions", "learning"},
    "region": {"region_graphs", "models"},
    "visualize": {"visualization"},
}

_NUMERIC = {"numpy", "scipy"}
_KERAS = _NUMERIC | {"tensorflow", "keras", "tqdm"}
_CLUSTERING = {"sklearn", "threadpoolctl"}
ALLOWED_HOSTS: dict[str, set[str]] = {
    "region_graphs": _NUMERIC,
    "ops": _NUMERIC | {"tensorflow"},
    "sum_ops": _KERAS,
    "initializers": _KERAS | _CLUSTERING,
    "constraints": _KERAS,
    "config": _KERAS,
    "layers": _KERAS,
    "programs": _NUMERIC | {"tensorflow", "tensorflow_probability"},
    "circuits": _KERAS,
    "distributions": _KERAS | {"tensorflow_probability"},
    "learning": _KERAS | _CLUSTERING,
    "structure": _KERAS | _CLUSTERING,
    "losses": _KERAS,
    "metrics": _KERAS,
    "models": _KERAS,
    "optimizers": _KERAS,
    "saved_model": _KERAS,
    "testing": _KERAS,
    "visualization": _KERAS | {"matplotlib", "mpl_toolkits", "plotly"},
    "region": set(),
    "visualize": set(),
}
BRIDGE = "_keras_bridge"
HOSTS_OF_PRIVATE_MODULES = {
    BRIDGE: {"tensorflow_probability"},
    "_clustering": _CLUSTERING,
}

# Methods whose contract is documented by Keras, and whose arguments by the class.
HOST_HOOKS = {
    "build",
    "call",
    "compute_mask",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "get_build_config",
    "build_from_config",
    "get_config",
    "reset_state",
    "result",
    "set_model",
    "update_state",
    "update_step",
}


MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def unit_of(path: Path) -> str:
    """The subpackage or top-level module a file belongs to, `__init__` for the root."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def resolve(path: Path, node: ast.ImportFrom) -> str:
    """The absolute name of the module that a `from` import reads."""
    if node.level == 0:
        return node.module or ""
    folder = path.parent.relative_to(ROOT).parts
    base = folder[: len(folder) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def imported_names(path: Path) -> Iterator[str]:
    """Absolute dotted names, as deep as the statement tells."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve(path, node)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_units(path: Path) -> set[str]:
    parts = [name.split(".") for name in imported_names(path)]
    return {part[1] for part in parts if part[0] == "tfp_spn" and len(part) > 1}


def third_party(path: Path) -> set[str]:
    roots = {name.split(".")[0] for name in imported_names(path)}
    return roots - {"tfp_spn"} - set(sys.stdlib_module_names)


def private_closure(path: Path) -> set[Path]:
    """The private top-level modules that a file imports, directly or through others."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for unit in imported_units(waiting.pop()):
            private = PACKAGE / f"{unit}.py"
            if unit.startswith("_") and private.exists() and private not in found:
                found.add(private)
                waiting.append(private)
    return found


def of_each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Any]:
    """One test of many files: a test of each would be two thousand tests."""
    paths = list(paths)

    def decorated(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            faults = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    faults.append(f"{name_of(path)}: {error}")
            assert not faults, "\n".join(faults)

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorated


in_units = of_each(p for p in MODULES if not unit_of(p).startswith("_"))
in_package = of_each(MODULES)
in_public_inits = of_each(
    path
    for path in MODULES
    if path.name == "__init__.py"
    and not any(part.startswith("_") for part in path.relative_to(PACKAGE).parts[:-1])
)


@in_units
def test_unit_is_known(path: Path) -> None:
    assert unit_of(path) in ALLOWED_UNITS, "give the new unit a row in ALLOWED_UNITS"


@in_units
def test_imports_point_downwards(path: Path) -> None:
    unit = unit_of(path)
    public = {name for name in imported_units(path) if not name.startswith("_")}
    forbidden = public - ALLOWED_UNITS[unit] - {unit}
    assert not forbidden, f"{unit} must not import {sorted(forbidden)}"


@in_units
def test_third_party_imports_are_the_allowed_ones(path: Path) -> None:
    unit = unit_of(path)
    used = third_party(path)
    for private in private_closure(path):
        # The bridge is how units that may use Keras reach TFP.
        hidden = {"tensorflow_probability"} if private.stem == BRIDGE else set()
        used |= third_party(private) - hidden
    forbidden = used - ALLOWED_HOSTS[unit]
    assert not forbidden, f"{unit} must not import {sorted(forbidden)}"


@of_each(sorted(PACKAGE.glob("_*.py")))
def test_private_modules_stand_below_all_units(path: Path) -> None:
    if path.name == "__init__.py":
        return
    public = {name for name in imported_units(path) if not name.startswith("_")}
    assert not public
    assert third_party(path) <= _KERAS | HOSTS_OF_PRIVATE_MODULES.get(path.stem, set())


@in_package
def test_module_is_short(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= MAX_LINES, f"{length} lines: split it by idea"


@in_package
def test_module_is_named_after_its_idea(path: Path) -> None:
    assert path.stem.lstrip("_") not in {"utils", "util", "common", "helpers", "misc"}


@in_package
def test_no_assert_statement(path: Path) -> None:
    found = [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.Assert)]
    assert not found, f"lines {found}: raise ValueError or TypeError instead"


def is_public_class(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and not node.name.startswith("_")


@in_package
def test_public_methods_have_docstrings(path: Path) -> None:
    """What ruff's D102 asks, except of the hooks that Keras and TFP document."""
    missing = [
        f"{cls.name}.{method.name}"
        for cls in filter(is_public_class, tree_of(path).body)
        for method in cls.body
        if isinstance(method, ast.FunctionDef)
        and not method.name.startswith(("_", "on_"))
        and method.name not in HOST_HOOKS
        and not any(is_exempting_decorator(d) for d in method.decorator_list)
        and ast.get_docstring(method) is None
    ]
    assert not missing


def is_exempting_decorator(node: ast.expr) -> bool:
    """`@override`, or `@name.setter` whose property has the docstring."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"override", "overload", "setter"}


def declared_all(path: Path) -> list[str]:
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign):
            targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
            if "__all__" in targets:
                return list(ast.literal_eval(node.value))
    return []  # an `__init__` that exports nothing may leave it out


def re_exports(path: Path) -> Iterator[str]:
    """Public names taken from the package, under `if TYPE_CHECKING` too (lazy ones)."""
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ImportFrom):
            continue
        if resolve(path, node).split(".")[0] != "tfp_spn":
            continue
        names = (alias.asname or alias.name for alias in node.names)
        yield from (name for name in names if not name.startswith("_"))


@in_public_inits
def test_all_lists_the_re_exports(path: Path) -> None:
    declared = declared_all(path)
    assert len(declared) == len(set(declared))
    assert set(declared) - {"__version__"} == set(re_exports(path))


def test_import_needs_no_plotting_package() -> None:
    """The optional packages load when `tfp_spn.visualization` is first touched."""
    output_of(code="import tfp_spn", hidden=["matplotlib", "plotly"])


def test_another_keras_backend_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import tfp_spn"],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: tfp_spn needs Keras on its TensorFlow backend")
    assert "Received backend 'numpy', expected 'tensorflow'" in last
    assert "KERAS_BACKEND=tensorflow" in last


def test_parameter_names_are_made_in_one_place() -> None:
    """Whoever spells a name has to count as all others do."""
    names = re.compile(r"sums_$|leaf_$|leaf_\.|prior$|(initial|transition|interface)$")
    home = PACKAGE / "programs" / "parameter_names.py"
    spelled = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        if path != home and unit_of(path) in {"programs", "circuits", "learning"}
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and names.match(node.value)
    ]
    assert not spelled, "use tfp_spn.programs.parameter_names"


def shape_letters(path: Path) -> Iterator[tuple[str, int]]:
    """Capital letters within brackets of docstrings and comments, with their lines."""
    text = path.read_text(encoding="utf-8")
    prose = [
        (node.body[0].lineno, ast.get_docstring(node, clean=False) or "")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
    ]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            prose.append((token.start[0], f"``{token.string}``"))
    for line, words in prose:
        for shape in re.findall(r"``[^`]*``", words):
            for axes in re.findall(r"(?<![A-Za-z])\[([^\[\]]*)\]", shape):
                for letter in re.findall(r"(?<![\w.\"])([A-Z])(?![\w(\"])", axes):
                    yield letter, line


def test_axis_letters_are_those_of_the_glossary() -> None:
    glossary = ast.get_docstring(tree_of(PACKAGE / "_typing.py")) or ""
    known = re.findall(r"^ *([A-Z])  ", glossary, re.MULTILINE)
    assert len(known) == len(set(known)), "each letter has one meaning"
    unknown = [
        f"{name_of(path)}:{line} {letter}"
        for path in MODULES
        for letter, line in shape_letters(path)
        if letter not in known
    ]
    assert not unknown
    # What differs by nature: leaf tables are no steps, dimensions no decompositions.
    time = {name_of(p) for p in MODULES for x, _ in shape_letters(p) if x == "T"}
    assert not {name for name in time if "leaves/" in name or "univariate" in name}
