"""IR folders drawn by optimum-intel: ours as they are, the reference, and what optimum-intel's own quantization makes.

Consumes our FP16 IR; produces optimum-intel's INT8 IR in artifacts/peers, in a process of its own, and ways to draw.
optimum-intel quantizes as `optimum-cli export openvino` would, by its own classes and defaults, but from our FP16 IR
and our calibration prompts: its own captions (conceptual_captions) are on the Hub.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.cards import licences, writing
from stages.files import layout, manifest, placing
from stages.generation import drawing, pipelines
from stages.machine import apart, budget, memory, sizes, usage
from stages.machine.companion import one_line
from stages.machine.costs import costs
from stages.machine.speed import statistics_s, step_s
from stages.peers.work import Draw, Work
from stages.prompts import sets
from stages.quantization import schemes

if TYPE_CHECKING:
    from stages.settings.schema import Prompts

FULL, HYBRID = "optimum-int8", "optimum-hybrid"
DEFAULT_SAMPLES, DEFAULT_STEPS = 200, 50  # UNet calls that optimum-intel collects, at the pipeline's default steps
MAKE = "peers-{}"  # under which reports/stages records what making one took


def ours(precision: str, work: Work) -> Draw:
    return drawn(work.ir(precision), work)


def reference(work: Work) -> Draw:
    return drawn(work.ir(layout.FP16), work, reference=True)


def theirs(name: str, work: Work) -> Draw:
    return drawn(layout.peer(work.key, name), work)


def drawn(folder: Path, work: Work, reference: bool = False) -> Draw:
    pipeline = pipelines.load(folder, "text-to-image", work.sampler, work.device, reference=reference)
    return lambda prompt, seed, steps: drawing.generate(pipeline, prompt, work.sampler, seed, steps=steps)


def make(name: str, work: Work, prompts: Prompts, samples: int) -> float | None:
    """The IR of optimum-intel's way, made or found; seconds that making it took here, where they are known."""
    target, source = layout.peer(work.key, name), work.ir(layout.FP16)
    texts = [prompt.text for prompt in sets.load_prompts(prompts, "calibration", -(-samples // DEFAULT_STEPS))]
    inputs, settings = {"fp16": manifest.digest(source)}, {"way": name, "samples": samples, "prompts": texts}
    key = manifest.key("peers", inputs, settings)
    if not manifest.is_whole(target, key=key):
        with usage.recorded(MAKE.format(name), work.key, _need(source, work, samples), target, key=key):
            with placing.whole(target) as folder:
                apart.run(f"quantizing as {name}", quantize, name, source, folder, texts, samples)
                for terms in (one for one in source.iterdir() if one.name.startswith(licences.CARRIED)):
                    placing.link(terms, folder / terms.name)
                facts = manifest.origin(manifest.read(source, rerun="export")) | {"precision": name}
                writing.complete(folder, stage="peers", settings=settings, facts=facts)
                manifest.write(folder, stage="peers", inputs=inputs, settings=settings, facts=facts)
    return usage.taken_s(MAKE.format(name), work.key, key=key)


def quantize(name: str, source: Path, target: Path, texts: list[str], samples: int) -> None:
    """For a process of its own, whose output NNCF's and optimum's bars may fill; whatever fails comes to one line."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    try:
        import optimum.intel.openvino as library

        pipeline = library.OVStableDiffusionXLPipeline.from_pretrained(source, export=False, compile=False)
        with schemes.quiet():
            settings = library.OVConfig(quantization_config=configuration(name, library, texts, samples))
            library.OVQuantizer(pipeline).quantize(ov_config=settings)
        pipeline.save_pretrained(target)
    except Exception as error:  # NNCF's have no base in common
        raise ValueError(one_line(error)) from None


def configuration(name: str, library: Any, texts: list[str], samples: int) -> Any:
    """What `optimum-cli export openvino` makes of `--quant-mode int8` (static: weights and activations of the UNet,
    with SmoothQuant; INT8 weights of the other parts), and of `--weight-format int8 --dataset ...` (hybrid)."""
    if name == FULL:
        return library.OVQuantizationConfig(bits=8, sym=False, dtype="int8", dataset=texts, num_samples=samples)
    return library.OVWeightQuantizationConfig(bits=8, quant_method="hybrid", dataset=texts, num_samples=samples)


def _need(source: Path, work: Work, samples: int) -> budget.Need:
    """Of a float UNet that is quantized all at once, with one pass over the samples for SmoothQuant and one for ranges:
    at least, as SDXL was killed at 24 GB."""
    unet, asked, known = sizes.of_ir(source)["unet"], memory.request(work.sampler, work.device), costs()
    billions, exact = unet.parameters / 1e9, replace(asked, floats="f32")
    seconds = samples * (step_s(unet, asked) + 2 * statistics_s(unet, exact))
    return budget.Need(
        known["process_gb"] + known["notebook_gb"] * billions, 2 * billions, known["process_s"] + seconds
    )
