"""Clusters for tests: started for them on loopback, ended with them. Skipped where Ray is not installed."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.engines.crew import Crew
from stages.settings.schema import Engine
from tests.cluster.host import LOOPBACK
from tests.tiny_ir import CPU, part

ROOT = Path(__file__).resolve().parents[2]
CREWS: list[Crew] = []  # at most one
ONE_THREAD = copy.copy(CPU)  # as the nodes have one CPU each
ONE_THREAD.threads = 1
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'  # from the nodes, as if it were on another machine


@dataclass(frozen=True)
class Nodes:
    """`hidden`: a folder that this process sees and the nodes do not; None where that cannot be brought about."""

    address: str
    raylets: list[int]
    cache: Path
    hidden: Path | None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First those that start no cluster of two, as one on this machine is found; then those that share a crew, which
    any other ends."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
    turns = {item: 2 - ("lasting" in item.fixturenames) for item in ours if "two" in item.fixturenames}
    items.sort(key=lambda item: turns.get(item, 0))


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A cluster of so many nodes of one CPU."""
    pytest.importorskip("ray", reason="Ray is not installed: `make cluster`")
    with tempfile.TemporaryDirectory(prefix="pxl-", dir="/tmp") as folder:  # short: Ray puts sockets there
        hidden = Path(folder) / "hidden"
        hidden.mkdir()
        command = [sys.executable, "-m", "tests.cluster.host", str(count), folder]
        hides = subprocess.run(["unshare", "-m", "sh", "-c", HIDE, str(hidden), "true"], capture_output=True)
        if hides.returncode == 0:
            command = ["unshare", "-m", "sh", "-c", HIDE, str(hidden), *command]
        pipe = subprocess.PIPE
        host = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        try:
            said = json.loads(host.stdout.readline() or "{}")
            assert said, "the cluster did not start"
            known = Path(folder) / "cache"
            yield Nodes(said["address"], said["raylets"], known, None if hides.returncode else hidden)
        finally:
            host.communicate(timeout=60)


@pytest.fixture(scope="session", autouse=True)
def on_loopback() -> Iterator[None]:
    """What Ray reads when it is imported in this process."""
    before = dict(os.environ)
    os.environ.update(LOOPBACK)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def two() -> Iterator[Nodes]:
    with nodes(2) as found:
        yield found


@pytest.fixture(autouse=True)
def disconnected(request: pytest.FixtureRequest) -> Iterator[None]:
    """From every cluster, but for tests that share one crew."""
    lasting = "lasting" in request.fixturenames
    if not lasting:
        _disconnect()
    yield
    if not lasting:
        _disconnect()


@pytest.fixture
def lasting(two: Nodes) -> Crew:
    """A crew whose processes stay between tests: to start them takes as long as what they are then asked."""
    if not CREWS:
        CREWS.append(crew(two, Lasting))
    return CREWS[0]


def _disconnect() -> None:
    CREWS.clear()
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


class Lasting(Crew):
    """Its workers are not let rest."""

    def rest(self) -> None:
        pass


def crew(found: Nodes, kind: type[Crew] = Crew, **how: object) -> Crew:
    fields = {"name": "ray", "address": found.address, "workers": None, "cpus": 1, "memory_gb": 0.5}
    return kind(part(Engine, **fields | how))
