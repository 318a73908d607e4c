"""How fast circuits are evaluated, trained and sampled, beside other libraries.

    python examples/benchmarks/speed.py [CASE ...] [--rounds N] [--json FILE]
        [--peers RUNNERS --peer-environments FOLDER [--tuned]]
    python examples/benchmarks/speed.py --scaling [--json FILE]

CASE is a name or the beginning of one, such as ``w1``; ``--list`` explains them. Each
case runs in a fresh process, in turn with the peers, and each round passes over all
cases; medians over rounds are printed. Compilation is apart, and beside each time
stands that of the case's matrix products alone. RUNNERS is a folder of scripts
``peer_<library>.py`` that take a case and print a line of JSON; FOLDER has a virtual
environment ``<library>`` for each. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import speed_case_process
import speed_scaling
from fresh_process import last_record, on_processors
from speed_cases import CASES, Case, chosen
from speed_peers import TUNED, run_peer
from speed_report import OWN, summarize, table

TIMEOUT = 900


def in_fresh_process(task: dict[str, Any], tuned: bool = False) -> dict[str, Any]:
    """What the script prints when it is started for one task."""
    return last_record(
        [sys.executable, __file__, "--task", json.dumps(task)],
        on_processors(TUNED if tuned else {}),
        TIMEOUT,
    )


def run_task(task: dict[str, Any]) -> dict[str, Any]:
    """In the fresh process."""
    kind = task.pop("kind")
    if kind == "case":
        return speed_case_process.measure(**task)
    return speed_scaling.measure(**task)


def modes_of(case: Case, mode: str | None) -> tuple[str, ...]:
    if mode == "best":
        return ("graph", "xla")
    return (mode or case.mode,)


def run_case(case: Case, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Our modes, then each peer."""
    records = []
    for mode in modes_of(case, arguments.mode):
        task = {
            "kind": "case",
            "name": case.name,
            "mode": mode,
            "threads": arguments.threads,
            "seconds": arguments.seconds,
            "patience": arguments.patience,
        }
        about = {"peer": OWN, "case": case.name, "mode": mode}
        records.append({**about, **in_fresh_process(task, arguments.tuned)})
    for peer in case.peers if arguments.peers else ():
        records.append(
            run_peer(
                peer,
                case.name,
                arguments.peers,
                arguments.peer_environments,
                threads=arguments.threads,
                seconds=arguments.seconds,
                patience=arguments.patience,
                tuned=arguments.tuned,
            )
        )
    return records


def run_cases(arguments: argparse.Namespace) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    cases = chosen(arguments.cases)
    for number in range(arguments.rounds):
        for case in cases:
            for record in run_case(case, arguments):
                record["round"] = number
                records.append(record)
                shown = record.get("error") or f"{record['ms']:.3f} ms"
                mode = record.get("mode", "")
                print(
                    f"# round {number + 1}: {case.name} {record['peer']} {mode} "
                    f"{shown}",
                    file=sys.stderr,
                    flush=True,
                )
            write(arguments.json, {"records": records})
    summaries = summarize(records)
    print(table(summaries))
    return {"summaries": summaries, "records": records}


def run_scaling(arguments: argparse.Namespace) -> dict[str, Any]:
    results = {}
    for axis in speed_scaling.AXES:
        task = {
            "kind": "scaling",
            "axis": axis,
            "threads": arguments.threads,
            "seconds": arguments.seconds,
        }
        results[axis] = in_fresh_process(task)
        print(speed_scaling.text(axis, results[axis]), flush=True)
    return {"scaling": results}


def write(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(results, indent=1))


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--list", action="store_true", help="explain the cases")
    parser.add_argument("--scaling", action="store_true", help="how cost grows")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--mode", choices=["graph", "xla", "best"], help="default: the case's own"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--seconds", type=float, default=2.5, help="for the repetitions of one case"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=12.0,
        help="seconds to wait before timing for other processes to fall silent",
    )
    parser.add_argument("--peers", type=Path, metavar="RUNNERS")
    parser.add_argument(
        "--peer-environments",
        type=Path,
        metavar="FOLDER",
        default=os.environ.get("PEERS"),
        help="default: the environment variable PEERS",
    )
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="all with the malloc options of speed_peers",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.peers and arguments.peer_environments is None:
        parser.error("--peers needs --peer-environments, or the variable PEERS")
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, received {arguments.rounds}")
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.task:
        print(json.dumps(run_task(arguments.task)), flush=True)
    elif arguments.list:
        for case in CASES.values():
            print(f"{case.name:11s} {case.about}")
    elif arguments.scaling:
        write(arguments.json, run_scaling(arguments))
    else:
        write(arguments.json, run_cases(arguments))


if __name__ == "__main__":
    main()
