"""The peers' runners: one process per peer and case, each prints a line of JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fresh_process import last_record

# glibc options that keep a process from handing big tensors back to the system and
# faulting them in again: torch libraries are up to three times faster with them, and so
# is TensorFlow where single allocations exceed 32 MiB. Both sides get them or neither.
TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
TIMEOUT = 600


def run_peer(
    peer: str,
    case: str,
    runners: Path,
    environments: Path,
    *,
    threads: int,
    seconds: float,
    patience: float,
    tuned: bool,
) -> dict[str, Any]:
    """Runs ``peer_<peer>.py CASE`` under the interpreter of the peer's environment.

    Returns:
        A record with the keys of our own, or with ``error``.
    """
    script = (runners / f"peer_{peer}.py").resolve()
    python = (environments / peer / "bin").resolve() / "python"
    record: dict[str, Any] = {"peer": peer, "case": case, "tuned": tuned}
    for path in (script, python):
        if not path.exists():
            return {**record, "error": f"{path} not found"}
    environment = {
        "NT": str(threads),
        "BUD": str(seconds),
        "ATT": "1",
        "QUIET": str(patience),
        "BENCH_OUT": os.devnull,
        "PYTHONWARNINGS": "ignore",
        **(TUNED if tuned else {}),
    }
    found = last_record([str(python), str(script), case], environment, TIMEOUT)
    return {**record, **renamed(found)}


def renamed(line: dict[str, Any]) -> dict[str, Any]:
    """A runner's record under our names."""
    if "error" in line:
        return {"error": line["error"]}
    return {
        "ms": 1e3 * line["med"],
        "least_ms": 1e3 * line["mn"],
        "calls": line.get("n"),
        "other_cores": line.get("other"),
        "import_mib": line["base_mib"],
        "peak_mib": line["peak_mib"],
        "above_import_mib": line["peak_mib"] - line["base_mib"],
        "params": line.get("params"),
    }
