"""No cluster, no Ray, no room: one line within seconds, and exit status 2."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import ROOT, nodes

COMMAND = """
import sys
from pathlib import Path
from stages.settings.config import main_guard
from stages.engines.engine import chosen
from stages.settings.schema import Engine
from tests.cluster.works import saying
from tests.tiny_ir import CPU, part

if __name__ == "__main__":
    with main_guard():
        engine = chosen(part(Engine, name="ray", address=sys.argv[1], workers=None, cpus=None, memory_gb=None))
        list(engine.map(saying(Path("ir"), CPU), range(3), "saying", "item"))
"""


def refused(folder: Path, address: str, **environment: str) -> tuple[str, float]:
    """What it says, and the seconds that it takes to say so."""
    (folder / "command.py").write_text(COMMAND)
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(folder)} | environment
    command, start = [sys.executable, "command.py", address], time.monotonic()
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and done.stdout == "", done
    (line,) = done.stderr.splitlines()
    return line, time.monotonic() - start


@pytest.fixture(autouse=True)
def with_ray() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `make cluster`")


def test_no_cluster_on_this_machine(tmp_path: Path) -> None:
    line, seconds = refused(tmp_path, "auto")
    assert line.startswith("error: engine.address auto: no Ray cluster is to be had on this machine (")
    assert "'ray start --head'" in line and "engine=local" in line and seconds < 20


def test_nobody_listens_at_the_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line, seconds = refused(tmp_path, f"127.0.0.1:{port}")
    assert f"no Ray cluster is to be had at 127.0.0.1:{port} (" in line and "refused" in line and seconds < 20


def test_somebody_else_listens_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        line, seconds = refused(tmp_path, f"127.0.0.1:{other.getsockname()[1]}")
    assert "no Ray cluster is to be had at 127.0.0.1:" in line and seconds < 60


@pytest.mark.slow
def test_a_head_on_loopback_that_ray_looks_for_elsewhere(tmp_path: Path) -> None:
    asked = "from ray._private import services; print(services.get_node_ip_address())"
    elsewhere = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}  # as it is on Linux by itself
    known = subprocess.run([sys.executable, "-c", asked], env=os.environ | elsewhere, capture_output=True, text=True)
    if known.stdout.strip() == "127.0.0.1":
        pytest.skip("this machine has no other address")
    with nodes(1) as one:
        line, seconds = refused(tmp_path, one.address, **elsewhere)
    assert f"no Ray cluster is to be had at {one.address} (" in line and seconds < 20


def test_ray_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "ray.py").write_text("raise ImportError(\"No module named 'ray'\")")
    line, _ = refused(tmp_path, "auto", PYTHONPATH=f"{tmp_path / 'without'}:{ROOT}")
    assert "engine=ray needs Ray, which is not installed" in line and "'make cluster'" in line
