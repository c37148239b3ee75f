"""Verdicts of two sets of figures: no more is said than the raw values of both bear out."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import numpy as np
import pytest

from stages.report import changes, differences, differences_text, sides
from stages.report.differences import FIGURES, SAME, TOLERANCES, UNSURE, Difference
from stages.report.intervals import Estimate
from stages.report.pairs import Pair
from tests.fake_history import MACHINE, record

STEP = FIGURES[0]
LATER = MACHINE | {"id": "ffffffffffff", "runtimes": {"openvino": "2026.5.0"}}
ELSEWHERE = MACHINE | {"id": "eeeeeeeeeeee", "cpu": "Another Processor"}


def side(record: dict[str, Any], machine: dict[str, Any] = MACHINE, name: str = "x") -> sides.Side:
    files = {"reports/machine.json": json.dumps(machine), "reports/benchmark/mini-vega/record.json": json.dumps(record)}
    return sides.sides(name, files)[0]


def pair(before: dict[str, Any], after: dict[str, Any], machine: dict[str, Any] = MACHINE) -> Pair:
    return differences.paired(side(before), side(after | {"machine": machine["id"]}, machine))[0]


def verdicts(before: dict[str, Any], after: dict[str, Any], machine: dict[str, Any] = MACHINE) -> dict[str, Difference]:
    return {one.figure.head: one for one in differences.differences([pair(before, after, machine)])}


def said(found: dict[str, Difference], *heads: str) -> list[str]:
    return [found[head].verdict for head in heads]


TIMES = ("step", "picture", "step's speed against FP16", "FP16 step", "FP16 picture")


def test_equal_sittings_differ_in_nothing() -> None:
    found = verdicts(record(sitting=1), record(sitting=2))
    assert {head: one.verdict for head, one in found.items()} == {
        one.head: "equal" if one.head == "size" else SAME for one in FIGURES
    }


def test_a_doubled_step_is_slower_and_the_way_back_faster() -> None:
    usual, doubled = record(sitting=1), record(sitting=2, step=2.0)
    assert said(verdicts(usual, doubled), *TIMES) == ["slower", "slower", "slower", SAME, SAME]
    assert said(verdicts(doubled, usual), *TIMES) == ["faster", "faster", "faster", SAME, SAME]
    estimate = verdicts(usual, doubled)["step"].change.estimate
    assert estimate.low < 2 < estimate.high and estimate.high - estimate.low < 0.04


def test_a_machine_that_became_slower_is_not_called_a_slower_step() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, step=1.3, fp16=1.3))
    assert said(found, *TIMES) == [UNSURE, UNSURE, SAME, UNSURE, UNSURE]
    assert "speed drifted" in found["step"].reason and "speed drifted" in found["FP16 step"].reason


def test_a_step_that_kept_its_time_while_fp16_became_slower_is_not_called_unchanged() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, fp16=1.3))
    assert said(found, *TIMES) == [UNSURE, UNSURE, "faster", UNSURE, UNSURE]


def test_with_another_openvino_fp16_has_a_verdict_of_its_own() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, step=1.3, fp16=1.3), LATER)
    assert said(found, *TIMES) == ["slower", "slower", SAME, "slower", "slower"]


def test_a_busy_machine_decides_no_time_but_fidelity_and_size() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, step=2.0, busy=True))
    assert {(one.verdict, one.reason) for one in map(found.get, TIMES)} == {(UNSURE, "the machine was busy after")}
    assert said(found, "SQNR", "size") == [SAME, "equal"]
    unwatched = verdicts(record(sitting=1, noise={}), record(sitting=2))
    assert unwatched["step"].reason == "the machine was not watched before"


def test_few_values_decide_nothing() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, step=2.0, turns=5, prompts=5))
    assert found["step"].reason == "too few raw values: 5, 6 are the least"
    assert found["SSIM"].reason == "too few prompts that both drew: 5, 6 are the least"


def test_figures_without_raw_values_have_a_ratio_and_no_verdict() -> None:
    metrics = {"scheme": "int8", "size_mb": 1.73, "step_ms": 5.0, "step_ms_fp16": 4.0, "ssim": 0.98, "speed_step": 0.8}
    reference = sides.sides("x", {"reports/reference/m/mini-vega.json": json.dumps(metrics)})[0]
    pairs = differences.paired(reference, side(record(sitting=2, step=2.0)))
    found = {one.figure.head: one for one in differences.differences(pairs)}
    step = found["step"]
    assert (step.verdict, step.reason) == (UNSURE, "no raw values before")
    assert step.change.estimate.found == pytest.approx(2.0, rel=0.02)
    assert (found["SSIM"].verdict, found["SSIM"].reason) == (UNSURE, "no raw values before")
    assert found["size"].verdict == "equal"  # 1.7285 to as many digits as both have
    assert found["PSNR"].reason == "no figure before"


def test_fidelity_is_paired_by_prompt() -> None:
    """All eight lost 1 dB: the interval has no width, however far apart the prompts lie."""
    found = verdicts(record(sitting=1), record(sitting=2, psnr_db=41.0))["PSNR"]
    assert found.verdict == "worse"
    assert found.change.estimate.found == pytest.approx(-1.0) == found.change.estimate.low
    other = record(sitting=2, psnr_db=41.0)
    for entry in other["precisions"]["int8"]["per_prompt"]:
        entry["text"] = "another prompt under the same name"
    assert verdicts(record(sitting=1), other)["PSNR"].reason.startswith("too few prompts that both drew: 0")


def test_the_pooled_change_of_sqnr_by_hand() -> None:
    """Noise of 0.1 and 0.1 becomes 0.1 and 0.3: 10 dB become -10 log10(0.2) = 6.99 dB."""
    found = changes.compared(np.array([[10.0, 10.0], [10.0, -10 * np.log10(0.3)]]), pooled=True)
    assert found.before == pytest.approx(10.0) and found.after == pytest.approx(6.9897, abs=1e-4)
    assert found.estimate.found == pytest.approx(-3.0103, abs=1e-4)


def test_pictures_that_are_the_references_own_have_infinite_decibels() -> None:
    exact = record(sitting=1)
    for entry in exact["precisions"]["int8"]["per_prompt"]:
        entry |= {"psnr_db": None, "sqnr_db": None, "ssim": 1.0}
    found = verdicts(exact, record(sitting=2))
    assert said(found, "SQNR", "PSNR", "SSIM") == ["worse", "worse", "worse"]
    assert found["PSNR"].change.estimate.found == -np.inf
    again = record(sitting=2)
    again["precisions"]["int8"]["per_prompt"] = exact["precisions"]["int8"]["per_prompt"]
    assert said(verdicts(exact, again), "SQNR", "PSNR", "SSIM") == [SAME, SAME, SAME]


def test_other_steps_are_named_and_leave_fidelity_open() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, steps=12))
    assert (found["SQNR"].verdict, found["SQNR"].reason) == (UNSURE, "drawn otherwise: steps 25 → 12")


@pytest.mark.parametrize(
    ("low", "high", "drifts", "verdict"),
    [
        (0.96, 1.04, True, SAME),
        (1.02, 1.04, True, SAME),
        (1.02, 1.06, True, UNSURE),
        (1.06, 1.20, True, "slower"),
        (0.80, 0.94, True, "faster"),
        (1.02, 1.06, False, "slower"),  # nothing drifts: it leaves out equality
        (0.90, 1.10, False, UNSURE),
    ],
)
def test_no_difference_is_a_whole_interval_within_the_tolerance(low, high, drifts, verdict) -> None:
    assert differences.decide(STEP, Estimate(1.0, low, high, 40), 0.05, drifts) == verdict


def test_sizes_are_counted_and_memory_repeats_within_a_percent() -> None:
    found = verdicts(record(sitting=1), record(sitting=2, size_mb=1.7286))
    assert found["size"].verdict == "larger"
    heavier = record(sitting=2)
    heavier["precisions"]["int8"]["peak_rss_mb"] *= 1.05
    assert verdicts(record(sitting=1), heavier)["memory"].verdict == "heavier"


def test_two_schemes_of_one_sitting_are_compared_turn_by_turn() -> None:
    both = record()
    slow = copy.deepcopy(both["precisions"]["int8"])
    for name in ("unet_step_s", "image_s"):
        slow[name]["raw"] = [1.02 * value for value in slow[name]["raw"]]
    both["precisions"]["int8-weights"] = slow
    one = side(both).models["mini-vega"][0]
    other = sides.Measured(one.record, "int8-weights", one.sitting, one.machine)
    found = {each.figure.head: each for each in differences.differences([Pair("mini-vega", one, other)])}
    assert set(found) == {"step", "picture", "size", "memory", "SQNR", "PSNR", "SSIM", "CLIP score"}
    assert found["step"].verdict == "slower"  # by 2 %, in every turn; of two sittings it would be within drift
    assert found["step"].change.estimate.low == pytest.approx(1.02, abs=1e-3)


def text(before: sides.Side, after: sides.Side) -> str:
    pairs = differences.paired(before, after)
    return differences_text.text(before, after, pairs, differences.differences(pairs), TOLERANCES)


def test_the_text_says_what_is_compared_and_shows_changes_alone() -> None:
    later = record(sitting=2, step=2.0, measured={"date": "2026-11-26", "commit": "abc1234"})
    shown = text(side(record(sitting=1), name="main"), side(later, name="here"))
    lines = shown.splitlines()
    assert lines[0] == "**1 model, 11 figures: 3 slower, 7 no difference, 1 equal**"
    assert "- before: main (reports/benchmark): day and commit not recorded" in lines
    assert "- after: here (reports/benchmark): measured 2026-11-26 at abc1234" in lines
    assert "- both: int8; 2 cores of An Ordinary Processor (012345); OpenVINO 2026.4.1" in lines
    rows = [line for line in lines if line.startswith("| mini-vega")]
    assert len(rows) == 3 and re.search(r"\+(99|100|101) % \(\+\d+ to \+\d+\) \| slower", rows[0])
    assert all(row.rstrip("| ").endswith("slower") for row in rows)
    assert len({len(line) for line in lines if line.startswith("|")}) == 1


def test_two_machines_are_called_two_machines() -> None:
    after = side(record(sitting=2, machine=ELSEWHERE["id"]), ELSEWHERE)
    assert "- times and memory are of two machines" in text(side(record(sitting=1)), after).splitlines()


def test_one_measurement_on_both_sides_is_not_called_unchanged() -> None:
    first = text(side(record()), side(record())).splitlines()[0]
    assert first == "**1 model: both sides are one and the same measurement**"
