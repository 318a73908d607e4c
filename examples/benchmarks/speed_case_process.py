"""One case in a process of its own: what `speed.py` starts for each measurement."""

from __future__ import annotations

import time
from typing import Any

import speed_measurement as measurement


def set_threads(threads: int) -> None:
    """Before TensorFlow runs its first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def measure(name: str, mode: str, threads: int, seconds: float, patience: float) -> Any:
    """Builds, compiles and times a case.

    Memory is counted from after the imports to after the timed calls; variants and the
    matrix products alone come later.
    """
    start = time.perf_counter()
    import speed_workloads

    set_threads(threads)
    import_seconds = time.perf_counter() - start
    baseline = measurement.mebibytes("VmRSS")
    measurement.forget_peak()

    start = time.perf_counter()
    workload = speed_workloads.build(name, mode)
    build_seconds = time.perf_counter() - start
    start = time.perf_counter()
    workload.call()
    first_call_seconds = time.perf_counter() - start
    measurement.wait_until_quiet(patience)
    times = measurement.timed(workload.call, seconds)
    peak = measurement.mebibytes("VmHWM")

    result = {
        "peer": "tfp_spn",
        "case": name,
        "mode": mode,
        "threads": threads,
        "import_s": import_seconds,
        "build_s": build_seconds,
        # The first call traces and compiles, and then runs once.
        "compile_s": max(0.0, first_call_seconds - times["ms"] / 1e3),
        **times,
        "import_mib": baseline,
        "peak_mib": peak,
        "above_import_mib": peak - baseline,
        **_arithmetic(workload, seconds),
    }
    for variant, (call, number) in workload.variants.items():
        times = measurement.timed(call, seconds)
        result.setdefault("variants_ms", {})[variant] = times["ms"] / number
    return result


def _arithmetic(workload: Any, seconds: float) -> dict[str, Any]:
    import speed_arithmetic as arithmetic

    program, count = workload.circuit.program, workload.num_examples
    program = getattr(program, "step", program)  # of a dynamic circuit: the template
    num_parameters = workload.circuit.count_params()
    sizes = arithmetic.mebibytes(program, num_parameters, count)
    result: dict[str, Any] = {
        "params": num_parameters,
        "examples": count,
        "layer_mib": sizes,
        "minimal_mib": sum(sizes.values()),
    }
    if workload.passes:
        # Their number says little of an activity that only chooses.
        masks = workload.num_masks
        result["gflop"] = workload.passes * arithmetic.gflop(program, count, masks)
        start = measurement.timed(arithmetic.empty_call(), 0.1)["ms"]
        bare = {}
        for way, call, number in arithmetic.bare_products(program, count, masks):
            ms = measurement.timed(call, min(seconds, 0.5))["ms"]
            bare[way] = start + workload.passes * number * max(0.0, ms - start)
        result["floor_way"] = min(bare, key=bare.__getitem__)
        result["floor_ms"] = bare[result["floor_way"]]
    return result
