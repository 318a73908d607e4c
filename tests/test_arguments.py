"""One wrong argument: each is refused by the package's own message, with its name."""

from __future__ import annotations

import inspect
import math
import reprlib
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfp_spn
from tests.argument_entries import entries

ENTRIES = entries()

NO_NUMBERS = [
    "7",
    b"7",
    int,
    object(),
    1j,
    {},
    [2, "a"],
    None,
    np.datetime64("2020"),
    np.ones([2, 2]),
]
WIDE = 2**40
HUGE = [WIDE, 10**30, 10**5000]
WRONG = {
    "count": [*NO_NUMBERS, True, np.True_, 1.5, 2.0, math.nan, math.inf, -1, *HUGE],
    "rate": [*NO_NUMBERS, True, np.True_, math.nan, math.inf, -math.inf, 10**400],
    "flag": [*NO_NUMBERS, 1.5, 2, -1, math.nan, math.inf, "False", [True]],
    "axis": [*NO_NUMBERS, True, 1.5, -1.0, math.nan, math.inf, *HUGE],
    "seed": [*NO_NUMBERS, True, 1.5, math.nan, math.inf, -1, 10**30, 10**5000],
    "text": [b"7", int, object(), 1.5, True, ["a"]],
    "word": ["", "EM", b"cp", int, object(), 1.5, True, ["cp"]],
    "sizes": ["7", b"7", int, object(), 1j, {}, [2, "a"], [2, 1.5], [True, 2], 1.5],
}

# What the host judges.
NOT_OURS = {"name", "dtype", "validate_args", "allow_nan_stats", "reduction", "cmap"}

# Counts that no memory is made for, so that 2**40 is right.
OF_LARGE_RANGE = {
    "index",
    "num_dimensions",
    "patience",
    "steps",
    "steps_per_epoch",
    "total_count",
}

KINDS = {
    "int": "count",
    "float": "rate",
    "StepSize": "rate",
    "StepSize | str": "rate",
    "bool": "flag",
    "str": "text",
    "Sequence[int]": "sizes",
    "int | Sequence[int]": "sizes",
    "Iterable[int]": "sizes",
    "SumProduct": "word",
    "DataType": "word",
    "Method": "word",
    "GenerativeTerm": "word",
    "By": "word",
    "Structure": "word",
    "Test": "word",
}
OTHERS = {
    "alpha": "rate",
    "axis": "axis",
    "axis_at_least_one": "axis",
    "cell": "sizes",
    "factors": "sizes",
    "learning_rate": "rate",
    "padding": "word",
    "centroid_initialization": "word",
    "seed": "seed",
}


def declared(function: Any) -> Iterator[tuple[str, str, bool]]:
    """Names of arguments, what they are, and whether `None` is right."""
    for name, parameter in inspect.signature(function).parameters.items():
        words = str(parameter.annotation).removesuffix(" | None")
        kind = OTHERS.get(name, KINDS.get(words))
        if kind and name not in NOT_OURS and name != "unlabelled":  # any integer
            yield name, kind, parameter.default is None


PAIRS = [
    (key, *argument)
    for key, entry in ENTRIES.items()
    for argument in declared(entry.function)
]


def complaint(key: str, name: str, value: Any) -> str | None:
    """What is wrong with the answer to a wrong argument, or `None`."""
    function, arguments = ENTRIES[key]
    try:
        function(**{**arguments, name: value})
    except (TypeError, ValueError) as error:
        source = traceback.extract_tb(error.__traceback__)[-1].filename
        if "tfp_spn" not in source:
            return f"a foreign {error!r}"[:200]
        return None if name in str(error) else f"no name in {error!r}"[:200]
    except Exception as error:
        return f"{error!r}"[:200]
    return "accepted"


def wrong_values(kind: str, name: str, is_optional: bool) -> list[Any]:
    """The values that every argument of a kind refuses."""
    return [
        value
        for value in WRONG[kind]
        if not (value is None and is_optional)
        and not (value is WIDE and name in OF_LARGE_RANGE)
    ]


@pytest.mark.parametrize("key", ENTRIES)
def test_wrong_arguments_are_refused_by_name(key):
    found = {}
    for name, kind, is_optional in declared(ENTRIES[key].function):
        for value in wrong_values(kind, name, is_optional):
            answer = complaint(key, name, value)
            if answer:
                found[f"{name}={reprlib.repr(value)}"] = answer
    assert not found


NOT_COUNTS = st.one_of(
    st.floats(), st.text(), st.binary(), st.booleans(), st.integers(max_value=-1)
)
NOT_RATES = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.text(),
    st.binary(),
    st.booleans(),
    st.complex_numbers(),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)
NOT_FLAGS = st.one_of(
    st.floats().filter(lambda x: x not in (0, 1)),
    st.text(),
    st.binary(),
    st.integers(min_value=2),
    st.integers(max_value=-1),
)
DRAWN = {
    "count": NOT_COUNTS,
    "seed": NOT_COUNTS,
    "rate": NOT_RATES,
    "flag": NOT_FLAGS,
    "axis": st.one_of(st.floats(), st.text(), st.binary(), st.booleans()),
    "text": st.one_of(st.floats(), st.binary(), st.booleans(), st.integers()),
    "word": st.one_of(st.text(), st.floats(), st.binary(), st.booleans()),
    "sizes": st.lists(NOT_COUNTS, min_size=1, max_size=3) | st.text() | st.binary(),
}


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.data())
def test_drawn_arguments_are_refused_by_name(data):
    key, name, kind, _ = data.draw(st.sampled_from(PAIRS))
    value = data.draw(DRAWN[kind])
    assert complaint(key, name, value) is None


# Public callables without an argument of these kinds need no entry; these have some.
NEED_NO_ENTRY = {
    "Circuit": "made by its subclasses",
    "ContinuousMixture": "what `continuous_mixture` returns",
    "History": "what `fit` returns",
    "Pruning": "what `prune` reports",
    "Trial": "what `learn` reports",
    "RegionGraph": "judged by tests/region_graphs",
    "ConditionalMarginal": "made by `marginal`, which reads variables and steps",
    "DynamicSumProductNetwork": "variables and steps are judged in test_errors.py",
    "SumProductNetwork": "variables are judged in test_errors.py",
}


def test_every_public_callable_is_entered():
    modules = [tfp_spn.visualization, tfp_spn.sum_ops]
    for name in tfp_spn.__all__:
        if inspect.ismodule(getattr(tfp_spn, name)):
            modules.append(getattr(tfp_spn, name))
    entered = {id(entry.function) for entry in ENTRIES.values()}
    missing = []
    for module in [tfp_spn, *modules]:
        for name in getattr(module, "__all__", ()):
            public = getattr(module, name)
            if not callable(public) or id(public) in entered or name in NEED_NO_ENTRY:
                continue
            try:
                arguments = list(declared(public))
            except ValueError:  # exceptions have no signature
                continue
            missing += [f"{module.__name__}.{name}"] if arguments else []
    assert not missing


def test_arguments_by_position_that_need_a_name():
    with pytest.raises(TypeError, match=r"at most spn, x\. Name .*one of: .*labels"):
        tfp_spn.learning.fit(None, [[0]], [0])
    with pytest.raises(TypeError, match="unexpected keyword argument 'label'"):
        tfp_spn.learning.fit(None, [[0]], label=[0])
