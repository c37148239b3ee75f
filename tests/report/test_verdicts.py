"""Verdicts: the whole interval on one side decides, and no gate passes by lack of data."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace

import pytest

from stages.report import verdicts
from stages.report.gates import GATES
from stages.report.intervals import Estimate
from stages.report.results import Result
from stages.report.verdicts import FAILED, NOT_APPLYING, PASSED, UNDECIDED
from tests.fake_gates import exact, record

NAN, INF = float("nan"), math.inf
BOUNDS = {
    "min_sqnr_db": 30.0, "max_quarter_below_db": 10.0, "max_clip_drop_percent": 1.0, "min_clip_similarity": 0.98,
    "min_ssim": 0.95, "min_speed_step": 1.0, "min_share_macs_int8": 0.8,
}  # fmt: skip
OFF = dict.fromkeys(BOUNDS)


def settings(scheme: str = "weights_first", name: str = "int8", **bounds: float | None) -> SimpleNamespace:
    return SimpleNamespace(
        gates=SimpleNamespace(**(BOUNDS | bounds)), quantization=SimpleNamespace(name=name, scheme=scheme)
    )


def result(made: dict, missing: str | None = None, after: str = "int8") -> Result:
    return Result("mini-vega", "mini-Vega", "base", "mini-vega", "mini", "x", after, made, [], missing)


def judged(made: dict, asked: SimpleNamespace | None = None) -> dict[str, verdicts.Verdict]:
    return {one.gate.key: one for one in verdicts.judge([result(made)], asked or settings())}


def kinds(made: dict, asked: SimpleNamespace | None = None) -> dict[str, str]:
    return {key: one.verdict for key, one in judged(made, asked).items()}


@pytest.mark.parametrize(
    ("least", "asked", "estimate", "verdict"),
    [
        (True, 30, Estimate(33, 31, 35, 8), PASSED),
        (True, 30, Estimate(33, 30, 35, 8), PASSED),  # to the very bound
        (True, 30, Estimate(33, 29.9, 35, 8), UNDECIDED),
        (True, 30, Estimate(29, 28, 30, 8), UNDECIDED),
        (True, 30, Estimate(29, 28, 29.9, 8), FAILED),
        (False, 1, Estimate(0.5, 0.1, 1.0, 8), PASSED),
        (False, 1, Estimate(0.5, -0.1, 1.1, 8), UNDECIDED),
        (False, 1, Estimate(1.5, 1.1, 2.0, 8), FAILED),
        (False, 0, Estimate(-0.5, -0.7, -0.1, 8), PASSED),  # the score rose
        (True, 0.8, Estimate(0.8, 0.8, 0.8, None), PASSED),  # counted
        (True, 0.8, Estimate(0.79, 0.79, 0.79, None), FAILED),
        (True, 30, Estimate(INF, INF, INF, 8), PASSED),
        (True, 30, Estimate(90, 80, 99, 5), UNDECIDED),  # five prompts
        (True, 30, Estimate(9, 8, 10, 5), UNDECIDED),
        (True, 30, Estimate(NAN, 31, 35, 8), UNDECIDED),
        (True, 30, Estimate(33, NAN, 35, 8), UNDECIDED),
        (False, 1, Estimate(0, 0, NAN, 8), UNDECIDED),
        (False, 1, Estimate(0, -INF, INF, 1), UNDECIDED),
    ],
)
def test_the_whole_interval_decides(least, asked, estimate, verdict):
    assert verdicts.decide(least, asked, estimate)[0] == verdict


def test_too_few_prompts_are_said_to_be_so_and_how_many_would_do():
    said = verdicts.decide(True, 30, Estimate(31, 29, 33, 8))
    assert said == (UNDECIDED, "too few prompts to decide: 8, about 32 would do")
    assert verdicts.decide(True, 30, Estimate(31, 30.9, 33, 2))[1] == "too few prompts to decide: 2, 6 are the least"
    said = verdicts.decide(True, 1.125, Estimate(1.25, 1.0, 1.5, 20, "pairs of steps"))
    assert said[1] == "too few pairs of steps to decide: 20, about 80 would do"
    assert "too near to what is asked" in verdicts.decide(True, 30, Estimate(30, 29, 31, 8))[1]


def test_a_good_record_passes_every_gate():
    assert kinds(record()) == dict.fromkeys(BOUNDS, PASSED)
    assert kinds(record(**exact())) == dict.fromkeys(BOUNDS, PASSED)


@pytest.mark.parametrize(
    ("broken", "key", "told"),
    [
        ({"level_db": 25}, "min_sqnr_db", r"SQNR 25\.0 dB \(24\.\d to 25\.\d\), asked at least 30\.0 dB"),
        ({"by_timestep": (0, 0, 0, 0, -25, -25)}, "max_quarter_below_db", None),
        (
            {"clip_score": 90},
            "max_clip_drop_percent",
            r"CLIP drop 4\.\d\d % \(4\.\d\d to 4\.\d\d\), asked at most 1\.00",
        ),
        ({"clip_similarity": 0.9}, "min_clip_similarity", r"CLIP similarity 0\.9000 \(0\.8\d+ to 0\.9\d+\)"),
        ({"ssim": 0.9}, "min_ssim", r"SSIM 0\.900 \(0\.89\d to 0\.90\d\), asked at least 0\.950"),
        ({"speed": 0.9}, "min_speed_step", r"step's speed 0\.90× \(0\.85 to 0\.95\), asked at least 1\.00×"),
        ({"share": 0.03}, "min_share_macs_int8", r"MACs in INT8 3\.0 %, asked at least 80\.0 %"),
    ],
)
def test_each_gate_fails_alone_with_its_figure(broken, key, told):
    asked = settings(min_sqnr_db=None if "by_timestep" in broken else 30.0)  # a quarter so bad takes the whole along
    if "by_timestep" in broken:
        asked.gates.max_quarter_below_db = 4.0
    found = judged(record(**broken), asked)
    assert {name for name, one in found.items() if one.verdict == FAILED} == {key}
    assert {one.verdict for name, one in found.items() if name != key} == {PASSED}
    assert told is None or re.search(told, found[key].told)


def test_null_switches_a_gate_off():
    assert "min_ssim" not in kinds(record(ssim=0.1), settings(min_ssim=None))
    assert verdicts.judge([result(record())], settings(**OFF)) == []
    assert verdicts.line([]) == "Gates: none is asked for." and verdicts.overall([]) == PASSED


# --- no gate passes by lack of data


@pytest.mark.parametrize(
    "made",
    [
        {"precisions": {"fp16": {}, "int8": {}}, "random_weights": False},
        {"precisions": {"fp16": {}}, "random_weights": False},
        {"precisions": {"fp16": {}, "int8": dict.fromkeys(record()["precisions"]["int8"])}},
        {"precisions": {"fp16": {}, "int8": {"skipped": "not run: needs 11.4 GB of memory"}}},
        record() | {"random_weights": True},
        record(**exact()) | {"random_weights": True},
        record(**(dict.fromkeys(["per_prompt", "sqnr_db", "sqnr_by_sample", "macs", "speedup_step"]))),
    ],
)
def test_lack_of_data_passes_nothing_and_gives_a_reason(made):
    found = judged(made)
    assert list(found) == list(BOUNDS)
    assert all(one.verdict == UNDECIDED and one.reason for one in found.values())


def test_random_weights_are_the_reason_where_they_left_a_figure_out_too():
    made = record() | {"random_weights": True}
    del made["precisions"]["int8"]["per_prompt"]
    reasons = {one.reason for one in judged(made).values() if one.verdict == UNDECIDED}
    assert reasons == {"the weights are random"}, "and not to benchmark again, which would find no more"


def test_five_prompts_pass_nothing_but_what_is_counted():
    found = kinds(record(prompts=5, unet_step_s={"n": 5}))
    assert found == dict.fromkeys(BOUNDS, UNDECIDED) | {"min_share_macs_int8": PASSED}


@pytest.mark.parametrize("value", [NAN, INF, -INF, None, "35", True])
def test_no_figure_that_is_not_finite_passes(value):
    made = record(
        sqnr_db=value, sqnr_by_quarter=[value] * 4, speedup_step=dict.fromkeys(("ratio", "low", "high"), value)
    )
    row = made["precisions"]["int8"]
    row["macs"] = {"total": value, "int8": value, "share_int8": value}
    for entry in row["per_prompt"]:
        entry |= dict.fromkeys(("ssim", "clip_score", "clip_similarity"), value)
    made = json.loads(json.dumps(made))  # as it is read: NaN and Infinity are what Python's JSON makes of them
    assert kinds(made) == dict.fromkeys(BOUNDS, UNDECIDED)


def test_a_model_or_scheme_that_was_not_measured_is_undecided_with_what_to_run():
    said = verdicts.judge([result({}, "not measured: run 'dvc repro benchmark@mini-vega'")], settings())
    assert {one.verdict for one in said} == {UNDECIDED}
    assert said[0].told == "mini-Vega int8 SQNR: not measured: run 'dvc repro benchmark@mini-vega'"
    said = verdicts.judge([result(record(scheme="int8-hybrid"))], settings())
    assert [one.verdict for one in said] == [PASSED] * 7 + [UNDECIDED] * 7  # what was measured, what is selected
    assert "no int8 figures: run 'dvc repro" in said[-1].reason


# --- what does not apply


def test_where_fp16_computes_in_fewer_bits_speed_is_not_asked_for():
    found = judged(record(speed=0.8, hint="<Type: 'bfloat16'>"))["min_speed_step"]
    assert found.verdict == NOT_APPLYING and "bfloat16" in found.reason


def test_a_scheme_for_weights_alone_need_not_run_in_int8_but_any_other_must():
    made = record(scheme="int8-weights", share=0.0)
    said = verdicts.judge([result(made, after="int8-weights")], settings("weights_only", "int8-weights"))
    assert (said[-1].verdict, said[-1].reason) == (NOT_APPLYING, "int8-weights quantizes no activations")
    assert kinds(record(share=0.0, int8_operations=0))["min_share_macs_int8"] == FAILED


# --- together


def test_every_scheme_of_a_record_is_judged_by_itself():
    made = record()
    made["precisions"]["int8-notebook"] = record(level_db=20)["precisions"]["int8"]
    said = verdicts.judge([result(made)], settings())
    assert [(one.scheme, one.verdict) for one in said if one.gate.key == "min_sqnr_db"] == [
        ("int8", PASSED), ("int8-notebook", FAILED),
    ]  # fmt: skip
    assert [row[0].scheme for row in verdicts.by_scheme(said)] == ["int8", "int8-notebook"]


@pytest.mark.parametrize(
    ("found", "whole", "status"),
    [
        ([PASSED, NOT_APPLYING], PASSED, 0),
        ([PASSED, UNDECIDED, FAILED], FAILED, 1),
        ([PASSED, UNDECIDED, NOT_APPLYING], UNDECIDED, 3),
    ],
)
def test_one_failure_fails_all_and_one_doubt_leaves_all_undecided(found, whole, status):
    said = [verdicts.Verdict("m", "M", "int8", GATES[0], 30.0, verdict) for verdict in found]
    assert verdicts.overall(said) == whole and verdicts.STATUS[whole] == status


def test_one_line_names_what_failed_with_its_figure_and_counts_the_rest():
    def line(**broken: object) -> str:
        return verdicts.line(verdicts.judge([result(record(**broken))], settings()))

    assert line() == "Gates: 7 passed."
    assert line(hint="f16", share=0.5) == (
        "Gates: 1 failed: mini-Vega int8 MACs in INT8 50.0 %, asked at least 80.0 %. 5 passed. 1 does not apply."
    )
    few = line(prompts=2, share=0.5)
    assert "5 undecided: mini-Vega int8 SQNR" in few and few.endswith("6 are the least; 4 more. 1 passed.")
    assert line(level_db=20, ssim=0.5, share=0.5).count("asked") == 2 and "\n" not in few


def test_reasons_that_are_one_are_said_once():
    said = verdicts.judge([result(record(per_prompt=None))], settings())
    assert verdicts.reasons(said) == [
        "mini-Vega int8, SQNR, worst quarter, CLIP drop, CLIP similarity, SSIM: the record has no per_prompt: "
        "benchmark again"
    ]


def test_the_file_holds_asked_found_interval_and_verdict_and_is_json_without_infinities():
    made = record(**exact())
    read = json.loads(verdicts.as_json(verdicts.judge([result(made)], settings())), parse_constant=pytest.fail)
    assert read["verdict"] == PASSED and read["line"] == "Gates: 7 passed."
    gates = read["models"]["mini-vega"]["int8"]
    assert gates["min_share_macs_int8"] == {
        "verdict": "passed", "asked": 0.8, "found": 0.93, "low": 0.93, "high": 0.93, "count": None, "reason": None,
    }  # fmt: skip
    assert gates["min_sqnr_db"]["found"] is None and "the reference's own" in gates["min_sqnr_db"]["reason"]
    assert json.loads(verdicts.as_json([]))["verdict"] is None
