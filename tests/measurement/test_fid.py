"""FID of a benchmark's pictures: from a file or a folder, kept as it comes, refused by name, null with the reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from stages.measurement import fid, frechet, inception, moments
from stages.measurement.kept import Kept
from stages.measurement.moments import Gaussian, Moments
from stages.settings.schema import Fid
from tests.tiny_ir import CPU, part, tiny_scorer

RANDOM = np.random.default_rng(0)
WIDTH = 3


class Means:
    """An encoder whose features are a picture's mean colours; it counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def picture_features(self, pictures: list[Image.Image]) -> np.ndarray:
        self.shown += len(pictures)
        return np.stack([np.asarray(picture, np.float32).mean((0, 1)) for picture in pictures])


def settings(reference: Path | str | None, **changes) -> Fid:
    fields = {"title": "true", "features": "scorer", "weights": None, "licence": "MIT", "least": None, "watch": "x"}
    return part(Fid, **fields | {"reference": None if reference is None else str(reference)} | changes)


def picture() -> Image.Image:
    return Image.fromarray((RANDOM.integers(0, 256, 3) * np.ones((8, 8, 3))).astype(np.uint8))


def runs(count: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(picture=picture()) for _ in range(count)]


def yardstick(model: Means, truth) -> fid.Yardstick:
    return fid.Yardstick(fid.Encoder("ab" * 32, WIDTH, lambda: model), truth, WIDTH + 1)


def statistics(count: int = 50) -> Gaussian:
    sums = Moments()
    sums.add(RANDOM.uniform(0, 255, (count, WIDTH)))
    return sums.gaussian()


def test_each_precision_has_its_distance_and_the_quantized_one_its_rise() -> None:
    truth, drawn, rows = statistics(), {"fp16": runs(70), "int8": runs(70)}, {"fp16": {}, "int8": {}, "int4": {}}
    about = fid.figures(yardstick(Means(), truth), settings("x.npz"), rows, drawn, Kept())
    for name, mine in drawn.items():
        sums = Moments()
        sums.add(Means().picture_features([run.picture for run in mine]))
        expected = frechet.distance(sums.gaussian(), truth)
        assert rows[name]["fid"]["value"] == pytest.approx(expected, abs=1e-3) and rows[name]["fid"]["count"] == 70
    assert rows["int8"]["fid_rise"]["low"] < rows["int8"]["fid_rise"]["value"] < rows["int8"]["fid_rise"]["high"]
    assert rows["fp16"]["fid_rise"] is None and rows["int4"] == {"fid": None, "fid_rise": None}, "int4 was not run"
    assert (about["pictures"], about["reference_pictures"], about["why"]) == (70, 50, None)


def test_too_few_pictures_have_none_and_say_how_many_it_takes() -> None:
    rows, model = {"fp16": {}, "int8": {}}, Means()
    drawn = {"fp16": runs(3), "int8": runs(3)}
    about = fid.figures(yardstick(model, statistics()), settings("x.npz"), rows, drawn, Kept())
    assert about["why"].startswith("3 pictures of each precision, at least 4 are needed with 3 features: raise")
    assert rows == {name: {"fid": None, "fid_rise": None} for name in drawn} and model.shown == 0


def test_a_killed_run_looks_at_no_picture_twice(tmp_path: Path) -> None:
    drawn, truth, first, again = {"fp16": runs(70)}, statistics(), Means(), Means()
    one, other = {"fp16": {}}, {"fp16": {}}
    fid.figures(yardstick(first, truth), settings("x.npz"), one, drawn, Kept(tmp_path))
    fid.figures(yardstick(again, truth), settings("x.npz"), other, drawn, Kept(tmp_path))
    assert (first.shown, again.shown) == (70, 0) and one == other


def test_a_folder_of_pictures_is_a_reference_as_a_file_of_their_statistics_is(tmp_path: Path) -> None:
    folder = tmp_path / "true"
    folder.mkdir()
    shown = [picture() for _ in range(70)]
    for number, one in enumerate(shown):
        one.save(folder / f"{number:02d}.png")
    (folder / "notes.txt").write_text("no picture")
    sums = Moments()
    sums.add(Means().picture_features(shown))
    drawn, by_folder, by_file = {"fp16": runs(10)}, {"fp16": {}}, {"fp16": {}}
    fid.figures(yardstick(Means(), fid.truth(folder)), settings(folder), by_folder, drawn, Kept())
    fid.figures(yardstick(Means(), sums.gaussian()), settings("x.npz"), by_file, drawn, Kept())
    assert by_folder == by_file


def test_a_picture_of_the_reference_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png is no picture that can be read"):
        fid.figures(yardstick(Means(), fid.truth(tmp_path)), settings("x"), {"fp16": {}}, {"fp16": runs(5)}, Kept())


def test_what_is_missing_is_said_before_anything_is_drawn(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"fid\.reference '.*val\.npz' is missing: put a statistics file"):
        fid.require(settings(tmp_path / "val.npz"))
    with pytest.raises(FileNotFoundError, match="holds no pictures"):
        fid.require(settings(tmp_path))
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="run 'python -m pip install --no-deps torch-fidelity==0.4.0'"):
        fid.require(settings(tmp_path, features="inception", weights="w.pth"))
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(FileNotFoundError, match=r"fid\.weights '.*w\.pth' is missing: .*fid\.weights=fetch"):
        fid.require(settings(tmp_path, features="inception", weights=str(tmp_path / "w.pth")))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Gaussian(np.zeros(5), np.eye(5)), "is of 5 features, scorer has 16"),
        (Gaussian(np.zeros(16), np.eye(16), 100, "another"), "is of other weights than scorer has here"),
        (Gaussian(np.zeros(16), np.eye(16), 16), "is of 16 pictures, 16 features need more"),
    ],
)
def test_statistics_that_do_not_fit_the_scorer_are_refused(tmp_path: Path, monkeypatch, found, said: str) -> None:
    monkeypatch.chdir(tiny_scorer().parents[1])
    moments.write(tmp_path / "true.npz", found)
    with pytest.raises(ValueError, match=said):
        fid.yardstick(settings(tmp_path / "true.npz"), CPU)


def test_the_scorers_features_are_clips(tmp_path: Path, monkeypatch) -> None:
    from stages.measurement import clip

    monkeypatch.chdir(tiny_scorer().parents[1])
    digest = fid.scorer_digest(tiny_scorer())
    moments.write(tmp_path / "true.npz", Gaussian(np.zeros(16), np.eye(16), 100, digest))
    found = fid.yardstick(settings(tmp_path / "true.npz"), CPU)
    assert (found.encoder.width, found.least) == (16, 17)
    shown = [picture() for _ in range(3)]
    expected = clip.load(tiny_scorer()).picture_features(shown)
    np.testing.assert_array_equal(found.encoder.loaded.picture_features(shown), expected)


def test_without_features_there_is_no_yardstick_and_every_row_says_null() -> None:
    assert fid.yardstick(settings(None, features="none"), CPU) is None
    rows = {"fp16": {}}
    assert fid.figures(None, settings(None, features="none"), rows, {"fp16": runs(1)}, Kept()) is None
    assert rows == {"fp16": {"fid": None, "fid_rise": None}}


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("torch-fidelity is not installed")
    (tmp_path / "w.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="does not hold the weights of FID's Inception"):
        inception.load(tmp_path / "w.pth")


def test_the_miniatures_statistics_are_of_the_clip_that_is_here() -> None:
    root = Path(__file__).parents[2]
    found = moments.read(root / "miniatures/fid/held-out.npz")
    from stages.files import manifest

    assert found.encoder == manifest.sha256(root / "miniatures/weights/clip/model.safetensors")
    assert (found.count, found.mu.shape) == (414, (96,))
