"""Programs in processes of their own, which start in half a second instead of seven.

A server imports TensorFlow, TFP and Keras, and nothing of ours, and forks for each
program. It runs no operation, so that TensorFlow has no threads yet that a fork loses.
What depends on how a process starts (Keras' backend, its memory) needs `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 900  # seconds

_SERVERS: list[subprocess.Popen[str]] = []


def run_program(
    *words: Any, code: str | None = None, cwd: Path = ROOT, hidden: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """What ``python *words`` does in a folder, or ``python -c code *words``.

    Packages that are `hidden` are as if they were not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "words": [*map(str, words)],
            "code": code,
            "cwd": str(cwd),
            "hidden": hidden,
            "streams": [str(Path(folder, name)) for name in ("stdout", "stderr")],
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = server.stdout.readline()
        assert status, "the server of tests/processes.py died"
        out, err = (Path(name).read_text("utf-8") for name in request["streams"])
    return subprocess.CompletedProcess(request["words"], int(status), out, err)


def output_of(*words: Any, **options: Any) -> str:
    """What a program prints; it has to succeed."""
    done = run_program(*words, **options)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


def _server() -> subprocess.Popen[str]:
    """The server of this process, which ends with it."""
    if not _SERVERS:
        server = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONHASHSEED": "7"},  # other hashes than here
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        _SERVERS.append(server)
        atexit.register(server.kill)
    return _SERVERS[0]


def _serve() -> None:
    """Forks for each request."""
    gc.freeze()  # children share the memory
    gc.enable()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = _status_of(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # taking all apart would take a second
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


def _status_of(request: Mapping[str, Any]) -> int:
    """Runs one program, and tells what it ends with."""
    try:
        _run(request)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _run(request: Mapping[str, Any]) -> None:
    """Runs one program, as `python` would."""
    signal.alarm(TIMEOUT)
    for descriptor, path in enumerate(request["streams"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    for package in request["hidden"]:
        inner = [name for name in sys.modules if name.startswith(package + ".")]
        sys.modules.update(dict.fromkeys([package, *inner]))
    code, words = request["code"], request["words"]
    if code is None:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
    else:
        sys.argv = ["-c", *words]
        sys.path.insert(0, "")
        exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    gc.disable()  # until programs run
    from tests.quick_tracing import IS_OPTIMIZED, trace_quickly

    if not IS_OPTIMIZED:
        trace_quickly()

    import keras  # noqa: F401
    import tensorflow_probability

    with contextlib.suppress(AttributeError):  # it is loaded when first touched
        tensorflow_probability.distributions.Normal  # noqa: B018
    _serve()
