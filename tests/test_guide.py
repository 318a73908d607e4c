"""The programs in `examples/guide/` run; what they link to and name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.processes import output_of

GUIDE = Path(__file__).resolve().parents[1] / "examples" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))
CALL = re.compile(r"`((?:spn|given|x, mask = tfp_spn)\.[^`]*|given = [^`]*)`")
PROGRAMS = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def test_pages_are_there() -> None:
    assert len(PAGES) == 6
    assert len(PROGRAMS) == 5


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: page.stem)
def test_programs_run(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    text = page.read_text(encoding="utf-8")
    parts = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if page.stem == "queries":  # the calls in its table, too
        parts += [call + "\n" for call in CALL.findall(text)]
        assert len(parts) > 20
    program = tmp_path / "program.py"
    program.write_text("\n".join(parts), encoding="utf-8")
    output_of(program, cwd=GUIDE.parents[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
