"""Which timesteps a draft has, and how often a UNet is evaluated for it."""

from types import SimpleNamespace

import pytest

from stages.calibration import drafts


def calibration(**how) -> SimpleNamespace:
    limits = {"evaluations": 100, "refiner_evaluations": 300, "float_evaluations": 7}
    return SimpleNamespace(**{"prompts": 40, "draft_steps": 8, "steps_per_prompt": 8} | limits | how)


def model(steps: int, fraction: float | None = None) -> SimpleNamespace:
    sampler = SimpleNamespace(steps=steps, high_noise_fraction=fraction)
    return SimpleNamespace(role="refiner" if fraction else "base", sampler=sampler)


@pytest.mark.parametrize(
    "steps, fraction, each, prompts, kept",
    [
        (25, None, (0, 7), 14, 112),  # 98 evaluations in the place of 1,000
        (4, None, (0, 2), 40, 120),  # 80 in the place of 160
        (25, 0.8, (6, 4), 30, 150),  # 300 in the place of 1,000: five inputs each
        (2, None, (0, 1), 40, 80),
        (1, None, (0, 1), 40, 40),
    ],
)
def test_evaluations_are_limited_and_prompts_are_as_many_as_they_reach_for(steps, fraction, each, prompts, kept):
    found = model(steps, fraction)
    assert drafts.evaluations(calibration(), found) == each
    assert (drafts.prompts(calibration(), found), drafts.kept(calibration(), found)) == (prompts, kept)


def test_without_a_limit_every_prompt_is_drawn_at_every_step():
    whole = calibration(evaluations=None, refiner_evaluations=None, draft_steps=None, steps_per_prompt=4)
    assert drafts.evaluations(whole, model(25)) == (0, 24) and drafts.kept(whole, model(25)) == 160
    assert drafts.evaluations(whole, model(25, 0.8)) == (20, 4) and drafts.prompts(whole, model(25, 0.8)) == 40


def test_what_is_evaluated_tells_ranges_unless_most_of_it_is_not_kept():
    cpu, gpu = SimpleNamespace(name="CPU"), SimpleNamespace(name="GPU")
    for steps, fraction, count, inputs, finished in ((25, None, 14, 8, (1, 13)), (4, None, 40, 3, (4, 36))):
        assert drafts.told(calibration(), model(steps, fraction), cpu) == count * inputs
        assert drafts.foretold(calibration(), model(steps, fraction), cpu).finished == finished
    assert drafts.told(calibration(), model(25, 0.8), cpu) == 30 * 5
    fewer = calibration(steps_per_prompt=7)
    assert drafts.told(fewer, model(25), cpu) == 14 * 7, "not the last input, which may not be kept"
    assert drafts.foretold(fewer, model(25), cpu).finished == (0, 0)
    assert drafts.told(calibration(), model(1), cpu) == 0
    assert drafts.foretold(calibration(), model(1), cpu).finished == (0, 0)
    assert drafts.told(calibration(), model(25), gpu) == 0
    whole = calibration(evaluations=None, draft_steps=None, steps_per_prompt=4)
    assert drafts.told(whole, model(25), cpu) == 0, "4 of 24 evaluations are of inputs that are kept"


@pytest.mark.parametrize(
    "steps, fraction, of_base, own",
    [
        (25, None, (0, 0), (7, 91)),  # one prompt, and thirteen
        (4, None, (0, 0), (8, 72)),  # four, and thirty-six
        (25, 0.8, (12, 168), (8, 112)),  # two, and twenty-eight, for whom the base drafts in INT8 too
        (1, None, (0, 0), (40, 0)),  # nothing is told, so there is nothing to make a drafter of
    ],
)
def test_the_float_unet_is_evaluated_as_often_as_a_drafter_asks_for(steps, fraction, of_base, own):
    cpu, gpu = SimpleNamespace(name="CPU"), SimpleNamespace(name="GPU")

    def shared_out(device: SimpleNamespace, **how) -> tuple:
        found = drafts.foretold(calibration(**how), model(steps, fraction), device)
        return found.of_base, found.own

    assert shared_out(cpu) == (of_base, own)
    whole = tuple((sum(one), 0) for one in (of_base, own))
    assert shared_out(gpu) == whole
    assert shared_out(cpu, float_evaluations=None) == whole
    assert shared_out(cpu, float_evaluations=1000) == whole


def test_a_draft_goes_in_even_strides_and_prompts_share_what_lies_between():
    own = list(range(24, -1, -1))
    found = [drafts.spread(own, 8, number) for number in range(8)]
    assert all(mine[0] == 24 and mine[-1] == 0 for mine in found)
    gaps = {before - after for mine in found for before, after in zip(mine, mine[1:], strict=False)}
    assert gaps == {3, 4}, "24 / 7: no draft goes in longer strides than it must"
    assert len({step for mine in found for step in mine}) > 8
    assert drafts.spread(own, 5, 0, both_ends=False) == [24, 19, 14, 9, 4], "and 0 follows"
    assert drafts.spread([3, 2, 1], 5, 0) == [3, 2, 1]


def test_a_draft_of_a_real_scheduler_keeps_its_timesteps_and_leaves_it_alone():
    from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler

    sampler = SimpleNamespace(steps=25, high_noise_fraction=None)
    for kind, inputs in ((EulerDiscreteScheduler, 8), (HeunDiscreteScheduler, 15)):  # Heun looks at each step twice
        scheduler = kind()
        before = scheduler.timesteps.clone()
        found = drafts.draft(scheduler, sampler, calibration(), 3)
        assert found.inputs == inputs and set(found.timesteps) <= set(drafts.timesteps(scheduler, 25))
        assert scheduler.timesteps.equal(before)
    karras = EulerDiscreteScheduler(use_karras_sigmas=True)  # which takes no timesteps
    assert drafts.draft(karras, sampler, calibration(), 3) == drafts.Draft(8, None, 8)
