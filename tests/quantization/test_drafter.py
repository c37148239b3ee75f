"""A drafter computes what the float UNet does, and its taps are of the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from stages.calibration import shards
from stages.ir import anatomy, extremes, runtime
from stages.quantization import drafter
from tests.tiny_ir import CPU, tiny_ir

UNET = Path("unet/openvino_model.xml")


def inputs(seed: int) -> runtime.Inputs:
    """Of two rows, as a pipeline would ask."""
    lot = np.random.default_rng(seed)
    found = {"timestep": np.array(100.0 * (seed + 1), np.float32)}
    for port in runtime.read(tiny_ir("base") / UNET).inputs:
        name, shape = port.get_any_name(), list(port.get_partial_shape())
        sizes = {"sample": (2, 4, 16, 16), "encoder_hidden_states": (2, -1, -1), "text_embeds": (2, -1)}.get(name)
        if sizes:
            whole = [one if one > 0 else shape[place].get_length() for place, one in enumerate(sizes)]
            found[name] = lot.standard_normal(whole).astype(np.float32)
    return found | {"time_ids": np.tile(np.array([32, 32, 0, 0, 32, 32], np.float32), (2, 1))}


def answers(model: ov.Model, points: list[runtime.Inputs]) -> list[dict[str, np.ndarray]]:
    request = ov.Core().compile_model(model, "CPU", runtime.EXACT)
    return [{port.get_any_name(): value.copy() for port, value in request(point).items()} for point in points]


def split(answer: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    (own,) = (value for name, value in answer.items() if not extremes.is_own(name))
    return {name: value for name, value in answer.items() if extremes.is_own(name)}, own


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, drafter.Drafter]:
    """A drafter out of three inputs of one prompt."""
    folder, points = tmp_path_factory.mktemp("drafter"), [inputs(seed) for seed in range(3)]
    found = [split(answer) for answer in answers(extremes.beside(runtime.read(tiny_ir("base") / UNET)), points)]
    path = shards.shard_path(folder / "seen", 0)
    shards.save_seen(path, points, [one for one, _ in found], [answer for _, answer in found])
    return folder / "quick", drafter.pipeline(tiny_ir("base"), folder / "quick", folder / "seen", CPU)


def test_it_is_in_int8_and_near_at_inputs_that_were_not_seen(made) -> None:
    folder, about = made
    float_model, quick = (runtime.read(one / UNET) for one in (tiny_ir("base"), folder))
    assert anatomy.count_operations(quick)["fake_quantize"] > 10
    points = [inputs(seed) for seed in (7, 8)]
    pairs = [[split(one)[1] for one in answers(model, points)] for model in (float_model, quick)]
    noise = [((a - b) ** 2).sum() / (a**2).sum() for a, b in zip(*pairs, strict=True)]
    assert -10 * np.log10(max(noise)) > 25 and about.near_db > 25


def test_its_taps_give_what_the_float_unets_layers_are_given(made) -> None:
    """Also behind products of scaled values."""
    folder, about = made
    float_model, quick = (runtime.read(one / UNET) for one in (tiny_ir("base"), folder))
    assert any(here != name for name, here in about.taps.items())
    point = [inputs(7)]
    (expected, _), (found, _) = (
        split(answers(model, point)[0]) for model in (extremes.beside(float_model), extremes.beside(quick, about.taps))
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= 0.15 * max(np.abs(value).max(), 0.1), name


def test_all_but_the_unet_is_the_float_pipelines_and_what_is_there_is_not_made_again(made, monkeypatch) -> None:
    folder, about = made
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    whole = {str(path.relative_to(tiny_ir("base"))) for path in tiny_ir("base").rglob("*") if path.is_file()}
    assert names == whole - {"manifest.json"}
    assert (folder / "vae_decoder/openvino_model.bin").samefile(tiny_ir("base") / "vae_decoder/openvino_model.bin")
    monkeypatch.setattr("stages.machine.apart.run", None)
    assert drafter.pipeline(tiny_ir("base"), folder, folder.parent / "seen", CPU) == about
    assert sorted(path.name for path in folder.parent.iterdir() if not path.name.startswith(".")) == [
        "quick", "quick.json", "seen",
    ]  # fmt: skip
