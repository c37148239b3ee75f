"""The figures that gates ask for: computed by hand, with what stands in their way named."""

from __future__ import annotations

import math

import pytest

from stages.report import gates
from stages.report.gates import GATES, Lack
from stages.settings.schema import Gates
from tests.fake_gates import exact, record

NAN = float("nan")


def measured(key: str, made: dict) -> gates.Estimate:
    gate = next(gate for gate in GATES if gate.key == key)
    return gate.measure(made["precisions"]["int8"], made)


def test_every_setting_of_the_group_is_a_gate():
    assert [gate.key for gate in GATES] == list(Gates.__dataclass_fields__)


def test_sqnr_is_the_recorded_one_with_the_scatter_of_its_prompts():
    found = measured("min_sqnr_db", record())
    assert found.found == record()["precisions"]["int8"]["sqnr_db"] == 34.99
    assert 34.5 < found.low < 34.99 < found.high < 35.5 and found.count == 8


def test_the_interval_is_over_prompts_and_not_over_their_points():
    """Six points of one prompt are no six prompts: here they are equal, and make nothing narrower."""
    one, six = record(), record()
    row = one["precisions"]["int8"]
    row["sqnr_by_sample"] = row["sqnr_by_sample"][::6]
    assert measured("min_sqnr_db", one) == measured("min_sqnr_db", six)


def test_the_worst_quarter_lies_under_the_whole_by_hand():
    """Four of six points at 35 dB, two at 25: 10 log10(0.1 / ((4 * 0.0316 + 2 * 0.316) / 6 * 10)) under 29.0 dB."""
    made = record(by_timestep=(0, 0, 0, 0, -10, -10))
    row = made["precisions"]["int8"]
    whole = 35 - 10 * math.log10((4 + 2 * 10) / 6)
    assert row["sqnr_db"] == pytest.approx(whole, abs=0.05) and row["sqnr_by_quarter"][0] == pytest.approx(25, abs=0.05)
    found = measured("max_quarter_below_db", made)
    assert found.found == pytest.approx(whole - 25, abs=0.02) and found.low == pytest.approx(found.high, abs=0.05)


def test_quarters_that_a_few_step_model_never_visits_count_for_nothing():
    """LCM's four steps: none below 250, none between 500 and 750."""
    made = record()
    row = made["precisions"]["int8"]
    row["sqnr_by_sample"] = row["sqnr_by_sample"][: 8 * 4]
    row |= {
        "sqnr_by_timestep": [[999, 35], [759, 35], [499, 35], [259, 35]],
        "sqnr_by_quarter": [None, 33.0, None, 36.0],
    }
    assert measured("max_quarter_below_db", made).found == pytest.approx(1.99)


def test_points_that_the_record_lists_say_where_samples_stand():
    """Two at one timestep, as samplers of second order have them: the curve has fewer points than a prompt."""
    made = record(by_timestep=(0, 0, 0, 0, -10, -10))
    made["precisions"]["int8"]["sqnr_by_timestep"].pop()
    steps = [999.0, 799.0, 599.0, 400.0, 1.0, 1.0]
    made["points"] = [[f"p{prompt}", step] for prompt in range(8) for step in steps]
    assert 3.9 < measured("max_quarter_below_db", made).found < 4.1
    with pytest.raises(Lack, match="do not stand at the same timesteps"):
        measured("max_quarter_below_db", made | {"points": made["points"][:-1] + [["p7", 2.0]]})
    with pytest.raises(Lack, match="not hold equally many of each of 8 prompts, one after the other"):
        measured("min_sqnr_db", made | {"points": made["points"][::-1]})


def test_a_model_that_runs_in_one_quarter_has_no_worst_one():
    made = record(sqnr_by_timestep=[[240 - t, 35] for t in range(6)])
    with pytest.raises(Lack, match="one quarter of the schedule") as lack:
        measured("max_quarter_below_db", made)
    assert not lack.value.applies


def test_the_clip_drop_is_a_share_of_the_references_mean_score():
    made = record()
    entries = made["precisions"]["int8"]["per_prompt"]
    for entry, pair in zip(entries, [(90, 89), (100, 100)] * 4, strict=True):
        entry["clip_score_reference"], entry["clip_score"] = pair
    found = measured("max_clip_drop_percent", made)
    assert found.found == pytest.approx(100 * 0.5 / 95) and 0 <= found.low < found.found < found.high < 1.2


def test_pairs_count_and_not_the_scatter_between_prompts():
    """Scores of 94 to 96 by the prompt, each pair 0.2 apart: the drop is known to a hundredth."""
    made = record()
    for entry in made["precisions"]["int8"]["per_prompt"]:
        entry["clip_score"] = entry["clip_score_reference"] - 0.2
    found = measured("max_clip_drop_percent", made)
    assert found.high - found.low < 0.01


@pytest.mark.parametrize(
    ("key", "name", "value"), [("min_ssim", "ssim", 0.99), ("min_clip_similarity", "clip_similarity", 0.998)]
)
def test_what_every_picture_has_is_averaged(key, name, value):
    found = measured(key, record())
    assert found.found == pytest.approx(value) and found.low < value < found.high
    made = record()
    made["precisions"]["int8"]["per_prompt"][0][name] = 0.5  # one picture spoilt is felt, and widens the interval
    assert measured(key, made).found < value - 0.05 and measured(key, made).low < value - 0.1


def test_equal_predictions_are_as_good_as_can_be():
    made = record(**exact())
    assert measured("min_sqnr_db", made).low == math.inf
    assert measured("max_quarter_below_db", made).high == 0
    assert measured("max_clip_drop_percent", made).high == 0
    assert measured("min_ssim", made).low == measured("min_clip_similarity", made).low == 1


def test_null_everywhere_is_exact_only_where_the_pictures_are_equal_too():
    made = record(**exact())
    made["precisions"]["int8"]["per_prompt"][3]["ssim"] = 0.99
    with pytest.raises(Lack, match="all SQNR are null, yet the pictures are not the reference's"):
        measured("min_sqnr_db", made)


def test_speed_is_asked_only_where_float32_is_the_alternative():
    assert measured("min_speed_step", record()).low == pytest.approx(1.25)
    assert measured("min_speed_step", record(hint="f32")).count == 20
    for hint, said in (("<Type: 'bfloat16'>", "bfloat16"), ("f16", "f16")):
        with pytest.raises(Lack, match=f"FP16 computes in {said} here") as lack:
            measured("min_speed_step", record(hint=hint))
        assert not lack.value.applies


def test_times_of_a_busy_machine_decide_nothing():
    for noise, said in (({"flagged": True}, "too busy"), ({}, "not watched"), (None, "not watched")):
        with pytest.raises(Lack, match=said) as lack:
            measured("min_speed_step", record() | {"noise": noise})
        assert lack.value.applies


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("min_sqnr_db", {"per_prompt": None}, "the record has no per_prompt: benchmark again"),
        ("min_sqnr_db", {"sqnr_by_sample": []}, "the record has no sqnr_by_sample"),
        ("min_sqnr_db", {"sqnr_by_sample": [30.0] * 47}, "not hold equally many of each of 8 prompts"),
        ("min_sqnr_db", {"sqnr_by_sample": [NAN] + [30.0] * 47}, "sqnr_by_sample is not finite in 1 of 48"),
        ("min_sqnr_db", {"sqnr_by_sample": [float("-inf")] + [30.0] * 47}, "not finite in 1 of 48"),
        ("min_sqnr_db", {"sqnr_db": None}, "sqnr_db is missing"),
        ("min_sqnr_db", {"sqnr_db": NAN}, "sqnr_db is not finite"),
        ("min_sqnr_db", {"sqnr_db": 60.0}, "contradicts itself: 60.0 dB, of its samples 35.0 dB"),
        ("min_sqnr_db", {"sqnr_db": 60.0, "sqnr_by_sample": [None] * 48}, "contradicts itself"),
        ("max_quarter_below_db", {"sqnr_by_quarter": None}, "no sqnr_by_quarter"),
        ("max_quarter_below_db", {"sqnr_by_quarter": [35, None, 35, 35]}, r"there are samples in the quarters \[0, 1,"),
        ("max_quarter_below_db", {"sqnr_by_quarter": [35, NAN, 35, 35]}, "sqnr_by_quarter is not finite"),
        ("max_quarter_below_db", {"sqnr_by_timestep": [[999, 35]]}, "6 samples .* not stand at the same timesteps"),
        ("min_speed_step", {"speedup_step": None}, "speedup_step is missing"),
        ("min_speed_step", {"speedup_step": {"ratio": 0.9, "low": 1.1, "high": 1.2}}, "no interval that holds it"),
        ("min_speed_step", {"unet_step_s": {}}, "no number of pairs"),
        ("min_share_macs_int8", {"macs": None}, "the record has no macs: benchmark again"),
        ("min_share_macs_int8", {"macs": {"total": 9, "int8": 9, "share_int8": NAN}}, "macs is not finite"),
        ("min_share_macs_int8", {"macs": {"total": 0, "int8": 0, "share_int8": 1.0}}, "contradict themselves"),
        ("min_share_macs_int8", {"macs": {"total": 100, "int8": 1, "share_int8": 0.9}}, "1 of 100 .* to be 0.9"),
    ],
)  # fmt: skip
def test_what_is_missing_or_not_finite_is_no_figure(key, changes, said):
    with pytest.raises(Lack, match=said) as lack:
        measured(key, record(**changes))
    assert lack.value.applies


@pytest.mark.parametrize(
    ("key", "name"),
    [("max_clip_drop_percent", "clip_score"), ("max_clip_drop_percent", "clip_score_reference"),
     ("min_clip_similarity", "clip_similarity"), ("min_ssim", "ssim")],
)  # fmt: skip
def test_one_prompt_without_its_figure_leaves_the_gate_without(key, name):
    for value, said in ((None, "missing"), (NAN, "not finite"), ("0.99", "not finite")):
        made = record()
        made["precisions"]["int8"]["per_prompt"][2][name] = value
        with pytest.raises(Lack, match=f"per_prompt's .*{name}.* is {said} in 1 of"):
            measured(key, made)


def test_without_clip_or_reference_it_is_said_why():
    with pytest.raises(Lack, match="clip=none"):
        measured("min_clip_similarity", record() | {"clip_model": None})
    with pytest.raises(Lack, match="memory held no float model"):
        measured("min_sqnr_db", record() | {"reference": None})
    made = record()
    made["precisions"]["fp16"] = {"skipped": "needs 9 GB"}
    with pytest.raises(Lack, match="no FP16 to compare with: needs 9 GB"):
        measured("min_speed_step", made)
