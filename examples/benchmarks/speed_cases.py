"""What the speed benchmark runs, and which bar each case has to clear.

Plain data: neither TensorFlow nor the package is imported here. A new case is an entry
of `CASES` and a function of the same name in `speed_workloads.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mode = Literal["graph", "xla"]


@dataclass(frozen=True)
class Case:
    """A workload, its execution mode and its bar.

    Attributes:
        name: Also the name that the peers' runners know it by.
        about: What is timed.
        mode: The execution mode that suits it: ``"graph"`` (a plain ``tf.function``)
            or ``"xla"`` (``jit_compile=True``).
        peers: Peers whose runner has the case.
        target: How many times faster than a peer it must be, or `None`.
        against: The peer that the target is about; `None`: the fastest.
        params: Parameters of the workload as it is defined for all libraries.
        gflop: Its matrix products, where ours differ by more than rounding.
        note: What a reader of the numbers must know.
    """

    name: str
    about: str
    mode: Mode
    peers: tuple[str, ...] = ()
    target: float | None = None
    against: str | None = None
    params: int | None = None
    gflop: float | None = None
    note: str = ""


_MIXING = (
    "the root's mixing of the 10 replicas is part of its weights (100 parameters "
    "fewer), a learned class prior is added (10 more)"
)
_QUAD = (
    "a leaf region has one 64x64 product here, which both partitions above it share, "
    "where the definition has one for each of them: 2,342 products, not 3,108"
)
_LIBSPN_EM = (
    "libspn-keras' EM needs the optimizers of Keras before 2.11, or keras.optimizers."
    "legacy.Optimizer put in their place"
)
_CHAIN = (
    "no peer has it: the variant is tfd.HiddenMarkovModel, same chain, same process"
)
_ONE_ROOT = "one root; spflow runs the Tucker circuit"

CASES = {
    case.name: case
    for case in (
        Case(
            "w1cp_fwd",
            "784 Gaussian variables, RAT, CP: log_prob",
            "xla",
            ("cirkit", "spflow", "sparc"),
            10,
            params=435_700,
            note=_MIXING,
        ),
        Case(
            "w1cp_train",
            "the same: Adam step on log p(x, class)",
            "xla",
            ("cirkit", "spflow"),
            25,
            params=435_700,
        ),
        Case(
            "w1ei_fwd",
            "the same with Tucker products: log_prob",
            "xla",
            ("cirkit", "spflow"),
            12,
            params=1_473_700,
            note=_MIXING,
        ),
        Case(
            "w1ei_train",
            "the same: Adam step on log p(x, class)",
            "xla",
            ("cirkit", "spflow"),
            18,
            params=1_473_700,
        ),
        Case(
            "w2_fwd",
            "28x28 pixels, 256 categories, quad graph, CP: log_prob",
            "xla",
            ("cirkit",),
            3.5,
            params=25_658_900,
            gflop=6.57,
            note=_QUAD,
        ),
        Case(
            "w2_train",
            "the same: Adam step on log p(x, class)",
            "graph",
            ("cirkit",),
            4.5,
            params=25_658_900,
            gflop=3 * 6.57,
        ),
        Case(
            "w3_fwd64",
            "28x28 pixels, DGC-SPN of LibSPN-Keras' README: log_prob, batch 64",
            "xla",
            ("libspn",),
            2.2,
            params=1_201_930,
            note="the 12,544 fixed scales of leaves are counted, too",
        ),
        Case(
            "w3_fwd256",
            "the same, batch 256",
            "xla",
            ("libspn",),
            1.5,
            params=1_201_930,
        ),
        Case(
            "w3_train64",
            "the same: Adam step on log p(class | x), batch 64",
            "xla",
            ("libspn",),
            2.5,
            params=1_201_930,
        ),
        Case(
            "w3_train256",
            "the same, batch 256",
            "xla",
            ("libspn",),
            2.5,
            params=1_201_930,
        ),
        Case(
            "w3_em64",
            "the same with one root: hard-EM step, batch 64",
            "xla",
            ("libspn",),
            40,
            note=_LIBSPN_EM,
        ),
        Case(
            "w3_em256",
            "the same, batch 256",
            "xla",
            ("libspn",),
            40,
            note=_LIBSPN_EM,
        ),
        Case(
            "w4_lp1",
            "16 binary variables, RAT, CP: log_prob of one row",
            "xla",
            ("cirkit", "spflow", "sparc"),
            1,
            against="spflow",
            params=7_855,
            note="the mixing of the 5 replicas is part of the root's weights",
        ),
        Case(
            "w4_lp100k",
            "the same: log_prob of 100,000 rows",
            "xla",
            ("cirkit", "spflow", "sparc"),
            12,
            params=7_855,
        ),
        Case(
            "w4_train",
            "the same: Adam step on log p(x)",
            "xla",
            ("cirkit", "spflow"),
            4,
            against="cirkit",
            params=7_855,
        ),
        Case(
            "w5_s1k",
            "W1-CP: 1,000 samples",
            "graph",
            ("spflow", "sparc"),
            1.7,
            note=_ONE_ROOT,
        ),
        Case("w5_s10k", "W1-CP: 10,000 samples", "graph", ("sparc",)),
        Case(
            "w5_cond1k",
            "W1-CP: a sample for each of 1,000 half-observed examples",
            "graph",
            ("spflow",),
            30,
            note=_ONE_ROOT,
        ),
        Case("w5_cond100", "the same for 100 examples", "graph", ("spflow",)),
        Case(
            "w5_mpe1k",
            "W1-CP: most probable completion of 1,000 half-observed examples",
            "xla",
            ("spflow",),
            30,
            note=_ONE_ROOT,
        ),
        Case("w5_mpe100", "the same for 100 examples", "xla", ("spflow",)),
        Case(
            "w5_marg",
            "W1-CP: log_prob, half of each example's variables integrated out",
            "xla",
            ("cirkit", "spflow"),
            30,
            against="cirkit",
        ),
        Case("w6_em", "W1-CP: EM step", "xla", ("cirkit", "spflow"), 25),
        Case("w6_em_w4", "W4: EM step", "xla", ("cirkit", "spflow"), 5),
        Case(
            "w7_lp",
            "hidden Markov model, 1,000 steps, 64 states, batch of 32: log_prob",
            "graph",
            note=_CHAIN,
        ),
        Case("w7_grad", "the same: gradient", "graph", note=_CHAIN),
        Case("w7_post", "the same: posterior marginals", "graph", note=_CHAIN),
        *(
            Case(f"w8_{size}_{what}", f"hidden Chow-Liu tree, {about}", "graph")
            for size in (100, 500)
            for what, about in {
                "lp": f"{size} binary variables, 20 units, batch of 500: log_prob",
                "grad": f"{size} variables: its gradient",
                "em": f"{size} variables: step of online EM, as of `learning.fit`",
            }.items()
        ),
    )
}

WITHOUT_RUNNER = (
    "EiNets and simple-einet have no runner: ratios are to the fastest of the peers "
    "that were run."
)


def chosen(words: Sequence[str]) -> list[Case]:
    """Cases with these names; of a word that is no name, those that begin so."""
    names: list[str] = []
    for word in words or [""]:
        found = [word] if word in CASES else [n for n in CASES if n.startswith(word)]
        if not found:
            raise SystemExit(
                f"No case is named {word!r} or begins so: there are {', '.join(CASES)}."
            )
        names += found
    return [case for name, case in CASES.items() if name in names]
