"""Two runs that agree, or do not: intervals by hand, figures out of records, a word at the end and a status."""

from __future__ import annotations

import copy
import json
import math
import random
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from proofs import agreement, repeat
from tests.fake_reports import record

SINGLE = ["image_s", "text_encoders_s", "unet_step_s", "vae_decode_s"]


def sitting(number: int, drift: float = 0.01, slower: float = 1.0, likeness: float = 27.9) -> dict:
    """A record of mini-vega whose times are those of a machine that is a little quicker or slower each time."""
    found = copy.deepcopy(record("mini-vega", "int8"))
    pace = slower * random.Random(number).uniform(1 - drift, 1 + drift)
    found["peak_gops"] = {"float": 2000 / pace, "int8": 4000 / pace}
    for row in found["precisions"].values():
        row["skipped"] = None
        times = [row[name] for name in SINGLE] + [task["image_s"] for task in row["tasks"].values() if task]
        for time in times:
            time |= {"median": time["median"] * pace, "raw": [value * pace for value in time["raw"]]}
        row["load_s"] *= pace
        for name in ("speedup_step", "speedup_image"):  # of pairs in turns, which the pace does not touch
            row[name] = row[name] and {
                at: value * random.Random(number).gauss(1, 0.01) for at, value in row[name].items()
            }
        row["cold_s"] = {name: seconds * pace for name, seconds in row["cold_s"].items()}
    found["precisions"]["int8"]["psnr_db"] = likeness
    return found


def test_the_next_value_lies_within_what_the_first_ones_foretell() -> None:
    """By hand: s² = 2.5, t = 2.776, √1.2; of what is above 0 the same of its logarithms."""
    low, high = agreement.next_one([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert (low, high) == (pytest.approx(1 - 4.81, abs=0.02), pytest.approx(1 + 4.81, abs=0.02))
    low, high = agreement.next_one([math.exp(0.1 * n) for n in range(1, 6)])
    assert (math.log(low), math.log(high)) == (pytest.approx(0.3 - 0.481, abs=2e-3), pytest.approx(0.781, abs=2e-3))
    assert agreement.next_one([0.1] * 5) == (0.1, 0.1), "to the last digit"


def test_it_does_so_ninety_five_times_in_a_hundred_and_an_interval_within_a_sitting_does_not() -> None:
    """Sittings that differ by 2 %, of 20 values each that differ by 1 %: deterministic, by a seed."""
    draw, hits, own_hits = random.Random(0), 0, 0
    for _ in range(400):
        middles = [draw.gauss(1.0, 0.02) for _ in range(6)]
        sittings = [[draw.gauss(middle, 0.01) for _ in range(20)] for middle in middles]
        medians = [sorted(values)[10] for values in sittings]
        low, high = agreement.next_one(medians[:-1])
        hits += low <= medians[-1] <= high
        low, high = agreement.of_median(sittings[-2])
        own_hits += low <= medians[-1] <= high
    assert 370 <= hits <= 390 and own_hits < 150


def test_figures_are_those_of_both_precisions_with_their_own_intervals_where_they_have_raw_values() -> None:
    found = agreement.figures(sitting(0))
    times = {name.split(" ", 1)[1] for name in found if name.endswith("_s")} - {"load_s"}
    assert {
        "text_encoders_s",
        "unet_step_s",
        "vae_decode_s",
        "text-to-image image_s",
        "image-to-image image_s",
    } == times
    step = found["int8 unet_step_s"]
    assert step.own is not None and step.own[0] <= step.value <= step.own[1]
    speed = sitting(0)["precisions"]["int8"]["speedup_step"]
    assert found["int8 speedup_step"] == agreement.Figure(speed["ratio"], (speed["low"], speed["high"]))
    assert found["int8 unet_size_mb"].own is None and "fp16 speedup_step" not in found and "fp16 psnr_db" not in found
    assert len(found) >= 38 and found["peak_gops int8"].value > found["peak_gops float"].value


def test_a_precision_that_was_not_run_has_no_figures() -> None:
    left_out = sitting(0)
    row = left_out["precisions"]["fp16"]
    left_out["precisions"]["fp16"] = dict.fromkeys(row) | {"skipped": "not run: needs 9 GB"}
    assert {name.split(" ")[0] for name in agreement.figures(left_out)} == {"int8", "peak_gops"}


def test_runs_of_one_machine_agree() -> None:
    found = agreement.summary(agreement.compared([sitting(n) for n in range(5)], sitting(9)))
    assert found["all"][0] == found["all"][1] >= 38 and found["varying"][1] >= 20
    assert found["same"][0] == found["same"][1] > 10 and 0.01 < found["half_width"] < 0.05
    assert agreement.agrees(found)


def test_a_machine_that_slowed_down_does_not_agree_though_all_that_never_varies_does() -> None:
    found = agreement.summary(agreement.compared([sitting(n) for n in range(5)], sitting(9, slower=1.1)))
    assert found["varying"][0] == 2, "speeds of one precision against the other"
    assert found["same"][0] == found["same"][1]
    assert not agreement.agrees(found)


def test_what_was_the_same_in_every_sitting_must_be_so_in_the_next() -> None:
    rows = agreement.compared([sitting(n) for n in range(5)], sitting(9, likeness=27.91))
    assert [row["name"] for row in rows if not row["within"]] == ["int8 psnr_db"]


def test_too_few_sittings_foretell_nothing() -> None:
    with pytest.raises(ValueError, match="at least 5 sittings, got 4"):
        agreement.compared([sitting(n) for n in range(4)], sitting(9))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "params.yaml").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("slower", "status"), [(1.0, None), (1.2, 1)])
def test_the_last_line_counts_and_the_status_tells(project, monkeypatch, capsys, slower, status) -> None:
    commands = []

    def benchmark(command, cwd, env, **_):
        commands.append(command[1:])
        assert (cwd / "params.yaml").read_text() == "{}" and env["PYTHONPATH"] == str(cwd)
        made = sitting(len(commands), slower=slower if len(commands) == 6 else 1.0)
        (cwd / "reports/benchmark/mini-vega").mkdir(parents=True, exist_ok=True)
        (cwd / "reports/benchmark/mini-vega/record.json").write_text(json.dumps(made))
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", benchmark)
    raised = None
    try:
        repeat.main(["mini-vega", "benchmark.prompts=4"])
    except SystemExit as ended:
        raised = ended.code
    assert raised == status
    assert commands == [["-m", "stages.benchmark", "mini-vega", "benchmark.prompts=4"]] * 6
    lines = capsys.readouterr().out.splitlines()
    of = len(agreement.figures(sitting(0)))
    assert lines[0].startswith("sitting 1, 1 of 6 quiet: ")
    assert f" of {of} figures of the second run lie in the first one's 95 % interval (" in lines[-1]
    assert lines[-1].startswith(f"{of} of {of}") is (status is None)
    kept = json.loads(repeat.RESULTS.read_text())["mini-vega"]
    assert kept["summary"]["all"][1] == of and kept["sittings"] == 5
    assert not list(project.glob("artifacts/.repeat*")), "the scratch folder is gone"


@pytest.mark.parametrize(("busy", "made"), [({2, 3}, 8), (set(range(99)), 12)])
def test_a_sitting_on_a_busy_machine_is_set_aside_and_repeated_as_often_again(project, monkeypatch, busy, made) -> None:
    numbers = iter(range(99))

    def benchmark(*_):
        number = next(numbers)
        return {"number": number, "noise": {"flagged": number in busy}}

    monkeypatch.setattr(repeat, "sitting", benchmark)
    records, aside = repeat.run("mini-vega", [], 6, 0.0)
    assert next(numbers) == made and len(records) == 6 and aside == made - 6
    assert [record["number"] for record in records] == ([0, 1, 4, 5, 6, 7] if made == 8 else list(range(6, 12)))


def test_a_benchmark_that_fails_is_named(project, monkeypatch, capsys) -> None:
    failed = SimpleNamespace(returncode=2, stderr="chatter\nerror: artifacts/ir/mini-vega/int8 is missing")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit) as ended:
        repeat.main(["mini-vega"])
    assert ended.value.code == 2 and "benchmark of mini-vega: error: artifacts/ir" in capsys.readouterr().err
