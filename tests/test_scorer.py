"""The scorer: a CLIP model taken from a folder or from a Hub on the loopback, verified, or refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stages import scorer as stage
from stages.files import manifest
from stages.measurement import clip
from stages.scorer import scorer
from stages.settings.schema import Clip
from tests.hub_server import HubServer
from tests.tiny import tiny_checkpoint

WEIGHTS = "model.safetensors"
TAKEN = {"config.json", WEIGHTS, "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("clip") / "clip", "clip")


@pytest.fixture
def copy(weights, tmp_path):
    """A copy of the tiny model, with things beside it that are not wanted, that a test may spoil."""
    folder = shutil.copytree(weights, tmp_path / "copy")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "train.py").write_text("print('never fetched')")
    return folder


def local(folder, **changes) -> Clip:
    fields = {"title": "tiny CLIP", "kind": "local", "repo": str(folder), "revision": None, "licence": "MIT"}
    return Clip(**{**fields, "watch": str(folder), **changes})


def nothing_left(root) -> bool:
    return not list(root.glob("artifacts/*scorer*")) and not list(root.glob("artifacts/.*"))


def test_a_local_model_arrives_whole_with_title_and_licence_and_nothing_else(copy, tmp_path):
    written = scorer(local(copy), tmp_path)
    folder = tmp_path / "artifacts/scorer"
    assert manifest.verify(folder, rerun="scorer") == written
    assert written["facts"] == {"title": "tiny CLIP", "licence": "MIT"}
    assert set(written["files"]) >= TAKEN
    assert not [name for name in written["files"] if name.endswith((".py", ".bin"))]
    assert not (folder / WEIGHTS).samefile(copy / WEIGHTS)
    assert clip.load(folder).text_features(["red"]).shape == (1, 16)


def test_without_a_scorer_there_is_a_manifest_alone(tmp_path):
    written = scorer(local(None, kind="none", repo=None, licence=None), tmp_path)
    assert (written["files"], written["facts"]) == ({}, {})
    assert [path.name for path in (tmp_path / "artifacts/scorer").iterdir()] == [manifest.NAME]


def test_a_model_of_pickles_only_is_refused_with_the_reason(copy, tmp_path):
    (copy / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is refused: a pickle can run any code"):
        scorer(local(copy), tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("name", stage.NEEDED)
def test_a_missing_file_is_named(copy, tmp_path, name):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing: a CLIP model"):
        scorer(local(copy), tmp_path)
    assert nothing_left(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="repo '.*/nowhere' is not a folder"):
        scorer(local(tmp_path / "nowhere"), tmp_path)


def test_not_a_number_in_weights_is_refused_by_file_and_tensor(copy, tmp_path):
    tensors = load_file(copy / WEIGHTS)
    tensors["visual_projection.weight"][0, 0] = np.nan
    save_file(tensors, copy / WEIGHTS)
    with pytest.raises(ValueError, match=r"model\.safetensors: tensor visual_projection\.weight holds NaN"):
        scorer(local(copy), tmp_path)
    assert nothing_left(tmp_path)


def test_a_truncated_file_is_refused_by_name(copy, tmp_path):
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        scorer(local(copy), tmp_path)


def test_weights_of_another_model_are_refused_before_a_benchmark_has_run(copy, tmp_path):
    tensors = load_file(copy / WEIGHTS)
    save_file({name: tensor for name, tensor in tensors.items() if "vision" not in name}, copy / WEIGHTS)
    with pytest.raises(ValueError, match="weights of vision_model.* are missing"):
        scorer(local(copy), tmp_path)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "siglip"}))
    with pytest.raises(ValueError, match="config.json describes 'siglip', allowed: 'clip'"):
        scorer(local(copy), tmp_path)
    assert nothing_left(tmp_path)


def test_a_hub_model_is_fetched_once_recorded_and_kept_when_main_moves(copy, tmp_path, monkeypatch):
    settings = local("me/clip", kind="hub", revision="main")
    with HubServer({"me/clip": copy}) as hub:
        hub.stand_in(monkeypatch, tmp_path / "cache")
        first = scorer(settings, tmp_path)
        record = json.loads((tmp_path / "artifacts/revisions/scorer.json").read_text())
        assert record["me/clip"]["main"]["commit"] == "a" * 40
        assert not hub.fetched("pytorch_model.bin") and not hub.fetched("train.py")
        hub.commits["me/clip"] = "b" * 40
        hub.requests.clear()
        assert scorer(settings, tmp_path) == first
        assert not hub.fetched(WEIGHTS)
    assert set(first["files"]) >= TAKEN


def test_a_wrong_byte_from_the_hub_is_found(copy, tmp_path, monkeypatch):
    with HubServer({"me/clip": copy}) as hub:
        hub.stand_in(monkeypatch, tmp_path / "cache")
        hub.flipped.add(WEIGHTS)
        with pytest.raises(ValueError, match=r"model\.safetensors has not the SHA-256"):
            scorer(local("me/clip", kind="hub", revision="main"), tmp_path)
    assert not (tmp_path / "artifacts/scorer").exists()
