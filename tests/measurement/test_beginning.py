"""What a base begins by an engine is what it begins here, but for the time of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.engines.engine import LOCAL
from stages.generation import drawing, pipelines
from stages.measurement import beginning, tasks
from stages.measurement.kept import Kept
from stages.prompts.sets import Prompt
from stages.settings.schema import Benchmark
from tests.tiny_ir import CPU, part, sampler, tiny_ir

COUNT, FINISHED, STEPS = tasks.TIMED + 2, tasks.TIMED + 1, 3
PROMPTS = [Prompt(f"p{n}", f"a red {n}") for n in range(COUNT)]
SETTINGS = part(Benchmark, seed=11)


def first_stage(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> tuple[tasks.FirstStage, int]:
    """With the number of drawings that it had to make itself."""
    base, drawn = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU), []
    generate = drawing.generate
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "generate", lambda *one, **how: drawn.append(one) or generate(*one, **how))
        found = tasks.first_stage(base, PROMPTS, sampler(), STEPS, SETTINGS, finished=FINISHED, kept=kept)
    return found, len(drawn)


def arrays(found: tasks.FirstStage) -> list[np.ndarray]:
    return [np.asarray(start.image) for start in (*found.halves, *found.finished, *found.pictures)]


def test_the_first_stage_finds_what_was_begun_elsewhere_and_times_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path / "kept")
    work = beginning.Base(tiny_ir("base"), "base", sampler(), STEPS, CPU, 4.0)
    beginning.draw(LOCAL, work, kept, PROMPTS, SETTINGS.seed, FINISHED)
    found, drawn = first_stage(kept, monkeypatch)
    expected, all_drawn = first_stage(Kept(), monkeypatch)
    assert (drawn, all_drawn) == (2 * tasks.TIMED, COUNT + FINISHED)
    for one, other in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    for mine, theirs in ((found.halves, expected.halves), (found.pictures, expected.pictures)):
        assert [start.steps for start in mine] == [start.steps for start in theirs]
        assert [start.seconds is None for start in mine] == [n >= tasks.TIMED for n in range(len(mine))]


def test_nothing_is_begun_twice(tmp_path: Path) -> None:
    kept, work = Kept(tmp_path), beginning.Base(tiny_ir("base"), "base", sampler(), STEPS, CPU, 4.0)
    beginning.draw(LOCAL, work, kept, PROMPTS, SETTINGS.seed, 0)
    given: list[int] = []

    class Watching:
        name = "watching"

        def map(self, work, items, what, unit):
            given.append(len(items))
            return LOCAL.map(work, items, what, unit)

        def rest(self):
            pass

    beginning.draw(Watching(), work, kept, PROMPTS, SETTINGS.seed, FINISHED)
    assert given == [FINISHED - tasks.TIMED]
