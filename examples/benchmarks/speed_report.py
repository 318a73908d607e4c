"""From the records of all rounds to medians, ratios and a table."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from speed_cases import CASES, WITHOUT_RUNNER, Case

OWN = "tfp_spn"
MEDIANS = (
    "ms",
    "compile_s",
    "build_s",
    "import_mib",
    "peak_mib",
    "above_import_mib",
    "other_cores",
    "floor_ms",
)
# Cores that other programs may keep busy; more than that slows libraries unevenly (a
# thread pool that waits for a core it does not get slows torch a hundred times).
QUIET = 0.3
CONSTANTS = ("params", "gflop", "minimal_mib", "layer_mib", "floor_way")


def summarize(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One summary per case, in the order of `CASES`.

    Of several execution modes the faster one counts.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        key = (record["case"], record["peer"], record.get("mode", ""))
        groups[key].append(record)
    by_case: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for (case, peer, _), rounds in groups.items():
        by_case[case].setdefault(peer, []).append(median_of(rounds))
    return [
        summary(CASES[name], {peer: fastest(m) for peer, m in by_case[name].items()})
        for name in CASES
        if name in by_case
    ]


def fastest(modes: list[dict[str, Any]]) -> dict[str, Any]:
    return min(modes, key=lambda record: record.get("ms", float("inf")))


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds that gave a result."""
    good = [record for record in rounds if "error" not in record]
    if not good:
        return {"error": rounds[-1]["error"]}
    result = {key: good[0][key] for key in ("mode", *CONSTANTS) if key in good[0]}
    result["rounds"] = len(good)
    result["least_ms"] = min(record["least_ms"] for record in good)
    for key in MEDIANS:
        values = [record[key] for record in good if record.get(key) is not None]
        if values:
            result[key] = statistics.median(values)
    for name in good[0].get("variants_ms", {}):
        values = [record["variants_ms"][name] for record in good]
        result.setdefault("variants_ms", {})[name] = statistics.median(values)
    return result


def summary(case: Case, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ours beside the peers'.

    `ratio` is the fastest peer's time divided by ours, `target_ratio` that of the peer
    which the target names; `is_met` is `None` where there is nothing to compare with.
    Unless `is_quiet`, other programs disturbed the times.
    """
    own = results.get(OWN, {"error": "not run"})
    peers = {
        peer: result
        for peer, result in results.items()
        if peer != OWN and "error" not in result
    }
    row: dict[str, Any] = {
        "case": case.name,
        "ours": own,
        "peers": {peer: r for peer, r in results.items() if peer != OWN},
        "target": case.target,
        "against": case.against,
        "ratio": None,
        "target_ratio": None,
        "is_met": None,
        "is_memory_met": None,
        "is_quiet": None,
    }
    if "error" in own:
        return row
    if own.get("floor_ms"):
        row["times_floor"] = own["ms"] / own["floor_ms"]
    if not peers:
        return row
    row["is_quiet"] = max(map(cores_busy, [own, *peers.values()])) <= QUIET
    row["fastest_peer"] = min(peers, key=lambda peer: peers[peer]["ms"])
    row["ratio"] = peers[row["fastest_peer"]]["ms"] / own["ms"]
    row["target_ratio"] = row["ratio"]
    if case.against is not None:
        rival = peers.get(case.against)
        row["target_ratio"] = rival["ms"] / own["ms"] if rival else None
    if case.target is not None and row["target_ratio"] is not None:
        row["is_met"] = row["target_ratio"] >= case.target
    if case.gflop is not None:
        row["ratio_at_equal_arithmetic"] = row["ratio"] * own["gflop"] / case.gflop
    smallest = min(peer["above_import_mib"] for peer in peers.values())
    row["is_memory_met"] = own["above_import_mib"] <= smallest
    return row


COLUMNS = (
    ("case", 11),
    ("mode", 6),
    ("ms", 9),
    ("least", 9),
    ("compile s", 10),
    ("MiB", 7),
    ("needed", 7),
    ("GFLOP", 8),
    ("floor ms", 9),
    ("x floor", 8),
    ("ratio", 7),
    ("target", 15),
    ("memory", 8),
)


def table(summaries: list[dict[str, Any]]) -> str:
    """The summaries as text.

    MiB is peak memory above the imports, "needed" the size of layer outputs and
    parameters, "x floor" our time over that of the bare matrix products. A verdict is
    doubtful ("met?") if other programs ran meanwhile.
    """
    header = "".join(f"{name:>{width}}" for name, width in COLUMNS)
    lines = [header + "   peers: ms (MiB)", "-" * (len(header) + 20)]
    lines += [line(row) for row in summaries]
    lines += ["", *notes(summaries)]
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    own = row["ours"]
    if "error" in own:
        return f"{row['case']:>11}  failed: {own['error']}"
    cells = (
        row["case"],
        own["mode"],
        number(own["ms"]),
        number(own["least_ms"]),
        number(own.get("compile_s")),
        number(own.get("above_import_mib")),
        number(own.get("minimal_mib")),
        number(own.get("gflop")),
        number(own.get("floor_ms")),
        number(row.get("times_floor")),
        number(row["ratio"]),
        target(row),
        {None: "-", True: "met", False: "not met"}[row["is_memory_met"]],
    )
    text = "".join(f"{c:>{w}}" for c, (_, w) in zip(cells, COLUMNS, strict=True))
    shown = []
    for peer, result in row["peers"].items():
        if "error" in result:
            shown.append(f"{peer} failed")
        else:
            memory = number(result["above_import_mib"])
            shown.append(f"{peer} {number(result['ms'])} ({memory})")
    return f"{text}   {', '.join(shown)}".rstrip()


def target(row: dict[str, Any]) -> str:
    if row["target"] is None:
        return "-"
    verdict = {None: "?", True: "met", False: "not met"}[row["is_met"]]
    doubt = "?" if row["is_met"] is not None and not row["is_quiet"] else ""
    return f"{row['target']:g} {verdict}{doubt}"


def cores_busy(result: dict[str, Any]) -> float:
    return result.get("other_cores") or 0.0


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    if 0 < value < 0.001:
        return f"{value:.0e}"
    return f"{value:#.3g}".rstrip(".")


def notes(summaries: list[dict[str, Any]]) -> list[str]:
    """What the columns leave out: other variants, parameters, deviations, failures."""
    found = []
    for row in summaries:
        case, own = CASES[row["case"]], row["ours"]
        parts = []
        if case.params is not None and "params" in own:
            parts.append(f"{own['params']:,} parameters, defined {case.params:,}")
        if case.note:
            parts.append(case.note)
        if "ratio_at_equal_arithmetic" in row:
            ratio = number(row["ratio_at_equal_arithmetic"])
            parts.append(f"ratio per multiplication {ratio}")
        if row["target_ratio"] != row["ratio"] and row["target_ratio"] is not None:
            ratio = number(row["target_ratio"])
            parts.append(f"the target is about {row['against']}: ratio {ratio}")
        for name, ms in own.get("variants_ms", {}).items():
            parts.append(f"{name}: {number(ms)} ms")
        for peer, result in row["peers"].items():
            if "error" in result:
                parts.append(f"{peer}: {result['error']}")
        busy = max(map(cores_busy, [own, *row["peers"].values()]))
        if busy > QUIET:
            parts.append(f"other processes kept up to {busy:.1f} cores busy")
        if parts:
            found.append(f"{row['case']}: " + "; ".join(parts) + ".")
    if any(row["peers"] for row in summaries):
        found.append(WITHOUT_RUNNER)
    return found
