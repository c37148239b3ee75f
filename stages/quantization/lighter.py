"""A pipeline whose other parts are lighter too: text encoders of INT8 weights, a decoder in INT8 or a tiny one, and the
sampler of a speed.

Consumes an IR folder with whatever UNet, a `Speed` and, for an INT8 decoder, finished latents; produces a folder of the
same layout, which everything that loads IR folders draws with. What is the same is linked. Touches no UNet.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stages.cards import licences, writing
from stages.checkpoints import components, defaults, samplers
from stages.files import manifest, placing
from stages.ir import runtime
from stages.machine import apart, description
from stages.quantization import schemes
from stages.settings import config, speeds

if TYPE_CHECKING:
    import numpy as np

    from stages.settings.schema import Sampler, Speed

IR, DECODER, TEXT_ENCODERS = "openvino_model.xml", "vae_decoder", ("text_encoder", "text_encoder_2")
FLOAT_IN_DECODER = (".*conv_in.*", ".*conv_out.*", ".*post_quant_conv.*", ".*attentions.*")
SIDE = 32  # of the latents that a decoder's ranges are taken of: all of its layers see everything of a picture in them
Latents = Callable[[], "list[np.ndarray]"]  # (1, 4, h, w) each, as the decoder is given them


def is_asked(speed: Speed, own: Sampler) -> bool:
    """Whether a speed needs a folder of its own, and not the steps of drawing alone."""
    return speeds.sampler(own, speed) is not own or speed.text_encoders != "fp16" or speed.decoder != "fp16"


def lighter(source: Path, target: Path, speed: Speed, own: Sampler, latents: Latents, tiny: Path | None) -> Path:
    """Write the folder `target`, or keep it where it was made of the same; `own` is the model's sampler.

    `tiny` is the IR folder of a decoder that may take the VAE's place. ValueError where it is asked for and None, or
    was made for other latents.
    """
    inputs, sampler = {"source": manifest.digest(source)}, speeds.sampler(own, speed)
    if speed.decoder == "tiny":
        if tiny is None:
            raise ValueError("speed.decoder is tiny, and tiny_vae.kind is none: choose a file of conf/tiny_vae")
        inputs["tiny"] = manifest.digest(tiny)
    parts = ("text_encoders", "decoder")
    settings = {name: getattr(speed, name) for name in parts} | {"sampler": config.as_dict(sampler)}
    key = manifest.key("lighter", inputs, settings)
    if manifest.is_whole(target, key=key):
        return target
    found = manifest.read(source, rerun="quantize")
    with placing.whole(target) as folder:
        replaced = _replaced(speed, sampler is not own)
        for name in found["files"]:
            if not name.startswith(replaced):
                placing.link(source / name, folder / name)
        if speed.text_encoders == "int8-weights":
            for part in (one for one in TEXT_ENCODERS if (source / one).is_dir()):
                apart.run(f"compressing {part}", schemes.compress, source / part / IR, folder / part / IR, part)
        if speed.decoder == "int8":
            given = [crop(one) for one in latents()]
            apart.run("quantizing the decoder", quantize_decoder, source / DECODER / IR, folder / DECODER / IR, given)
        if speed.decoder == "tiny":
            _put_tiny(source, tiny, folder)
        if sampler is not own:
            _put_sampler(source, sampler, folder)
        facts = found["facts"] | {"speed": speed.name}
        if speed.decoder == "tiny":
            facts |= _with_part(facts, manifest.read(tiny, rerun="speed")["facts"])
        writing.complete(folder, stage="lighter", settings=settings, facts=facts)
        beside = sorted(target.parent.glob("*"))
        manifest.write(folder, stage="lighter", inputs=inputs, settings=settings, facts=facts, beside=beside)
    return target


def quantize_decoder(source: Path, target: Path, latents: list[np.ndarray]) -> None:
    """Convolutions in INT8, with the widest ranges that these latents show; ends and attention stay float."""
    model = runtime.read(source)
    name = model.inputs[0].get_any_name()
    with schemes.quiet() as nncf:
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        found = nncf.quantize(
            model,
            nncf.Dataset(latents, lambda one: {name: one}),
            subset_size=len(latents),
            ignored_scope=nncf.IgnoredScope(patterns=list(FLOAT_IN_DECODER), validate=False),  # a tiny VAE lacks some
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=schemes.overflow_fix(description.sums_overflow()),
                disable_bias_correction=True,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    schemes.save(found, target, DECODER)


def crop(latents: np.ndarray) -> np.ndarray:
    """The middle of latents (1, 4, h, w), SIDE positions a side at most."""
    top, left = (max(0, side - SIDE) // 2 for side in latents.shape[2:])
    return latents[:, :, top : top + SIDE, left : left + SIDE]


def _replaced(speed: Speed, sampler: bool) -> tuple[str, ...]:
    """Beginnings of the files' names that are not linked."""
    found = ["manifest.json"]
    if speed.text_encoders != "fp16":
        found += [f"{part}/openvino_model" for part in TEXT_ENCODERS]
    if speed.decoder != "fp16":
        found += [f"{DECODER}/" if speed.decoder == "tiny" else f"{DECODER}/openvino_model"]
    if sampler:
        found += [components.INDEX, str(samplers.FILE), defaults.FILE]
    return tuple(found)


def _put_tiny(source: Path, tiny: Path, folder: Path) -> None:
    """Another decoder of the same latents, with its own configuration: its latents are scaled otherwise."""
    has, wanted = (_latents(components.read_json(path / DECODER / "config.json")) for path in (tiny, source))
    if has != wanted:
        raise ValueError(
            f"tiny_vae: {tiny} decodes latents of {has[0]} channels and {has[1]} pixels a side, this model's have "
            f"{wanted[0]} and {wanted[1]}"
        )
    for file in sorted((tiny / DECODER).iterdir()):
        placing.link(file, folder / DECODER / file.name)


def _latents(vae: dict) -> tuple[int, int]:
    """Channels of its latents, and pixels that one position of them stands for."""
    return vae["latent_channels"], 2 ** (len(vae["block_out_channels"]) - 1)


def _with_part(facts: dict, part: dict) -> dict:
    """Origin of a pipeline that has a part from elsewhere: that one's licence and weights are its own too."""
    found = {"licence": licences.joined(facts.get("licence"), part.get("licence"))}
    found |= {"sources": (facts.get("sources") or []) + (part.get("sources") or [])}
    return found | ({"random_weights": True} if part.get("random_weights") else {})


def _put_sampler(source: Path, sampler: Sampler, folder: Path) -> None:
    index = components.read_index(source) | {"scheduler": ["diffusers", sampler.scheduler]}
    placing.write_text(folder / components.INDEX, json.dumps(index, indent=2) + "\n")
    samplers.write(source, sampler, folder)
    if (source / defaults.FILE).is_file():
        defaults.write_steps(sampler.steps, source, folder)
