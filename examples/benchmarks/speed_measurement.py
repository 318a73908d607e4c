"""Time and memory of one case in this process. Memory is read from Linux' /proc."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")


def mebibytes(field: str) -> float:
    """``"VmRSS"`` (resident now) or ``"VmHWM"`` (at most so far)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS} has no line {field!r}: this is not Linux.")


def forget_peak() -> None:
    """Lets the peak begin anew, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def cores_busy_elsewhere(seconds: float = 1.0) -> float:
    """Cores that other processes kept busy during a pause of this one."""
    before, own = _busy_seconds(), time.process_time()
    time.sleep(seconds)
    others = _busy_seconds() - before - (time.process_time() - own)
    return max(0.0, others / seconds)


def wait_until_quiet(patience: float) -> None:
    """Waits for other processes to fall silent, but not longer than `patience`."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if cores_busy_elsewhere() < 0.2:
            return


def _busy_seconds() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(
    call: Callable[[], object],
    seconds: float = 2.5,
    least: int = 3,
    most: int = 300,
    warm_up: int = 2,
) -> dict[str, float]:
    """Repeats a call for about `seconds`; warm-up calls are not counted.

    Returns:
        Median, least and greatest duration in milliseconds, how many calls there were,
        and how many cores other processes kept busy meanwhile.
    """
    for _ in range(warm_up):
        call()
    durations: list[float] = []
    busy, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
    while len(durations) < least or (
        len(durations) < most and time.perf_counter() - start < seconds
    ):
        before = time.perf_counter()
        call()
        durations.append(time.perf_counter() - before)
    elapsed = time.perf_counter() - start
    others = _busy_seconds() - busy - (time.process_time() - own)
    return {
        "ms": 1e3 * statistics.median(durations),
        "least_ms": 1e3 * min(durations),
        "greatest_ms": 1e3 * max(durations),
        "calls": len(durations),
        # Ticks of the system's clock are too coarse for less.
        "other_cores": max(0.0, others / elapsed) if elapsed > 0.2 else 0.0,
    }
