"""The components of a checkpoint as torch modules that can be traced: plain tensors in, plain tensors out.

Consumes a checkpoint folder; produces a `Traceable` for each component's name, with example inputs and dynamic axes.
Converts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import configurations, fitting, lean
from stages.checkpoints.components import CLASSES, INDEX, read_index, read_json

BATCH = 2
LATENT_SIDE = 15  # odd, so that the trace takes upsampling sizes from the skip connections and any picture size works
PICTURE_PX = 32
NO_VARIANCE = -30.0  # logarithmic: the least that diffusers' DiagonalGaussianDistribution lets through


@dataclass(frozen=True)
class Traceable:
    """A module whose forward takes and returns plain tensors, with example inputs by name and the dynamic axes."""

    module: Any
    example: dict[str, Any]
    dynamic_axes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    runtime_options: dict[str, str]


def _text_encoder(checkpoint: Path) -> Traceable:
    return _clip("CLIPTextModel", checkpoint / "text_encoder", ("last_hidden_state", "pooler_output"))


def _text_encoder_2(checkpoint: Path) -> Traceable:
    return _clip("CLIPTextModelWithProjection", checkpoint / "text_encoder_2", ("text_embeds", "last_hidden_state"))


def _clip(class_name: str, folder: Path, outputs: tuple[str, str]) -> Traceable:
    model_class = lean.named("transformers", class_name)
    import torch
    from transformers import CLIPTextConfig

    known = configurations.known(class_name, read_json(folder / "config.json"))
    encoder = model_class.from_pretrained(folder, config=CLIPTextConfig(**known), dtype=torch.float16).eval()

    class Text(torch.nn.Module):
        """Token numbers (batch, tokens) to the pooled and last state and every layer's input."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: Any) -> tuple:
            position = torch.arange(input_ids.shape[1])
            causal = (position[None, :] <= position[:, None])[None, None]  # transformers' own mask cannot be traced
            states = self.encoder(input_ids=input_ids, attention_mask=causal, output_hidden_states=True)
            return tuple(states[name] for name in outputs) + tuple(states.hidden_states)

    layers = encoder.config.num_hidden_layers
    return Traceable(
        module=Text().eval(),
        example={"input_ids": torch.ones(BATCH, encoder.config.max_position_embeddings, dtype=torch.int64)},
        dynamic_axes={"input_ids": (0, 1)},
        outputs=(*outputs, *(f"hidden_states.{layer}" for layer in range(layers + 1))),
        runtime_options={},
    )


def _unet(checkpoint: Path) -> Traceable:
    unet_class = lean.named("diffusers", "UNet2DConditionModel")
    import torch

    unet = unet_class.from_pretrained(
        checkpoint / "unet", torch_dtype=torch.float16, low_cpu_mem_usage=True, use_safetensors=True
    ).eval()
    config, tokens = unet.config, read_json(checkpoint / "text_encoder_2/config.json")["max_position_embeddings"]

    class Denoiser(torch.nn.Module):
        """The UNet with its conditions as plain inputs, in the order of the UNet's own signature."""

        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(
            self, sample: Any, timestep: Any, encoder_hidden_states: Any, text_embeds: Any, time_ids: Any
        ) -> Any:
            return self.predict(sample, timestep, encoder_hidden_states, None, text_embeds, time_ids)

        def predict(self, sample: Any, timestep: Any, states: Any, condition: Any, pooled: Any, ids: Any) -> Any:
            return self.unet(
                sample,
                timestep,
                encoder_hidden_states=states,
                timestep_cond=condition,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": ids},
                return_dict=False,
            )[0]

    class GuidedDenoiser(Denoiser):
        """The same with the guidance embedded, as a latent consistency model takes it."""

        def forward(
            self,
            sample: Any,
            timestep: Any,
            encoder_hidden_states: Any,
            timestep_cond: Any,
            text_embeds: Any,
            time_ids: Any,
        ) -> Any:
            return self.predict(sample, timestep, encoder_hidden_states, timestep_cond, text_embeds, time_ids)

    guided = config.time_cond_proj_dim is not None
    example = {
        "sample": torch.randn(BATCH, config.in_channels, LATENT_SIDE, LATENT_SIDE),
        "timestep": torch.tensor([1] * BATCH, dtype=torch.int64),
        "encoder_hidden_states": torch.randn(BATCH, tokens, config.cross_attention_dim),
        "timestep_cond": torch.randn(BATCH, config.time_cond_proj_dim) if guided else None,
        "text_embeds": torch.randn(BATCH, pooled_width(checkpoint)),
        "time_ids": torch.randn(BATCH, time_ids(checkpoint)),
    }
    example = {name: tensor for name, tensor in example.items() if tensor is not None}
    return Traceable(
        module=(GuidedDenoiser if guided else Denoiser)().eval(),
        example=example,
        dynamic_axes={name: (0, 2, 3) if name == "sample" else (0,) for name in example},
        outputs=("out_sample",),
        runtime_options={},
    )


def _vae_encoder(checkpoint: Path) -> Traceable:
    import torch

    vae = _load_vae(checkpoint)

    class Encoder(torch.nn.Module):
        """Pictures in [-1, 1] to mean and logarithmic variance of their latents, stacked along the channels."""

        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, sample: Any) -> Any:
            return _latent_parameters(self.vae.encode(sample))

    example = {"sample": torch.randn(BATCH, vae.config.in_channels, PICTURE_PX, PICTURE_PX)}
    return Traceable(Encoder().eval(), example, {"sample": (0, 2, 3)}, ("latent_parameters",), _vae_options(vae))


def _latent_parameters(encoded: Any) -> Any:
    """Mean and logarithmic variance (n, 8, h, w). A tiny VAE knows no variance: its latents get next to none."""
    import torch

    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.parameters
    return torch.cat([encoded.latents, torch.full_like(encoded.latents, NO_VARIANCE)], dim=1)


def _vae_decoder(checkpoint: Path) -> Traceable:
    import torch

    vae = _load_vae(checkpoint)

    class Decoder(torch.nn.Module):
        """Unscaled latents to pictures in [-1, 1]."""

        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, latent_sample: Any) -> Any:
            return self.vae.decode(latent_sample, return_dict=False)[0]

    example = {"latent_sample": torch.randn(BATCH, vae.config.latent_channels, LATENT_SIDE, LATENT_SIDE)}
    return Traceable(Decoder().eval(), example, {"latent_sample": (0, 2, 3)}, ("sample",), _vae_options(vae))


def _load_vae(checkpoint: Path) -> Any:
    vae_class = lean.named("diffusers", _vae_class(checkpoint))
    import torch

    return vae_class.from_pretrained(
        checkpoint / "vae", torch_dtype=torch.float16, low_cpu_mem_usage=True, use_safetensors=True
    ).eval()


def _vae_class(checkpoint: Path) -> str:
    """As the pipeline's index names it; of a VAE by itself, as its configuration does: one of those allowed."""
    if (checkpoint / INDEX).is_file():
        return read_index(checkpoint)["vae"][1]
    found = read_json(checkpoint / "vae/config.json").get("_class_name")
    allowed = [name for _, name in CLASSES["vae"]]
    if found not in allowed:
        raise ValueError(f"{checkpoint}/vae/config.json describes {found!r}, allowed: {', '.join(allowed)}")
    return found


def _vae_options(vae: Any) -> dict[str, str]:
    """SDXL's VAE overflows in half precision; optimum tells plugins to scale its activations down."""
    return {"ACTIVATIONS_SCALE_FACTOR": "128.0"} if vae.config.force_upcast else {}


def pooled_width(checkpoint: Path) -> int:
    return read_json(checkpoint / "text_encoder_2/config.json")["projection_dim"]


def time_ids(checkpoint: Path) -> int:
    """How many numbers describe size and crop: six, or five (the refiner)."""
    unet, encoder = (read_json(checkpoint / part / "config.json") for part in ("unet", "text_encoder_2"))
    return fitting.time_ids(checkpoint, unet, encoder)


TRACEABLES: dict[str, Callable[[Path], Traceable]] = {
    "text_encoder": _text_encoder,
    "text_encoder_2": _text_encoder_2,
    "unet": _unet,
    "vae_encoder": _vae_encoder,
    "vae_decoder": _vae_decoder,
}
