"""A mask fits its values or does not: every reader says the same of the same mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cases import CASES
from tfp_spn import learning, region_graphs, structure

N, V, T = 6, 4, 3
TABLE = np.random.default_rng(0).integers(0, 2, [N, V])
WHOLE = np.random.default_rng(1).random([N, V]) < 0.7

Reader = Callable[[object], object]


def refusal(read: Reader, mask: object) -> type[Exception] | None:
    """The error that a reader raises, which says what it received."""
    try:
        read(mask)
    except (TypeError, ValueError) as error:
        says = "observed" in str(error) and "received" in str(error).lower()
        return type(error) if says else None
    return None


def readers_of_tables() -> dict[str, Reader]:
    """By name, what reads the table and a mask of it; each returns some numbers."""
    case = CASES["normal"]()

    def fitted(observed: object) -> object:
        quick = {"epochs": 0, "verbose": False, "initialize": False}
        return learning.fit(case.circuit, TABLE, observed=observed, **quick).epochs

    def learned(learn: Callable) -> Reader:
        return lambda observed: learn(TABLE, observed=observed, seed=0).count_params()

    return {
        "circuit": lambda m: case.circuit(TABLE, observed=m),
        "log_prob": lambda m: case.distribution.log_prob(TABLE, observed=m),
        "fit": fitted,
        "initialize_leaves": lambda m: learning.initialize_leaves(
            case.circuit, TABLE, observed=m
        ),
        "distill": lambda m: learning.distill(case.circuit, TABLE, observed=m),
        "mutual_information": lambda m: region_graphs.mutual_information(
            TABLE, observed=m
        ),
        "chow_liu_tree": lambda m: region_graphs.chow_liu_tree(TABLE, observed=m),
        "random_partition_circuit": learned(structure.random_partition_circuit),
        "learn_spn": learned(structure.learn_spn),
    }


WRONG = {
    "integers": (WHOLE.astype(int), TypeError),
    "floats": (WHOLE.astype(float), TypeError),
    "a flag for all": (np.array(True), ValueError),
    "a flag for each example": (WHOLE[:, :1], ValueError),
    "a flag too few": (WHOLE[:, 1:], ValueError),
    "a flag too few, for all examples": (WHOLE[0, 1:], ValueError),
    "examples too few": (WHOLE[1:], ValueError),
    "transposed": (WHOLE.T, ValueError),
    "an axis too many": (np.repeat(WHOLE[..., np.newaxis], 2, -1), ValueError),
}
RIGHT = {
    "for all examples": WHOLE[0],
    "for all examples, with their axis": WHOLE[:1],
    "as lists": WHOLE[0].tolist(),
}


def test_readers_of_tables_refuse_and_take_the_same_masks():
    all_alike = np.tile(WHOLE[:1], [N, 1])
    for name, read in readers_of_tables().items():
        for kind, (mask, error) in WRONG.items():
            assert refusal(read, mask) is error, f"{name}: {kind}"
        want = read(all_alike)
        for kind, mask in RIGHT.items():
            found = read(mask)
            if want is not None:
                np.testing.assert_array_equal(found, want, f"{name}: {kind}")


def test_readers_of_sequences_take_flags_of_steps():
    case = CASES["dynamic"]()
    x = np.asarray(case.x)
    program = case.circuit.program
    steps = np.arange(x.shape[1]) < 2
    whole = np.broadcast_to(
        steps.reshape(-1, *[1] * (len(program.mask_shape) - 1)),
        (len(x), *program.mask_shape),
    )
    by_step = program.mask_shapes[-1]
    readers = {
        "circuit": lambda m: case.circuit(x, observed=m),
        "log_prob": lambda m: case.distribution.log_prob(x, observed=m),
        "fit": lambda m: (
            learning.fit(
                case.circuit, x, observed=m, epochs=0, verbose=False, initialize=False
            ).epochs
        ),
    }
    for name, read in readers.items():
        want = read(whole)
        for mask in (steps.reshape(by_step), whole[0], whole[:1]):
            np.testing.assert_array_equal(read(mask), want, name)
        for mask in (steps, whole[:, 1:], steps.reshape(by_step)[1:]):
            assert refusal(read, mask) is ValueError, f"{name}: {mask.shape}"
