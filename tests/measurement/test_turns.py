"""What is measured in turns: a part that precisions have in common once, for all of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.files import layout
from stages.generation.residency import Room
from stages.measurement import subject as subjects
from stages.measurement import turns
from stages.measurement.extent import Extent
from stages.measurement.kept import Kept
from stages.measurement.subject import Precision
from tests.fake_ir import changed, fake_ir, noise

DEVICE, OTHER = SimpleNamespace(name="CPU", threads=0), SimpleNamespace(name="CPU", threads=1)


def subject(root: Path, **devices: Any) -> SimpleNamespace:
    """Of the IRs in `root`, each on a device; named as the device's keyword is."""
    folders = {name: root / layout.ir("mini-vega", name.split("_")[0]) for name in devices}
    return SimpleNamespace(
        precisions={name: Precision(folder, devices[name]) for name, folder in folders.items()},
        folders=folders,
        extent=Extent({"text-to-image": 1}, 4, False, False, 3, 0),
        settings=SimpleNamespace(model=SimpleNamespace(sampler=None)),
        prompts=[SimpleNamespace(text="an owl")],
        main_task="text-to-image",
        room=Room(1.0),
        kept=Kept(),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each part of which precision was called."""
    found: Counter[str] = Counter()
    for name in ("encode_prompt", "predict", "decode"):
        monkeypatch.setattr(turns.drawing, name, lambda pipeline, *_, name=name: found.update([f"{pipeline} {name}"]))
    monkeypatch.setattr(turns, "SHORT_S", 0.0)
    monkeypatch.setattr(turns, "CACHED_S", 0.0)
    return found


def part_times(subject: SimpleNamespace, *names: str) -> dict[str, dict[str, list[float]]]:
    latents = np.zeros((1, 4, 8, 8), np.float32)
    reference = SimpleNamespace(points=[{"sample": latents}], runs=[SimpleNamespace(latents=[latents])])
    return turns.part_times(subject, {name: {"text-to-image": name} for name in names}, reference)


def test_parts_in_common_are_measured_once_and_stand_for_all(tmp_path: Path, calls: Counter[str]) -> None:
    fake_ir(tmp_path, "mini-vega")
    times = part_times(subject(tmp_path, fp16=DEVICE, int8=DEVICE), "fp16", "int8")
    assert calls == {"fp16 encode_prompt": 3, "fp16 predict": 3, "int8 predict": 3, "fp16 decode": 3}
    assert times["int8"]["vae_decode_s"] == times["fp16"]["vae_decode_s"]
    assert times["int8"]["unet_step_s"] != times["fp16"]["unet_step_s"]


def test_so_they_are_where_precisions_do_not_fit_into_memory_together(tmp_path: Path, calls: Counter[str]) -> None:
    fake_ir(tmp_path, "mini-vega")
    apart = subject(tmp_path, fp16=DEVICE, int8=DEVICE)
    found = [part_times(apart, name)[name] for name in ("fp16", "int8")]
    assert calls == {"fp16 encode_prompt": 3, "fp16 predict": 3, "int8 predict": 3, "fp16 decode": 3}
    assert found[0]["vae_decode_s"] == found[1]["vae_decode_s"]


def test_parts_of_other_bytes_or_on_another_device_are_measured_apart(tmp_path: Path, calls: Counter[str]) -> None:
    fake_ir(tmp_path, "mini-vega")
    own = subject(tmp_path, fp16=DEVICE, int8=DEVICE, int8_other=OTHER)
    assert [subjects.first_alike(own, name, ["vae_decoder"]) for name in own.folders] == ["fp16", "fp16", "int8_other"]
    assert [subjects.first_alike(own, name, ["unet"]) for name in own.folders] == ["fp16", "int8", "int8_other"]
    decoder = tmp_path / layout.ir("mini-vega", "int8") / "vae_decoder" / "openvino_model.bin"
    decoder.unlink()
    decoder.write_bytes(noise("lighter", 10_000))
    changed(tmp_path, "mini-vega")
    assert subjects.first_alike(own, "int8", ["vae_decoder"]) == "int8"
    part_times(own, "fp16", "int8")
    assert (calls["int8 decode"], calls["int8 encode_prompt"]) == (3, 0)
