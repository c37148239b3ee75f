"""Figures as computed by hand."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.measurement import figures, tasks
from stages.measurement.reference import Reference
from stages.prompts.sets import Prompt


class Stub:
    """A CLIP that sees a grey level as an angle in degrees, and reads it from a text."""

    def picture_features(self, pictures):
        return self.text_features([picture.getpixel((0, 0))[0] for picture in pictures])

    def text_features(self, texts):
        angles = np.radians([float(text) for text in texts])
        return 7 * np.stack([np.cos(angles), np.sin(angles)], 1)


def test_clip_figures_are_as_computed_by_hand():
    def runs(task, *levels):
        jobs = [tasks.Job(task, Prompt(f"p{text}", text), 1, None, {}) for text in ("0", "60")]
        pictures = [Image.new("RGB", (4, 4), (level,) * 3) for level in levels]
        return [tasks.Run(*pair, [], 5, 1.0) for pair in zip(jobs, pictures, strict=True)]

    reference = Reference("float32", runs("text-to-image", 0, 90), [], [])
    rows = {"fp16": {}, "int8": {}}
    others = runs("image-to-image", 180, 180)
    mine = {"fp16": runs("text-to-image", 0, 90) + others, "int8": others + runs("text-to-image", 60, 60)}
    figures.add_clip_figures(rows, reference, mine, Stub())
    assert rows["fp16"] == {
        "clip_score": 93.3,
        "clip_floor": 25.0,
        "clip_similarity": 1.0,
    }  # (cos 0 + cos 30) / 2, (cos 60 + cos 90) / 2
    # (cos 60 + cos 0) / 2 both ways, (cos 60 + cos 30) / 2
    assert rows["int8"] == {"clip_score": 75.0, "clip_floor": 75.0, "clip_similarity": 0.683}


def test_work_is_twice_the_multiply_accumulates_over_the_time(monkeypatch):
    monkeypatch.setattr(figures.runtime, "read", lambda path: None)
    monkeypatch.setattr(figures.anatomy, "multiply_accumulates", lambda model, shapes: 5_000_000)
    measured = {"unet_step_s": {"median": 0.001}, "executed_precisions": {"u8": 9, "f32": 1}, "executed_int8": 9}
    found = figures.work_figures(measured, Path("."), {}, {"float": 20.0, "int8": 40.0})
    assert found == {"unet_gops": 10.0, "unet_share_of_peak": 0.25}
