"""What judges other code is judged here: each verdict on a case made for it, and a short run of inputs and kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import judging, mutating

REPOSITORY = Path(__file__).parents[1]


def refuse() -> None:
    raise ValueError("steps must be at least 1, got 0")


def raise_another() -> None:
    raise KeyError("steps")


def two_lines() -> None:
    print("warning: a library complains", file=sys.stderr)
    print("error: and then this", file=sys.stderr)
    print("and more", file=sys.stderr)
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("run", "wrong", "verdict", "said"),
    [
        (refuse, "", judging.REFUSED, "error: steps must be at least 1, got 0"),
        (lambda: 3, "", judging.RIGHT, ""),
        (lambda: 3, "3 where 4 was said", judging.WRONG, "3 where 4 was said"),
        (raise_another, "", judging.TRACEBACK, "KeyError"),
        (two_lines, "", judging.TRACEBACK, "and more"),
    ],
)
def test_verdicts(run, wrong, verdict, said):
    found = judging.judge(run, lambda result: wrong)
    assert found.name == verdict and said in found.said


ENDLESS = """
import time
from tests.soak import judging
judging.LONGEST_S = 1
print(judging.judge(lambda: time.sleep(60), lambda result: "").name)
"""


def test_what_has_no_end_is_stuck():
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", ENDLESS], env=environment, capture_output=True, text=True, timeout=50)
    assert run.stdout == "stuck\n", run.stderr


def test_what_no_other_reader_can_read_is_wrong():
    found = judging.judge(lambda: 3, lambda result: json.loads("{"))
    assert found.name == judging.WRONG and "read as 3" in found.said


def test_a_seed_gives_the_same_examples_and_another_one_others():
    strategy = mutating.documents({"a": 1, "b": {"c": ["x", 2.0]}})
    one, same, other = (mutating.drawn(strategy, seed, 40) for seed in ("7", "7", "8"))
    assert repr(one) == repr(same) != repr(other)
    assert len({repr(example) for example in one}) > 20


def soak(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "tests.soak", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def test_a_round_of_inputs_finds_no_fault():
    run = soak("--minutes", "0", "--seed", "1", "--only", "override,prompts,upload")
    assert run.returncode == 0, run.stdout
    rows = {line.split()[0]: line.split()[1:] for line in run.stdout.splitlines() if line and line[0].isalpha()}
    assert rows["override"][0] == rows["prompts"][0] == "100" and rows["all"][3:] == ["0", "0", "0"]


def test_what_is_read_and_not_written_is_wrong(monkeypatch, tmp_path):
    """A reader that keeps the first prompt alone."""
    from stages.prompts import reading
    from tests.soak.inputs import prompts

    monkeypatch.chdir(tmp_path)
    kind, read = prompts.KINDS["prompts"], reading.read
    monkeypatch.setattr(reading, "read", lambda *given: read(*given)[:1])
    example = (".txt", "", b"a cat\na dog\n")
    found = judging.judge(lambda: kind.run(example), lambda result: kind.wrong(example, result))
    assert found.name == judging.WRONG and "a dog" in found.said


KILLS = """
import sys
from pathlib import Path
from tests.soak import kills, project
folder = Path(sys.argv[1])
project.write(folder / "whole/project")
calm = kills.undisturbed(folder, "download", folder / "whole/project")
print([kills.trial(folder, "download", calm, str(seed)).said for seed in range(4)])
place = folder / "killed-download/project/artifacts/checkpoints/base/unet/config.json"
place.write_text(place.read_text() + " ")
(place.parent / ".left").touch()
print(kills.differences(calm.digests, kills.digests(folder / "killed-download/project")))
"""


def test_a_stage_killed_at_random_ends_in_the_same_files(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    verdicts, differences = run.stdout.splitlines()
    assert verdicts == "['', '', '', '']"
    assert differences == (
        "left over: artifacts/checkpoints/base/unet/.left; of other bytes: artifacts/checkpoints/base/unet/config.json"
    )
