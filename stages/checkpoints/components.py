"""What an SDXL-family pipeline folder is made of: components, their files, and the classes they may name.

Consumes `model_index.json`; produces it checked, or cut down to what is run. Loaders import whatever module an index
names, so only the pairs below are let through into what we write and out of what we load. Loads no weights and imports
no framework.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from stages.checkpoints import mistaken, strict_json
from stages.settings import samplers

INDEX = "model_index.json"
IR_FILES = ("openvino_model.xml", "openvino_model.bin")


@dataclass(frozen=True)
class Component:
    """One torch module: its folder in the IR, the checkpoint folder it comes from, and its weights' file stem."""

    name: str
    folder: str
    stem: str


COMPONENTS = (  # in the order of tracing: the heaviest last
    Component("text_encoder", "text_encoder", "model"),
    Component("text_encoder_2", "text_encoder_2", "model"),
    Component("vae_encoder", "vae", "diffusion_pytorch_model"),
    Component("vae_decoder", "vae", "diffusion_pytorch_model"),
    Component("unet", "unet", "diffusion_pytorch_model"),
)
STEMS = {component.folder: component.stem for component in COMPONENTS}
TOKENIZERS = ("tokenizer", "tokenizer_2")
TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
TOKENIZER_VOCABULARIES = ("tokenizer.json", "vocab.json")  # a tokenizer has one of them at least
PIPELINES = {"base": "StableDiffusionXLPipeline", "refiner": "StableDiffusionXLImg2ImgPipeline"}
FOUND_PIPELINE = re.compile(r"\w*StableDiffusionXL\w*Pipeline")
OTHER_INPUTS = ("ControlNet", "Adapter", "InstructPix2Pix")  # pipelines whose UNet asks for more than we give it
SCHEDULER = "EulerDiscreteScheduler"  # SDXL's own; settings name the one that is run
CLASSES = {
    "scheduler": [("diffusers", name) for name in samplers.known()["classes"]],
    "text_encoder": [("transformers", "CLIPTextModel")],
    "text_encoder_2": [("transformers", "CLIPTextModelWithProjection")],
    "tokenizer": [("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")],
    "tokenizer_2": [("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")],
    "unet": [("diffusers", "UNet2DConditionModel")],
    "vae": [("diffusers", "AutoencoderKL"), ("diffusers", "AutoencoderTiny")],
}
TINY_VAE = {  # what pipelines ask of any VAE and the configuration of a tiny one may leave to diffusers' defaults
    "decoder_block_out_channels": [64, 64, 64, 64],
    "latent_channels": 4,
    "scaling_factor": 1.0,
    "force_upcast": False,
}
ZEROS = "force_zeros_for_empty_prompt"
SWITCHES = (ZEROS, "requires_aesthetics_score", "add_watermarker")
COMMENTS = ("_class_name", "_diffusers_version", "_name_or_path")
ABSENT = (None, [None, None])  # how an index says that a part is not there


def read_json(path: Path) -> dict:
    """A JSON object from a file; anything else is refused with the file's name, and a number that is none."""
    mistaken.require_file(path)
    try:
        content = path.read_bytes()
        if other := mistaken.instead(content[: mistaken.START_BYTES]):
            raise ValueError(other)
        return strict_json.parse(content.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_index(folder: Path) -> dict:
    """`model_index.json` of a pipeline folder, every class in it checked against CLASSES."""
    path = folder / INDEX
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: a pipeline in diffusers layout is wanted")
    index = read_json(path)
    check_index(path, index)
    return index


def check_index(path: Path, index: dict) -> None:
    """Refuse an index that names anything but the classes above; `path` is what errors name."""
    if index.get("_class_name") not in PIPELINES.values():
        allowed = ", ".join(PIPELINES.values())
        raise ValueError(f"{path}: pipeline class {index.get('_class_name')!r} is not allowed; allowed: {allowed}")
    for name, value in index.items():
        _check_entry(path, name, value)
    for name in ("scheduler", "text_encoder_2", "tokenizer_2", "unet", "vae"):
        if index.get(name) in ABSENT:
            raise ValueError(f"{path} lacks {name!r}, which every SDXL pipeline has")


def settled(path: Path, found: dict) -> dict:
    """What is written of an index that was found: what is there and is run here, under names that may be imported.

    A pipeline of image-to-image or inpainting is the same parts as one of text-to-image, a scheduler is named by the
    settings, and nothing here asks for image encoders, checkers or watermarks. `path` is what errors name.
    """
    index = {name: value for name, value in found.items() if _is_run(path, name, value)}
    index["_class_name"] = _settled_pipeline(path, found)
    if found.get("scheduler") not in [list(pair) for pair in CLASSES["scheduler"]]:
        index["scheduler"] = ["diffusers", SCHEDULER]
    check_index(path, index)
    return index


def vae_config(config: dict) -> dict:
    """The configuration of a VAE under the names that pipelines ask for, whichever class of VAE it is."""
    if config.get("_class_name") != "AutoencoderTiny":
        return config
    config = {**TINY_VAE, **config}
    return {"block_out_channels": config["decoder_block_out_channels"], **config}


def present(index: dict) -> list[Component]:
    """The components that a pipeline has: a refiner lacks the first text encoder."""
    there = parts(index)
    return [component for component in COMPONENTS if component.folder in there]


def parts(index: dict) -> list[str]:
    """The folders that a pipeline has: modules, tokenizers and the scheduler."""
    return [name for name in CLASSES if index.get(name) not in ABSENT]


def tokenizers(index: dict) -> list[str]:
    return [name for name in TOKENIZERS if name in parts(index)]


def role(index: dict) -> str:
    """`refiner` when the time ids hold an aesthetic score, else `base`."""
    return "refiner" if index.get("requires_aesthetics_score") else "base"


def _is_run(path: Path, name: str, value: object) -> bool:
    """Whether an entry is kept; what may be left out is an absent part, a part or a switch that nothing here runs."""
    if name in COMMENTS:
        return True
    if value in ABSENT or name == "add_watermarker":
        return False
    if name in CLASSES or name in SWITCHES:
        return True
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(half, str | None) for half in value)
    if pair or isinstance(value, bool | int | float | str):
        return False
    raise ValueError(f"{path}: entry {name!r} is not allowed: it is neither a part nor a switch")


def _settled_pipeline(path: Path, found: dict) -> str:
    """The class that a pipeline of text-to-image, image-to-image or inpainting is written as."""
    name = found.get("_class_name")
    if not isinstance(name, str) or not FOUND_PIPELINE.fullmatch(name) or any(word in name for word in OTHER_INPUTS):
        raise ValueError(
            f"{path}: pipeline class {name!r} is not allowed; allowed: StableDiffusionXLPipeline and its likes for "
            f"image-to-image and inpainting, without {', '.join(OTHER_INPUTS)}"
        )
    return name if name in PIPELINES.values() else PIPELINES[role(found)]


def _check_entry(path: Path, name: str, value: object) -> None:
    if name in COMMENTS and not isinstance(value, str | None):
        raise ValueError(f"{path}: {name!r} must be text, got {value!r}")
    if name in COMMENTS or value in ABSENT:
        return
    if name in SWITCHES:
        if isinstance(value, bool):
            return
        raise ValueError(f"{path}: {name!r} must be true or false, got {value!r}")
    allowed = CLASSES.get(name)
    if allowed is None:
        raise ValueError(f"{path}: entry {name!r} is not allowed; allowed: {', '.join([*CLASSES, *SWITCHES])}")
    if not isinstance(value, list) or tuple(value) not in allowed:
        names = ", ".join(".".join(pair) for pair in allowed)
        raise ValueError(f"{path}: {name!r} names {value!r}, which is not allowed; allowed: {names}")
