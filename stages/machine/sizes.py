"""How large the components of a checkpoint are: parameters, the convolutions' share, and the UNet's work.

Consumes safetensors headers, or the name of a published architecture where there is no checkpoint yet;
produces counts to plan with. Reads no weights and imports no framework.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import architectures, components, streaming
from stages.ir import parts as ir_parts

if TYPE_CHECKING:
    from stages.settings.schema import Source

TYPICAL_MACS = 300  # multiply-accumulates per UNet parameter at 512 pixels: 309 of SDXL, 368 of SSD-1B, 445 of Vega
LIKE = 0.001  # relative difference in parameters: an IR has a few constants more
CONSTANT = re.compile(r'type="Const"[^>]*>\s*<data [^>]*shape="([\d, ]*)"')
GUIDANCE_WEIGHT = "time_embedding.cond_proj.weight"  # diffusers' name in a UNet's weights
SMALL, LARGE = 512**2, 1024**2


@dataclass(frozen=True)
class Size:
    """One component. `gmacs`: giga multiply-accumulates for one latent at 512 and at 1024 pixels, of a UNet.

    `embeds_guidance`: the UNet takes the guidance scale as an input (latent consistency), and so never a batch of two.
    `text`: tokens and features of the prompt that a UNet is given; SDXL's, where that is not known.
    """

    parameters: int
    convolution: int  # of them in kernels of convolutions
    gmacs: tuple[float, float] | None = None
    embeds_guidance: bool = False
    text: tuple[int, int] = (77, 2048)


Sizes = dict[str, Size]  # by checkpoint folder: unet, vae, text_encoder, text_encoder_2


def of_architecture(name: str) -> Sizes:
    """Sizes of a published architecture; ValueError for a name that is not known."""
    return {part: _size(facts) for part, facts in architectures.counts(name).items()}


def of_source(source: Source) -> Sizes:
    """Sizes of what a model's source names, as far as they are known before it is fetched."""
    if source.kind == "local" and not source.file:
        return of_checkpoint(Path(source.repo))
    return of_architecture(source.architecture) if source.architecture else {}


def of_checkpoint(folder: Path) -> Sizes:
    """Sizes of the components in a checkpoint folder, as far as they are there."""
    found = {part: of_files(sorted((folder / part).glob("*.safetensors"))) for part in components.STEMS}
    return {part: size for part, size in found.items() if size.parameters}


def of_ir(folder: Path) -> Sizes:
    """Sizes of the components in an IR folder, by checkpoint folder like the others."""
    ir_parts.require(folder)
    found: Sizes = {}
    for component in components.COMPONENTS:
        if (folder / component.name).is_dir():
            size = _of_xml(folder / component.name / components.IR_FILES[0])
            other = found.get(component.folder, Size(0, 0))  # the VAE's other half
            counts = other.parameters + size.parameters, other.convolution + size.convolution
            found[component.folder] = replace(size, parameters=counts[0], convolution=counts[1])
    if shape := ir_parts.fixed_shape(folder, "unet", "encoder_hidden_states"):
        tokens, width = shape[-2:]
        default = found["unet"].text
        found["unet"] = replace(found["unet"], text=(tokens or default[0], width or default[1]))
    return found


def unet_gmacs(size: Size, pixels: int, batch: int) -> float:
    """Work of one UNet step: convolutions and projections grow with the pixels, attention with their square."""
    if size.gmacs is None:
        return TYPICAL_MACS * size.parameters / 1e9 * pixels / SMALL * batch
    small, large = size.gmacs
    square = (large - small * LARGE / SMALL) / (LARGE**2 - SMALL * LARGE)
    return batch * pixels * (small / SMALL + square * (pixels - SMALL))


def total(sizes: Sizes) -> int:
    return sum(size.parameters for size in sizes.values())


def of_files(files: list[Path]) -> Size:
    """Of the weights in these files together."""
    tensors = {name: shape for path in files for name, shape in _shapes(path).items()}
    return replace(_size_of(list(tensors.values())), embeds_guidance=GUIDANCE_WEIGHT in tensors)


def _of_xml(path: Path) -> Size:
    """Constants of an IR; a text search, since parsing a large graph takes seconds."""
    text = ir_parts.graph(path)
    found = [[int(side) for side in shape.split(",")] for shape in CONSTANT.findall(text) if shape]
    return replace(_size_of(found), embeds_guidance=ir_parts.EMBEDDED_GUIDANCE in text)


def _size_of(shapes: list[list[int]]) -> Size:
    """Counts of these tensors; the work is that of the published UNet which is as large to a tenth of a percent."""
    parameters = sum(map(math.prod, shapes))
    convolution = sum(math.prod(shape) for shape in shapes if len(shape) == 4)
    for parts in _published().values():
        if abs(parts["unet"].parameters - parameters) < LIKE * parameters:
            return Size(parameters, convolution, parts["unet"].gmacs)
    return Size(parameters, convolution)


def _shapes(path: Path) -> dict[str, list[int]]:
    """By name, of the tensors in a safetensors file; none of one that the stage itself will refuse by its name."""
    try:
        return {name: list(entry.shape) for name, entry in streaming.read_header(path)[0].items()}
    except (ValueError, FileNotFoundError):
        return {}


@functools.cache
def _published() -> dict[str, Sizes]:
    return {name: of_architecture(name) for name in architectures.names()}


def _size(facts: dict[str, Any]) -> Size:
    gmacs = (facts["gmacs_512"], facts["gmacs_1024"]) if "gmacs_512" in facts else None
    return Size(facts["parameters"], facts["convolution"], gmacs, facts.get("embeds_guidance", False))
