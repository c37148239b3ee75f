"""Steps are chosen evenly, whatever their number."""

from collections import Counter

from stages.calibration.collecting import choose_steps


def test_prompts_together_use_every_step_equally_often() -> None:
    used = Counter(step for turn in range(50) for step in choose_steps(25, 4, turn, 50))
    assert sorted(used) == list(range(25))
    assert max(used.values()) - min(used.values()) <= 2


def test_a_prompt_has_one_step_in_every_stretch() -> None:
    for turn in range(10):
        assert [step // 5 for step in choose_steps(20, 4, turn, 10)] == [0, 1, 2, 3]


def test_fewer_steps_than_asked_for_are_all_taken() -> None:
    assert choose_steps(2, 4, 0, 3) == [0, 1]
