"""Which tests go to one process where several share them (`make test`): those of one file, and of files that share a
run of the whole pipeline; the longest first, so that none is left over at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

TOGETHER = {"test_end_to_end.py": "whole run", "test_consumers.py": "whole run"}
LONGEST = (
    "test_end_to_end.py", "test_consumers.py", "test_speed.py", "test_shipped.py", "test_schemes.py", "test_page.py",
    "test_peers.py", "test_miniatures.py", "test_presets.py", "test_benchmark.py", "test_working_tree.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(TOGETHER.get(item.path.name, _name(item))))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def _name(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()
