"""What a user waits for before anything runs fast: seconds and memory of first calls.

    python examples/benchmarks/first_use.py [SCENARIO ...] [--xla | --graph]
        [--rounds N] [--json FILE] [--spflow PYTHON]

Each scenario runs in a fresh process: import, construction, first and second epochs
of each method of `fit`, a second circuit of equal structure, the first calls of each
query. ``"fifty structures"`` fits fifty circuits, one after another, and shows what
memory is left. Medians over rounds are printed. PYTHON is an interpreter that has
SPFlow, which is then timed on the README's circuit. Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from fresh_process import last_record, on_processors

NAMES = (
    "readme",
    "tree of 100",
    "tree of 500",
    "quad graph 8 x 8",
    "linear tree of 300",
    "quad graph 28 x 28",
    "hidden Markov model",
    "convolutional",
    "mixed table",
    "fifty structures",
)
SPFLOW = "SPFlow: readme"
TIMEOUT = 1_800

Records = dict[str, dict[str, float]]


def in_fresh_process(task: dict[str, Any]) -> Records:
    """What the script prints when it is started for one task."""
    script = [sys.executable, __file__, "--task", json.dumps(task)]
    return _last_line(script)


def of_spflow(python: str) -> Records:
    """The same of SPFlow, by its own interpreter."""
    return _last_line([python, str(Path(__file__).with_name("first_use_spflow.py"))])


def _last_line(command: list[str]) -> Records:
    # Users import from bytecode.
    environment = on_processors({"PYTHONDONTWRITEBYTECODE": ""})
    found = last_record(command, environment, TIMEOUT)
    if "error" in found:
        raise SystemExit(f"{command} failed: {found['error']}")
    return found


def medians(rounds: list[Records]) -> Records:
    """Of each number over the rounds."""
    return {
        name: {
            key: statistics.median([found[name][key] for found in rounds])
            for key in first
        }
        for name, first in rounds[0].items()
    }


def table(name: str, records: Records) -> str:
    """One scenario, to read."""
    lines = [name, f"  {'':48} {'seconds':>9} {'MiB above import':>17} {'peak':>7}"]
    for what, found in records.items():
        memory = ""
        if "mib" in found:
            memory = f"{found['mib']:17.0f} {found['peak_mib']:7.0f}"
        lines.append(f"  {what:48} {found['s']:9.3f} {memory}")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="begins so")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--xla", action="store_true", help="fit(jit_compile=True)")
    parser.add_argument("--graph", action="store_true", help="fit(jit_compile=False)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--spflow", metavar="PYTHON")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.task:
        import first_use_process

        print(json.dumps(first_use_process.measure(**json.loads(arguments.task))))
        return
    jit_compile = True if arguments.xla else False if arguments.graph else None
    beginnings = tuple(arguments.scenarios) or ("",)
    results = {}
    for name in NAMES:
        if not name.startswith(beginnings):
            continue
        task = {"name": name, "jit_compile": jit_compile}
        results[name] = medians(
            [in_fresh_process(task) for _ in range(arguments.rounds)]
        )
        print(table(name, results[name]), flush=True)
    if arguments.spflow:
        results[SPFLOW] = medians(
            [of_spflow(arguments.spflow) for _ in range(arguments.rounds)]
        )
        print(table(SPFLOW, results[SPFLOW]))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
