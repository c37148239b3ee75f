"""The example workflow for other people's CI: it parses, and every command in it is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / "reports/ci-workflow.yml").read_text())
(JOB,) = WORKFLOW["jobs"].values()
SCRIPTS = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}
ALL = "\n".join(SCRIPTS.values())


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_every_step_is_a_script_that_bash_reads(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_of_ours_is_there() -> None:
    modules = set(re.findall(r"python -m (stages\.\w+)", ALL))
    assert modules == {"stages.repro", "stages.gates", "stages.history"}
    assert all(importlib.util.find_spec(module) for module in modules)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", ALL)) == {"install"} <= targets


@pytest.mark.parametrize(
    "words", re.findall(r"\bdvc ((?:[a-z]+ ?)+(?:--\w+)?)", re.sub("<summary>.*?</summary>", "", ALL))
)
def test_dvc_knows_every_command_that_it_is_given(words: str) -> None:
    from dvc.cli import parse_args

    assert parse_args([*words.split(), *(["HEAD"] if "diff" in words else [])]).func


def test_what_strangers_write_reaches_no_shell() -> None:
    """Names of branches and pull requests come by the environment, and never with more rights than to comment."""
    assert "${{" not in ALL
    assert "pull_request_target" not in WORKFLOW[True]  # YAML 1.1 reads `on` so
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
