"""Which schemes none beats, and the advice, as worked out by hand."""

from __future__ import annotations

import pytest

from stages.report import frontier


def row(name: str, step_ms: float | None, sqnr_db: float | None, size_mb: float | None = 5.0, **more) -> dict:
    speed = 10 / step_ms if step_ms and name != "fp16" else None
    found = {
        "name": name, "scheme": name, "method": "weights_first", "dynamic_group": None, "skipped": None,
        "step_ms": step_ms, "sqnr_db": sqnr_db, "size_mb": size_mb, "psnr_db": 40.0, "equals_reference": False,
        "speed_step": speed, "speed_step_low": speed and speed - 0.02, "speed_step_high": speed and speed + 0.02,
    }  # fmt: skip
    return found | more


FP16 = row("fp16", 10.0, 50.0, 10.0, method=None)
ROWS = [
    FP16,
    row("none", 9.9, 50.0, 10.0, method="none"),
    row("fine", 12.0, 40.0),
    row("middle", 8.0, 33.0),
    row("beaten", 9.0, 32.0),
    row("quick", 5.0, 25.0),
    row("small", 11.0, 22.0, 2.5, psnr_db=24.3),
    row("failed", None, None, None, skipped="not made: why"),
]


def test_the_front_is_what_none_beats_in_both_the_quickest_first() -> None:
    assert frontier.front(ROWS) == ["quick", "middle", "fine"]


def test_equals_do_not_beat_each_other_and_fp16_beats_none() -> None:
    twins = [row("one", 8.0, 33.0), row("two", 8.0, 33.0), row("slower", 8.1, 33.0)]
    assert frontier.front([FP16, *twins]) == ["one", "two"]


def test_what_predicts_the_references_own_noise_is_above_all_decibels() -> None:
    exact = row("exact", 13.0, None, equals_reference=True)
    assert frontier.front([*ROWS, exact]) == ["quick", "middle", "fine", "exact"]
    assert frontier.front([row("random", 5.0, None)]) == []


def test_the_advice_names_the_quickest_the_most_faithful_and_the_smallest() -> None:
    assert frontier.advice(ROWS) == (
        "For speed take quick (5.00 ms a step, 2.00× fp16's speed within 1.98–2.02, 25.0 dB); for fidelity fine "
        "(40.0 dB); for size small (2.50 MB, 22.0 dB, pictures differ visibly, PSNR 24.3 dB)."
    )


def test_one_scheme_that_serves_several_purposes_is_named_once() -> None:
    assert frontier.advice([FP16, row("int8", 8.0, 35.0)]) == (
        "For speed, fidelity and size take int8 (8.00 ms a step, 1.25× fp16's speed within 1.23–1.27, 5.00 MB, "
        "35.0 dB)."
    )


def test_where_nothing_is_quicker_fp16_is_advised_for_speed_and_the_quickest_of_the_others_named() -> None:
    assert frontier.advice([FP16, row("int8", 11.0, 35.0), row("slow", 20.0, 30.0, 2.5)]) == (
        "For speed take fp16 (10.0 ms a step, nothing is surely quicker here); for speed at less size and fidelity "
        "int8 (11.0 ms a step, 0.91× fp16's speed within 0.89–0.93, 35.0 dB); for size slow (2.50 MB, 30.0 dB)."
    )


def test_a_difference_within_the_intervals_is_no_speed() -> None:
    noisy = {"speed_step": 1.05, "speed_step_low": 0.9, "speed_step_high": 1.2}
    assert "nothing is surely quicker here" in frontier.advice([FP16, row("int8", 9.5, 35.0) | noisy])
    both = [row("coarse", 5.0, 20.0), row("finer", 5.02, 30.0)]  # 2.00 and 1.99 times, each ± 0.02
    assert frontier.advice([FP16, *both]).startswith("For speed, fidelity and size take finer")


def test_half_a_decibel_is_not_bought_with_time() -> None:
    assert "fidelity and size take quick" in frontier.advice([FP16, row("slow", 9.0, 35.4), row("quick", 5.0, 35.0)])


@pytest.mark.parametrize("rows", [[], [row("failed", None, None, None)]])
def test_without_figures_nothing_is_advised(rows: list[dict]) -> None:
    assert frontier.advice(rows) == "Nothing was measured that could be chosen."


def test_random_weights_are_advised_about_speed_and_size_alone() -> None:
    blind = [one | {"sqnr_db": None, "psnr_db": None} for one in (FP16, row("int8", 8.0, None))]
    assert (
        frontier.advice(blind)
        == "For speed and size take int8 (8.00 ms a step, 1.25× fp16's speed within 1.23–1.27, 5.00 MB)."
    )


def test_why_weights_alone_are_not_the_default_is_told_by_figures_alone() -> None:
    alone = row("int8-weights-dynamic-off", 10.2, 40.6, method="weights_only", scheme="int8-weights")
    slower = row("int8-weights-dynamic-32", 12.0, 39.0, method="weights_only", scheme="int8-weights")
    said = frontier.against_weights([FP16, row("int8", 5.0, 38.1), alone, slower])
    assert said == (
        "INT8 weights alone compute in floats: a step has 0.98× the speed of FP16's where int8's has 2.00×; they keep "
        "2.5 dB more, and are as small."
    )
    random = [one | {"sqnr_db": None} for one in (FP16, row("int8-quick", 5.0, None), alone)]
    assert "dB" not in frontier.against_weights(random) and "int8-quick's has 2.00×" in frontier.against_weights(random)
    assert frontier.against_weights([FP16, alone]) == frontier.against_weights([FP16, row("int8", 5.0, 38.1)]) == ""
