"""Which tests go to one process where several share them (`make test`): those of one file, and of files that share a
run of the whole pipeline; the longest first, so that none is left over at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import stages  # noqa: F401  # before any test imports OpenVINO, which would report what it converts to its makers

TOGETHER = {"tests/test_end_to_end.py": "whole run", "tests/test_consumers.py": "whole run"}
LONGEST = (
    "test_end_to_end.py", "test_consumers.py", "test_benchmark.py", "test_speed.py", "test_shipped.py",
    "test_schemes.py", "test_peers.py", "test_search.py", "test_page.py", "test_calibrate.py", "test_presets.py",
    "test_lora.py", "test_working_tree.py", "test_single_file.py", "test_export.py", "test_config.py",
)  # fmt: skip

OBEYED = ("HF_", "GRADIO_", "POCKETXL_", "DVC_")  # variables that change what the code under test does


@pytest.fixture(scope="module", autouse=True)
def environment_as_it_was() -> Iterator[None]:
    """Whatever runs next in this process, and its children, must not find what the tests of one file set."""

    def obeyed() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(OBEYED)}

    before = obeyed()
    yield
    assert obeyed() == before


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return TOGETHER.get(file, file)

    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
