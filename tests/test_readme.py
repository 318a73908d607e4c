"""The README keeps its promises: its program runs, its test command is the CI's."""

from __future__ import annotations

import re
from pathlib import Path

from tests.processes import output_of

ROOT = Path(__file__).resolve().parents[1]
MAX_PROGRAM_LINES = 20
PYTEST_CALL = re.compile(r"-m pytest[^\n`]*")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def first_program() -> str:
    found = re.search(r"^```python\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
    assert found is not None, "README.md has no ```python block"
    return found.group(1)


def test_program_is_short() -> None:
    lines = [line for line in first_program().splitlines() if line.strip()]
    assert len(lines) <= MAX_PROGRAM_LINES


def test_program_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(first_program(), encoding="utf-8")
    output_of(program, cwd=tmp_path)


def test_test_command_is_what_ci_runs() -> None:
    in_ci = PYTEST_CALL.findall((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    in_readme = PYTEST_CALL.findall(readme())
    assert len(in_ci) == 1
    assert in_readme == in_ci
