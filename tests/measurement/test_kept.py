"""Finished pieces are found again, whole, by the next run; without a folder they last as long as the process."""

import numpy as np
import pytest
from PIL import Image

from stages.measurement import kept, tasks
from stages.measurement.kept import Kept
from stages.prompts.sets import Prompt


def never():
    pytest.fail("made twice")


@pytest.mark.parametrize("in_a_folder", [True, False])
def test_a_piece_is_made_once(tmp_path, in_a_folder):
    mine = Kept(tmp_path if in_a_folder else None)
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1], np.uint8)}
    assert not mine.has("fp16/some task/1")
    mine.arrays("fp16/some task/1", lambda: (arrays, {"seconds": 1.25}))
    assert mine.has("fp16/some task/1")
    for again in [mine, Kept(tmp_path)][: 1 + in_a_folder]:
        found, facts = again.arrays("fp16/some task/1", never)
        assert list(found) == ["b", "a"] and facts == {"seconds": 1.25}
        assert all(
            np.array_equal(found[name], arrays[name]) and found[name].dtype == arrays[name].dtype for name in arrays
        )
    assert mine.value("times", lambda: {"x": [0.1, 2]}) == mine.value("times", never) == {"x": [0.1, 2]}


def test_half_a_file_is_no_piece(tmp_path):
    (tmp_path / "run.partial").write_bytes(b"half")
    assert not Kept(tmp_path).has("run")


def test_names_of_pieces_are_names_of_files():
    assert kept.file_name("fp16 in float32/two-stage/7") == "fp16-in-float32-two-stage-7"


def test_a_run_comes_back_pixel_by_pixel_with_its_time(tmp_path):
    job = tasks.Job("text-to-image", Prompt("p", "text"), 3, None, {})
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    latents = [np.full((1, 4, 2, 3), step, np.float32) for step in range(12)]
    made = tasks.Run(job, tasks.drawn(picture, latents), 12, 0.123456789)
    for make in (lambda: made, never):
        found = tasks.kept_run(Kept(tmp_path), "run", job, make)
        assert np.array_equal(np.asarray(found.picture), np.asarray(picture)) and found.picture.mode == "RGB"
        assert [float(array[0, 0, 0, 0]) for array in found.latents] == list(range(12))
        assert (found.job, found.steps, found.seconds) == (job, 12, 0.123456789)
