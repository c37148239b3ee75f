"""Points of the reference, and what is predicted at them."""

from types import SimpleNamespace

import numpy as np
import pytest

from stages.generation import pipelines
from stages.measurement import reference as references
from stages.measurement import tasks
from stages.measurement.kept import Kept
from stages.measurement.reference import spread
from stages.prompts.sets import Prompt
from tests.tiny_ir import CPU, sampler, tiny_ir


def test_points_are_spread_over_the_whole_trajectory():
    assert spread([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert spread([1, 2], 6) == [1, 2]


def test_what_a_precision_predicts_on_its_own_way_is_not_predicted_once_more(monkeypatch: pytest.MonkeyPatch):
    how, job = sampler(steps=5), tasks.Job("text-to-image", Prompt("owl", "an owl"), 3, None, {})
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", how, CPU)
    subject = SimpleNamespace(key="tiny", kept=Kept(), extent=SimpleNamespace(points=3), folders={"fp16": None})
    monkeypatch.setattr(references.subjects, "drawn", lambda *_: tasks.run(pipeline, job, how, 5))
    _, points = references.recorded(subject, pipeline, job, "fp16")
    expected = references.predict(pipeline, points, "tiny")
    monkeypatch.setattr(references, "predict", lambda *_: pytest.fail("predicted once more"))
    found = references.predicted(subject, pipeline, points, ["owl"] * 3, "fp16")
    assert len(found) == len(expected) == 3
    assert all(np.array_equal(mine, other) for mine, other in zip(found, expected.values(), strict=True))


def test_drawn_in_float32_no_precision_has_predicted_anything():
    how, job = sampler(steps=5), tasks.Job("text-to-image", Prompt("owl", "an owl"), 3, None, {})
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", how, CPU, reference=True)
    subject = SimpleNamespace(key="tiny", kept=Kept(), extent=SimpleNamespace(points=3), folders={"fp16": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references.subjects, "drawn", lambda *_: tasks.run(pipeline, job, how, 5))
        references.recorded(subject, pipeline, job, "fp16 in f32")
    names = [references.predictions_name(name, "owl") for name in ("fp16", "fp16 in f32")]
    assert not any(map(subject.kept.has, names))
