"""One torch component to one FP16 IR, with the inputs, outputs and dynamic shapes of optimum-intel's exporter.

Consumes a checkpoint folder; produces `openvino_model.xml` and `.bin`. Weights stay in their memory-mapped file until
they are written out. Quantizes nothing and does not import optimum, which costs ten seconds.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib import saving
from stages.lib.components import Component, read_index, read_json

BATCH = 2
LATENT_PX = 15  # odd, so that the trace takes upsampling sizes from the skip connections and any picture size works
PICTURE_PX = 32
DYNAMIC = -1
NO_VARIANCE = -30.0  # logarithmic: the least that diffusers' DiagonalGaussianDistribution lets through
COUNTED = re.compile(r"[A-Z]\w*_\d+(\.\d+)?")  # Convert_49779, RaggedToDense_24897.0


@dataclass(frozen=True)
class Traceable:
    """A module whose forward takes and returns plain tensors, with example inputs by name and the dynamic axes."""

    module: Any
    example: dict[str, Any]
    dynamic_axes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    runtime_options: dict[str, str]


def write_ir(checkpoint: Path, component: Component, target: Path) -> None:
    """Convert one component of the pipeline in `checkpoint` and save it to `target`, an .xml path."""
    import torch

    with quiet(), torch.no_grad():
        traceable = TRACEABLES[component.name](checkpoint)
        model = _convert(traceable)
        settle_names(model, component.name)
        saving.save(model, target)


def settle_names(model: Any, name: str) -> None:
    """Replace the names that OpenVINO counts up within a process, so that equal models are written as equal bytes."""
    model.set_friendly_name(name)
    for number, operation in enumerate(model.get_ordered_ops()):
        settled = f"{operation.get_type_name()}_{number}"
        if COUNTED.fullmatch(operation.get_friendly_name()):
            operation.set_friendly_name(settled)
        for port in operation.outputs():
            names = port.get_tensor().get_names()
            if any(COUNTED.fullmatch(name) for name in names):
                port.get_tensor().set_names({settled if COUNTED.fullmatch(name) else name for name in names})


def check_not_quantized(path: Path) -> None:
    """An FP16 baseline with 8 or 4-bit weights is none: optimum makes such ones of parts over a billion parameters."""
    import openvino as ov

    integers = {"i8", "u8", "i4", "u4", "nf4"}
    for operation in ov.Core().read_model(path).get_ops():
        if operation.get_type_name() == "Constant" and operation.get_element_type().get_type_name() in integers:
            raise ValueError(f"{path} holds quantized weights in {operation.get_friendly_name()}: wanted FP16 only")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what tracing always says: constant shape checks, and notices of transformers and diffusers."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # read at import, where the first notice is given
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch
    import transformers

    with warnings.catch_warnings():
        for category in (torch.jit.TracerWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        transformers.utils.logging.disable_progress_bar()
        yield


def _convert(traceable: Traceable) -> Any:
    import openvino as ov
    from openvino.frontend.pytorch import patch_model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    getattr(patch_model, "__make_16bit_traceable")(traceable.module)
    shapes = [_shape(traceable, name) for name in traceable.example]
    types = [ov.Type(example.numpy().dtype) for example in traceable.example.values()]
    decoder = TorchScriptPythonDecoder(  # checking the trace would run each module three times more
        traceable.module, example_input=traceable.example, trace_kwargs={"check_trace": False}
    )
    model = ov.convert_model(decoder, example_input=traceable.example, input=list(zip(shapes, types, strict=True)))
    for port, name in zip(model.inputs, traceable.example, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, traceable.outputs, strict=True):
        port.get_tensor().set_names({name})
    for name, value in traceable.runtime_options.items():
        model.set_rt_info(value, ["runtime_options", name])
    _keep_frequencies_exact(model)
    model.validate_nodes_and_infer_types()
    return model


def _keep_frequencies_exact(model: Any) -> None:
    """Store the frequencies of time embeddings as sums of two float16 numbers, which survive compression.

    A frequency rounded to float16 turns sin(981 f) by up to 0.2 rad: the UNet's output then agrees with torch to 49 dB
    instead of 118 dB.
    """
    waves = [operation for operation in model.get_ops() if operation.get_type_name() in ("Sin", "Cos")]
    angles = {node.get_friendly_name(): node for wave in waves for node in _sources(wave)}
    for angle in angles.values():
        for number, source in enumerate(_sources(angle)):
            if angle.get_type_name() == "Multiply" and source.get_type_name() == "Constant":
                angle.input(number).replace_source_output(_two_halves(source).output(0))


def _two_halves(constant: Any) -> Any:
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    shift = 2.0**12
    exact = constant.get_data().astype(np.float64)
    high = exact.astype(np.float16)
    low = ((exact - high) * shift).astype(np.float16)
    parts = [ops.convert(ops.constant(part), ov.Type.f32) for part in (high, low, np.float16(1 / shift))]
    return ops.add(parts[0], ops.multiply(parts[1], parts[2]))


def _sources(node: Any) -> list[Any]:
    return [node.input_value(number).get_node() for number in range(node.get_input_size())]


def _shape(traceable: Traceable, name: str) -> Any:
    import openvino as ov

    shape = ov.PartialShape(traceable.example[name].shape)
    for axis in traceable.dynamic_axes[name]:
        shape[axis] = ov.Dimension(DYNAMIC)
    return shape


def _text_encoder(checkpoint: Path) -> Traceable:
    from transformers import CLIPTextModel

    return _clip(CLIPTextModel, checkpoint / "text_encoder", ("last_hidden_state", "pooler_output"))


def _text_encoder_2(checkpoint: Path) -> Traceable:
    from transformers import CLIPTextModelWithProjection

    return _clip(CLIPTextModelWithProjection, checkpoint / "text_encoder_2", ("text_embeds", "last_hidden_state"))


def _clip(model_class: Any, folder: Path, outputs: tuple[str, str]) -> Traceable:
    import torch

    encoder = model_class.from_pretrained(folder, dtype=torch.float16).eval()

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
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(
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
        "sample": torch.randn(BATCH, config.in_channels, LATENT_PX, LATENT_PX),
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

    example = {"latent_sample": torch.randn(BATCH, vae.config.latent_channels, LATENT_PX, LATENT_PX)}
    return Traceable(Decoder().eval(), example, {"latent_sample": (0, 2, 3)}, ("sample",), _vae_options(vae))


def _load_vae(checkpoint: Path) -> Any:
    import diffusers
    import torch

    vae_class = getattr(diffusers, read_index(checkpoint)["vae"][1])
    return vae_class.from_pretrained(
        checkpoint / "vae", torch_dtype=torch.float16, low_cpu_mem_usage=True, use_safetensors=True
    ).eval()


def _vae_options(vae: Any) -> dict[str, str]:
    """SDXL's VAE overflows in half precision; optimum tells plugins to scale its activations down."""
    return {"ACTIVATIONS_SCALE_FACTOR": "128.0"} if vae.config.force_upcast else {}


def pooled_width(checkpoint: Path) -> int:
    return read_json(checkpoint / "text_encoder_2/config.json")["projection_dim"]


def time_ids(checkpoint: Path) -> int:
    """How many numbers describe size and crop: six, or five where the last is an aesthetic score (the refiner)."""
    unet = read_json(checkpoint / "unet/config.json")
    width, rest = divmod(
        unet["projection_class_embeddings_input_dim"] - pooled_width(checkpoint), unet["addition_time_embed_dim"]
    )
    if rest or width not in (5, 6):
        raise ValueError(
            f"{checkpoint}/unet/config.json: projection_class_embeddings_input_dim must be the text encoder's "
            f"projection_dim plus 5 or 6 times addition_time_embed_dim"
        )
    return width


TRACEABLES: dict[str, Callable[[Path], Traceable]] = {
    "text_encoder": _text_encoder,
    "text_encoder_2": _text_encoder_2,
    "unet": _unet,
    "vae_encoder": _vae_encoder,
    "vae_decoder": _vae_decoder,
}
