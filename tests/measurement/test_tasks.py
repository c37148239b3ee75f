"""A picture that is none is an error that says where it came from."""

import numpy as np
import pytest
from PIL import Image

from stages.measurement import tasks
from stages.prompts.sets import Prompt


def test_a_picture_has_a_whole_time_where_all_of_it_was_drawn_here():
    def whole_s(before: float | None, own: float | None) -> float | None:
        job = tasks.Job("two-stage", Prompt("eval-1", "a dog"), 11, tasks.Start({}, 4, before), {})
        return tasks.Run(job, {}, 5, own).whole_s

    assert whole_s(2.0, 1.5) == 3.5
    assert whole_s(None, 1.5) is None and whole_s(2.0, None) is None
    alone = tasks.Job("text-to-image", Prompt("eval-1", "a dog"), 11, None, {})
    assert tasks.Run(alone, {}, 5, 1.5).whole_s == 1.5


def test_a_black_or_constant_picture_is_an_error():
    job = tasks.Job("text-to-image", Prompt("eval-1", "a dog"), 11, None, {})
    for colour, flaw in ((0, "black"), (90, "constant")):
        drawn = tasks.drawn(Image.new("RGB", (16, 16), (colour,) * 3), [np.ones((1, 4, 8, 8))])
        run = tasks.Run(job, drawn, 5, 1.0)
        with pytest.raises(ValueError, match=f"mini int8 drew a picture that is {flaw} .*seed 11, prompt 'eval-1'"):
            tasks.require_picture(run, "mini", "int8")
