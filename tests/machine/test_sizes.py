"""Sizes to plan with are those of the architectures themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.checkpoints import architectures, synthetic
from stages.machine import sizes
from tests.tiny import tiny_checkpoint

ARCHITECTURES = ("sdxl", "sdxl-refiner", "ssd-1b", "lcm-ssd-1b", "vega")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_published_counts_are_those_of_the_modules(name: str) -> None:
    parts, published = architectures.configurations(name), sizes.of_architecture(name)
    assert set(published) == {part for part in parts if part in sizes.components.STEMS}
    for part, size in published.items():
        tensors = synthetic.empty(part, parts[part]).state_dict().values()
        assert size.parameters == sum(tensor.numel() for tensor in tensors), part
        assert size.convolution == sum(tensor.numel() for tensor in tensors if tensor.dim() == 4), part


@pytest.mark.parametrize("pixels", [512, 1024])
def test_work_of_a_unet_step_is_what_torch_counts(pixels: int) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    settings = architectures.configurations("vega")["unet"]
    unet, side = synthetic.empty("unet", settings), pixels // 8
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(
            sample=torch.empty(1, 4, side, side),
            timestep=torch.empty(()),
            encoder_hidden_states=torch.empty(1, 77, settings["cross_attention_dim"]),
            added_cond_kwargs={"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)},
        )
    ours = sizes.unet_gmacs(sizes.of_architecture("vega")["unet"], pixels**2, batch=1)
    assert ours == pytest.approx(counter.get_total_flops() / 2e9, rel=1e-3)
    assert sizes.unet_gmacs(sizes.of_architecture("vega")["unet"], pixels**2, batch=2) == pytest.approx(2 * ours)


def test_a_checkpoint_is_counted_from_its_headers(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    found = sizes.of_checkpoint(tiny_checkpoint(tmp_path / "base", "base"))
    assert set(found) == {"text_encoder", "text_encoder_2", "unet", "vae"}
    tensors = load_file(tmp_path / "base/unet/diffusion_pytorch_model.safetensors").values()
    assert found["unet"].parameters == sum(tensor.size for tensor in tensors)
    assert found["unet"].convolution == sum(tensor.size for tensor in tensors if tensor.ndim == 4)
    assert sizes.unet_gmacs(found["unet"], 512**2, 2) == pytest.approx(2 * 300e-9 * found["unet"].parameters)


def test_guidance_that_a_unet_embeds_is_seen_before_and_after_the_download_and_in_the_ir(tmp_path: Path) -> None:
    assert sizes.of_architecture("lcm-ssd-1b")["unet"].embeds_guidance
    assert not sizes.of_architecture("ssd-1b")["unet"].embeds_guidance
    tiny_checkpoint(tmp_path / "lcm/unet", "lcm-unet")
    tiny_checkpoint(tmp_path / "base", "base")
    for folder, embeds in (("lcm", True), ("base", False)):
        assert sizes.of_checkpoint(tmp_path / folder)["unet"].embeds_guidance == embeds
    for part in ("unet", "vae_decoder"):
        (tmp_path / part).mkdir()
        for suffix in ("xml", "bin"):
            (tmp_path / part / f"openvino_model.{suffix}").touch()
    for name, embeds in (("timestep_cond", True), ("timestep", False)):
        graph = f'<layer id="0" name="{name}" type="Parameter"/><layer type="Const"><data shape="4, 4"/></layer>'
        (tmp_path / "unet/openvino_model.xml").write_text(graph)
        assert sizes.of_ir(tmp_path)["unet"].embeds_guidance == embeds


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match=r"source.architecture 'sd3' is not known; allowed: sdxl, .*vega"):
        sizes.of_architecture("sd3")
