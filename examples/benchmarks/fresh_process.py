"""Starts a command in a process of its own and reads the JSON that it prints last."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any


def last_record(
    command: list[str], environment: dict[str, str], timeout: float
) -> dict[str, Any]:
    """Returns the last line of JSON that a command prints, or a record with ``error``.

    Args:
        command: The command and its arguments.
        environment: Variables besides those of this process.
        timeout: In seconds.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no result after {timeout:g} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return {"error": f"exit status {done.returncode}: {last[0]}"}
    return json.loads(lines[-1])


def on_processors(environment: dict[str, str]) -> dict[str, str]:
    """Adds what keeps TensorFlow quiet, and off accelerators unless they are chosen."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "-1")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": devices}
    return {**quiet, **environment}
