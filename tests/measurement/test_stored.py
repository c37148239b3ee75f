"""What is kept on disk is read at every look and held by nobody, so that many pictures take no more memory than few."""

from __future__ import annotations

import pickle
import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.measurement import likeness, stored, tasks
from stages.measurement import reference as references
from stages.measurement.encoding import Batch
from stages.measurement.kept import Kept
from stages.measurement.reference import Reference
from stages.prompts.sets import Prompt

SIDE, POINTS = 128, 4
RANDOM = np.random.default_rng(5)


def saved(folder: Path, **arrays: np.ndarray) -> stored.OnDisk:
    folder.mkdir(exist_ok=True)
    stored.save(folder / "some.safetensors", arrays, {"seconds": 1.5})
    found, facts = stored.load(folder / "some.safetensors")
    assert facts == {"seconds": 1.5}
    return found


def test_arrays_are_read_at_every_look_in_their_order(tmp_path: Path) -> None:
    first, second = RANDOM.random((2, 3)), np.arange(4, dtype=np.uint8)
    found = saved(tmp_path, b=first, a=second)
    assert list(found) == ["b", "a"] and len(found) == 2 and "b" in found and "c" not in found
    assert np.array_equal(found["b"], first) and found["a"].dtype == np.uint8
    assert found["b"] is not found["b"]
    with pytest.raises(KeyError):
        found["c"]


def test_some_of_them_by_other_names_are_the_same_from_disk_as_from_memory(tmp_path: Path) -> None:
    arrays = {f"000{n}/{name}": RANDOM.random(3) for n in range(2) for name in ("sample", "timestep")}
    for found in (saved(tmp_path, **arrays), arrays):
        points = references.unflat(found, 2)
        assert [list(point) for point in points] == [["sample", "timestep"]] * 2
        assert np.array_equal(points[1]["sample"], arrays["0001/sample"])
    assert references.flat(points).keys() == arrays.keys()


def test_a_slice_reads_nothing() -> None:
    read: list[int] = []
    looks = stored.Looks([1, 2, 3, 4], lambda item: read.append(item) or 10 * item)
    later = looks[1:]
    assert (len(later), read) == (3, [])
    assert list(later) == [20, 30, 40] and looks[-1] == 40 and read == [2, 3, 4, 4]


def test_what_is_sent_to_another_process_is_what_it_holds(tmp_path: Path) -> None:
    """A path means nothing on another machine."""
    found = saved(tmp_path, latents=RANDOM.random(3), picture=np.full((8, 8, 3), 7, np.uint8))
    job = tasks.Job("image-to-image", Prompt("p", "text"), 1, tasks.Start(found), {})
    batch = Batch(tasks.pictures([tasks.Run(job, found, 5, 1.0)])[:1])
    other = saved(tmp_path / "other", **{"0000/x": np.ones(2)})
    sent = pickle.dumps((job, batch, references.unflat(other, 1)))
    shutil.rmtree(tmp_path)
    job, batch, points = pickle.loads(sent)
    assert job.start.image.getpixel((0, 0)) == (7, 7, 7) and batch.items[0].size == (8, 8)
    assert np.array_equal(points[0]["x"], np.ones(2))


class Means:
    """A CLIP that sees mean colours."""

    def picture_features(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([np.asarray(picture).mean((0, 1)) for picture in pictures])

    def text_features(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 3))


def drawn(kept: Kept, name: str, count: int) -> list[tasks.Run]:
    def run(n: int) -> tasks.Run:
        job = tasks.Job("text-to-image", Prompt(f"p{n}", "text"), n, None, {})
        picture = Image.fromarray(RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        made = tasks.Run(job, tasks.drawn(picture, list(RANDOM.random((20, 1, 4, 32, 32)))), 20, 1.0)
        return tasks.kept_run(kept, f"{name}/{n}", job, lambda: made)

    return [run(n) for n in range(count)]


def predicted(kept: Kept, name: str, count: int) -> Sequence[np.ndarray]:
    def prediction(n: int) -> tuple[stored.Arrays, str]:
        return kept.arrays(f"{name}/at/{n}", lambda: ({"0000": RANDOM.random((2, 4, 64, 64))}, {}))[0], "0000"

    return stored.each([prediction(n) for n in range(count * POINTS)])


def peak_mb(kept: Kept, count: int) -> float:
    """Of drawing, and of all figures of fidelity."""
    tracemalloc.start()
    owners = [f"p{n}" for n in range(count) for _ in range(POINTS)]
    points = [{"timestep": np.array([10.0 * n])} for n in range(count * POINTS)]
    reference = Reference("float32", drawn(kept, "f32", count), points, predicted(kept, "f32", count), owners)
    runs = {"int8": drawn(kept, "int8", count)}
    rows = {"int8": likeness.likeness(reference, runs["int8"], predicted(kept, "int8", count))}
    likeness.add_clip_figures(rows, reference, runs, Means())
    assert len(rows["int8"]["per_prompt"]) == count and rows["int8"]["sqnr_db"] < 5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def test_figures_of_many_pictures_take_no_more_memory_than_those_of_few(tmp_path: Path) -> None:
    few, many = peak_mb(Kept(tmp_path / "few"), 3), peak_mb(Kept(tmp_path / "many"), 30)
    whole_mb = 2 * (SIDE * SIDE * 3 + 20 * 4 * 32 * 32 * 8 + POINTS * 2 * 4 * 64 * 64 * 8) / 1e6
    assert many - few < 0.01 * 27 * whole_mb, "names, and the prompt's own figures"
