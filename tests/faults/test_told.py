"""What SECURITY.md and the table of faults say is tried is tried: by a test of that name, in that file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


@pytest.mark.parametrize(("page", "rows"), [("SECURITY.md", 21), ("tests/faults/README.md", 24)])
def test_every_line_has_its_test(page: str, rows: int) -> None:
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("| ")][1:]
    assert len(lines) == rows
    for line in lines:
        named = TEST.findall(line)
        assert named, line
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
