"""The shape of the settings: one dataclass for each section of params.yaml, with the types, ranges and choices allowed.

Consumed by stages.settings.checks, which holds params.yaml to it, and handed to stages by stages.settings.config. What
each field means stands in conf/ next to its value. Holds no values: the only defaults are those of conf/.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included unless `above` says that the lower one is not; and what divides it."""

    low: float
    high: float
    multiple_of: int = 1
    above: bool = False

    def holds(self, value: float) -> bool:
        low = value > self.low if self.above else value >= self.low
        return low and value <= self.high and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def __str__(self) -> str:
        bounds = f"{'above' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"
        return bounds if self.multiple_of == 1 else f"a multiple of {self.multiple_of}, {bounds}"


LAYOUT = 3  # changes when settings of an earlier version are none of this one's any more
LATENT_PX = 8  # pixels of a picture, a side, that one position of a latent stands for, in all of the family
TIMESTEPS, QUARTERS = 1000, 4  # of the schedule that all of the family is trained on
FEW_STEPS = 8  # a model that was made to draw in so few keeps all of them, whatever the speed
EFFECTS = {  # what has an effect in each scheme; anything else must be at rest
    "weights_first": (
        "samples",
        "weights",
        "ignored_patterns",
        "ignored_types",
        "attention",
        "ranges",
        "search",
        "rounding",
        "overflow_fix",
    ),
    "weights_only": ("weights", "group_size", "ratio", "ignored_patterns", "ignored_types"),
    "hybrid": ("samples", "weights", "ignored_patterns", "ignored_types", "ranges", "overflow_fix"),
    "notebook": (
        "samples",
        "ignored_patterns",
        "ignored_types",
        "ranges",
        "overflow_fix",
        "smooth_quant",
        "bias_correction",
    ),
    "none": (),
}
NEEDS_SAMPLES = tuple(scheme for scheme, effects in EFFECTS.items() if "samples" in effects)  # quantize activations
AT_REST = {
    "samples": 0,
    "weights": None,
    "group_size": -1,
    "ratio": 1.0,
    "ignored_patterns": [],
    "ignored_types": [],
    "attention": "int8",
    "ranges": None,
    "search": None,
    "rounding": "nearest",
    "overflow_fix": "never",
    "smooth_quant": False,
    "bias_correction": False,
}
EXACT = {  # a speed that spares nothing
    "scheduler": None,
    "options": {},
    "steps": None,
    "guidance_interval": None,
    "evaluate_every": None,
    "deep_every": None,
    "static_shapes": False,
    "text_encoders": "fp16",
    "decoder": "fp16",
}
Count = Annotated[int, Range(1, 1_000_000)]
Whole = Annotated[int, Range(0, 2**31 - 1)]
Steps = Annotated[int, Range(1, 1000)]
Pixels = Annotated[int, Range(16, 4096, LATENT_PX)]
Share = Annotated[float, Range(0, 1, above=True)]


def quarter(timestep: float) -> int:
    """0 to 3: the part of the schedule that a timestep is in, from the picture to noise."""
    return min(int(QUARTERS * timestep // TIMESTEPS), QUARTERS - 1)


class Part:
    """A section of the settings that holds the fields its stage declared, and says so when asked for another one."""

    def __getattr__(self, name: str) -> Any:
        if name in {field.name for field in dataclasses.fields(type(self))}:
            raise AttributeError(f"{type(self).__name__.lower()}.{name} is not among what this stage declares in READS")
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


@dataclass(repr=False)
class SwapSource(Part):
    """A part that takes the place of the pipeline's own, at its repository's root or in `subfolder`."""

    kind: Literal["local", "hub"]
    repo: str
    revision: str | None
    subfolder: str | None
    variant: str | None
    file: str | None  # one safetensors file, in the place of a folder with its configuration


@dataclass(repr=False)
class AdapterSource(Part):
    """A LoRA to be fused, `scale` times: below 0 it is taken away."""

    kind: Literal["local", "hub"]
    repo: str
    revision: str | None
    file: str
    scale: Annotated[float, Range(-10, 10)]


@dataclass(repr=False)
class Source(Part):
    kind: Literal["local", "hub", "synthetic"]
    architecture: str | None
    repo: str | None
    revision: str | None
    variant: str | None
    file: str | None  # one safetensors file in the repository or folder, in the place of a pipeline's folders
    tokenizers: SwapSource | None  # which such a file lacks
    unet: SwapSource | None
    vae: SwapSource | None
    adapters: list[AdapterSource]


@dataclass(repr=False)
class Sampler(Part):
    scheduler: str  # a class that schedulers.yaml knows
    options: dict[str, Any]  # of that class, as schedulers.yaml allows them
    steps: Steps
    guidance: Annotated[float, Range(0, 50)]
    width: Pixels
    height: Pixels
    negative_prompt: str
    high_noise_fraction: Annotated[float, Range(0.01, 0.99)] | None


@dataclass(repr=False)
class Model(Part):
    title: str
    family: Literal["mini", "hub", "synthetic"]
    role: Literal["base", "refiner"]
    base: str
    licence: str
    watch: str
    source: Source
    sampler: Sampler
    tasks: list[Literal["text-to-image", "image-to-image", "two-stage"]]


@dataclass(repr=False)
class Prompts(Part):
    name: str
    source: Literal["embedded", "hub"]
    repo: str | None
    revision: str | None
    subset: str | None
    split: str | None
    column: str
    file: str | None
    seed: Whole
    watch: str  # what DVC looks at: the file itself, where it is one


@dataclass(repr=False)
class Clip(Part):
    title: str
    kind: Literal["local", "hub", "none"]
    repo: str | None
    revision: str | None
    licence: str | None
    watch: str


@dataclass(repr=False)
class Judge(Part):
    title: str
    kind: Literal["local", "none"]
    repo: str | None
    licence: str | None
    watch: str


@dataclass(repr=False)
class Fid(Part):
    """What a Fréchet distance is measured in and compared with; null where `features` has no use for it."""

    title: str
    features: Literal["none", "scorer", "inception"]
    weights: str | None  # of Inception: a file, or fetch
    reference: str | None  # a statistics file, or a folder of pictures
    licence: str | None  # of the reference
    least: Count | None  # pictures; null: as many as the features need
    watch: str  # what DVC looks at: reference and weights themselves, or a folder that holds them


@dataclass(repr=False)
class TinyVae(Part):
    """A decoder of the family's latents that is small enough to take the VAE's place."""

    title: str
    kind: Literal["local", "hub", "synthetic", "none"]
    repo: str | None
    revision: str | None
    licence: str | None
    watch: str


@dataclass(repr=False)
class Calibration(Part):
    prompts: Count
    evaluations: Count | None
    refiner_evaluations: Count | None
    float_evaluations: Count | None
    draft_steps: Steps | None
    steps_per_prompt: Steps
    sizes: list[list[Pixels]]  # of [width, height]
    unet: Literal["auto", "fp16", "int8-weights"]
    seed: Whole


@dataclass(repr=False)
class Search(Part):
    """Which way each layer's activations are quantized, by what it costs the noise prediction."""

    min_sqnr_db: Annotated[float, Range(0, 100)]
    max_float_share: Annotated[float, Range(0, 1)]
    refiner_float_share: Annotated[float, Range(0, 1)]
    minutes: Annotated[float, Range(0, 10_000, above=True)]


@dataclass(repr=False)
class Quantization(Part):
    name: str
    scheme: Literal["weights_first", "weights_only", "hybrid", "notebook", "none"]
    samples: Whole
    weights: Literal["int8_sym", "int8_asym", "int4_sym", "int4_asym"] | None
    group_size: Annotated[int, Range(-1, 4096)]
    ratio: Annotated[float, Range(0, 1)]
    ignored_patterns: list[str]
    ignored_types: list[str]
    attention: Literal["auto", "int8", "float"]
    ranges: Literal["minmax", "mean_minmax", "median_minmax"] | None
    search: Search | None
    rounding: Literal["nearest", "gptq"]
    overflow_fix: Literal["auto", "always", "never"]
    smooth_quant: bool
    bias_correction: bool


@dataclass(repr=False)
class Benchmark(Part):
    minutes: Annotated[float, Range(0, 100_000)] | None
    prompts: Count
    steps: Steps | None
    repetitions: Count
    warmup: Whole
    strength: Share
    sdedit_strength: Share
    seed: Whole


@dataclass(repr=False)
class Device(Part):
    name: str
    threads: Annotated[int, Range(0, 4096)]
    inference_precision: Literal["default", "f32", "bf16", "f16"]
    dynamic_quantization_group_size: Annotated[int, Range(-1, 2**31 - 1)]
    decode: Literal["auto", "whole", "tiles"]


@dataclass(repr=False)
class Gates(Part):
    """Bounds that a quantized model is held to, null where it is not."""

    min_sqnr_db: Annotated[float, Range(0, 200)] | None
    max_quarter_below_db: Annotated[float, Range(0, 200)] | None
    max_clip_drop_percent: Annotated[float, Range(0, 100)] | None
    min_clip_similarity: Annotated[float, Range(0, 1)] | None
    min_ssim: Annotated[float, Range(0, 1)] | None
    min_speed_step: Annotated[float, Range(0, 100, above=True)] | None
    min_share_macs_int8: Share | None


@dataclass(repr=False)
class Speed(Part):
    """What a picture is spared; null, false and fp16: nothing."""

    name: str
    scheduler: str | None
    options: dict[str, Any]
    steps: Steps | None
    guidance_interval: list[Annotated[float, Range(0, 1)]] | None
    evaluate_every: Annotated[int, Range(2, 1000)] | None
    deep_every: Annotated[int, Range(2, 1000)] | None
    static_shapes: bool
    text_encoders: Literal["fp16", "int8-weights"]
    decoder: Literal["fp16", "int8", "tiny"]
    max_clip_drop_percent: Annotated[float, Range(0, 100)] | None
    min_ssim: Annotated[float, Range(0, 1)] | None


@dataclass(repr=False)
class Engine(Part):
    """Where independent pieces of a stage's work are done; null where `local` has no use for it."""

    name: Literal["local", "ray"]
    address: str | None  # auto, or host:port
    workers: Count | None
    cpus: Annotated[int, Range(1, 4096)] | None  # of each worker
    memory_gb: Annotated[float, Range(0, 100_000, above=True)] | None  # of each worker


@dataclass(repr=False)
class Settings(Part):
    model_key: str | None
    model: Model
    models: dict[str, Model]
    prompts: Prompts
    clip: Clip
    judge: Judge
    fid: Fid
    calibration: Calibration
    quantization: Quantization
    benchmark: Benchmark
    device: Device
    gates: Gates
    speed: Speed
    tiny_vae: TinyVae
    engine: Engine


SECTIONS: dict[str, type] = {
    "prompts": Prompts,
    "clip": Clip,
    "judge": Judge,
    "fid": Fid,
    "calibration": Calibration,
    "quantization": Quantization,
    "benchmark": Benchmark,
    "device": Device,
    "gates": Gates,
    "speed": Speed,
    "tiny_vae": TinyVae,
    "engine": Engine,
}
