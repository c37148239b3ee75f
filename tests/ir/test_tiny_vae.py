"""The tiny VAE: a decoder taken from a folder, from a Hub on the loopback or made up, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.files import manifest
from stages.ir import runtime
from stages.ir.tiny_vae import tiny_vae
from stages.settings.schema import TinyVae
from tests.hub_server import HubServer
from tests.tiny import tiny_checkpoint
from tests.tiny_ir import CPU


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "checkpoint", "tiny-vae")


def local(folder: Path | str | None, **changes) -> TinyVae:
    fields = {"title": "tiny", "kind": "local", "repo": str(folder), "revision": None, "licence": "MIT", "watch": ""}
    return TinyVae(**{**fields, **changes})


def test_the_decoder_is_diffusers_own(checkpoint: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    folder = tiny_vae(local(checkpoint), tmp_path)
    facts = manifest.verify(folder, rerun="speed")["facts"]
    assert facts["sources"] == [{"part": "vae_decoder", "kind": "local", "name": checkpoint.name}]
    assert (facts["title"], facts["licence"]) == ("tiny", "MIT")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = AutoencoderTiny.from_pretrained(checkpoint).decode(latents, return_dict=False)[0].detach().numpy()
    found = runtime.compile(runtime.read(folder / "vae_decoder/openvino_model.xml"), CPU)(latents.numpy())[0]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_it_is_made_once_and_again_of_another(checkpoint: Path, tmp_path: Path) -> None:
    folder = tiny_vae(local(checkpoint), tmp_path)
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert tiny_vae(local(checkpoint), tmp_path) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp
    tiny_vae(local(checkpoint, title="another"), tmp_path)
    assert (folder / "manifest.json").stat().st_mtime_ns != stamp


def test_none_is_none(tmp_path: Path) -> None:
    assert tiny_vae(local(None, kind="none", repo=None), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_one_of_random_weights_says_so(tmp_path: Path) -> None:
    folder = tiny_vae(local(None, kind="synthetic", repo=None), tmp_path)
    assert manifest.has_random_weights(manifest.read(folder, rerun="speed"))
    compiled = runtime.compile(runtime.read(folder / "vae_decoder/openvino_model.xml"), CPU)
    assert compiled(np.zeros((1, 4, 4, 4), np.float32))[0].shape == (1, 3, 32, 32)


def test_one_from_the_hub_is_recorded_by_its_commit(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    with HubServer({"me/tiny": checkpoint}) as hub:
        hub.stand_in(monkeypatch, tmp_path / "cache")
        tiny_vae(local("me/tiny", kind="hub", revision="main"), tmp_path)
    record = json.loads((tmp_path / "artifacts/revisions/tiny-vae.json").read_text())
    assert record["me/tiny"]["main"]["commit"] == "a" * 40


def test_another_class_is_refused_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"_class_name": "AutoencoderKL"}))
    with pytest.raises(ValueError, match="config.json describes 'AutoencoderKL', allowed: 'AutoencoderTiny'"):
        tiny_vae(local(checkpoint), tmp_path)
    (checkpoint / "config.json").unlink()
    with pytest.raises(ValueError, match="config.json is missing: tiny_vae.repo must name"):
        tiny_vae(local(checkpoint), tmp_path)
    assert not (tmp_path / "artifacts/tiny-vae").exists()
