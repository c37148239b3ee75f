"""Checkpoints of the true architectures with random weights, built without network: for planning, memory and speed.

Consumes the configurations of architectures.yaml; produces a folder in plain diffusers layout, in float16, tokenizers
included. Weights are streamed to disk. They are scaled so that numbers stay finite, and the pictures mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from stages.checkpoints import architectures, components, configurations
from stages.checkpoints.lean import lean
from stages.checkpoints.quiet import quiet
from stages.files import disk, manifest, placing

BLOCK = 2**24  # random numbers that are drawn; tensors take them in turn, over and over
CANNOT_BE_BUILT = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError)
PADDING = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}


def build(name: str, folder: Path) -> dict[str, str]:
    """Fill `folder` with the checkpoint of one architecture; returns the SHA-256 of the file that describes it."""
    parts = architectures.configurations(name)
    needed = 2 * sum(count_parameters(parts, part) for part in components.STEMS if part in parts)
    disk.require_space(folder, needed)
    for part, settings in parts.items():
        write_part(part, settings, folder / part)
    tokenizers = {part.replace("text_encoder", "tokenizer"): part for part in parts if part.startswith("text_encoder")}
    for tokenizer, encoder in tokenizers.items():
        _write_tokenizer(folder / tokenizer, PADDING[tokenizer], parts[encoder])
    placing.write_text(folder / components.INDEX, json.dumps(index(parts, list(tokenizers)), indent=2) + "\n")
    return {f"{architectures.FILE.name}/{name}": manifest.sha256(architectures.FILE)}


def write_part(part: str, settings: dict[str, Any], folder: Path) -> None:
    """One part's configuration, with random weights where it has any."""
    file = folder / ("scheduler_config.json" if part == "scheduler" else "config.json")
    placing.write_text(file, json.dumps(settings, indent=2) + "\n")
    if part in components.STEMS:
        _write_weights(empty(part, settings), folder / f"{components.STEMS[part]}.safetensors")


def count_parameters(parts: dict[str, dict[str, Any]], part: str) -> int:
    """Parameters of one component, without building it."""
    return sum(tensor.numel() for tensor in empty(part, parts[part]).state_dict().values())


def empty(part: str, settings: dict[str, Any]) -> Any:
    """The component's torch module without any memory for its weights."""
    named = settings["architectures"][0] if part.startswith("text_encoder") else settings["_class_name"]
    return built(named, settings)


def built(class_name: str, settings: dict[str, Any]) -> Any:
    """The same of a class by its name; what it does not take has no effect. ValueError where it cannot be built."""
    with quiet(), lean():
        import diffusers
        import torch
        import transformers

    settings = configurations.known(class_name, settings)
    try:
        with lean():  # imported here: the modules are lazy
            of_text = hasattr(transformers, class_name)
            found = getattr(transformers if of_text else diffusers, class_name)
        with torch.device("meta"):
            return found(transformers.CLIPTextConfig(**settings)) if of_text else found.from_config(settings)
    except CANNOT_BE_BUILT as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"no {class_name} can be built with this configuration ({said[:200]})") from error


def _write_weights(module: Any, path: Path) -> None:
    """A safetensors file, tensor by tensor: 8 bytes of length, a JSON header, the data."""
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * _size(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at whole words
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for piece in _values(shapes):
            file.write(piece)


def _values(shapes: dict[str, tuple[int, ...]]) -> Iterator[memoryview]:
    """The bytes of every tensor in pieces: ones for norms, zeros for biases, else normal with variance 1 / fan-in."""
    import torch

    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0))
    position = 0
    for name, shape in shapes.items():
        left = _size(shape)
        if len(shape) < 2:
            yield torch.full(shape, float(name.endswith("weight")), dtype=torch.float16).numpy().data
            continue
        scale = _size(shape[1:]) ** -0.5
        while left:
            count = min(left, BLOCK - position)
            yield (block[position : position + count] * scale).half().numpy().data
            position, left = (position + count) % BLOCK, left - count


def _size(shape: tuple[int, ...]) -> int:
    import math

    return math.prod(shape)


def index(parts: dict[str, dict[str, Any]], tokenizers: list[str]) -> dict[str, Any]:
    """`model_index.json` of a pipeline with these configurations; without a first text encoder it is a refiner."""
    refiner = "text_encoder" not in parts
    named = {part: ["transformers", parts[part]["architectures"][0]] for part in parts if part.startswith("text")}
    named |= {part: ["diffusers", parts[part]["_class_name"]] for part in ("scheduler", "unet", "vae")}
    named |= {tokenizer: ["transformers", "CLIPTokenizer"] for tokenizer in tokenizers}
    switches = {"force_zeros_for_empty_prompt": not refiner} | ({"requires_aesthetics_score": True} if refiner else {})
    return {"_class_name": components.PIPELINES["refiner" if refiner else "base"], **named, **switches}


def _write_tokenizer(folder: Path, padding: str, encoder: dict[str, Any]) -> None:
    """CLIP's byte-pair tokenizer with the vocabulary's size of its encoder, made of letters and pairs of them."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())  # of the 256 bytes
    words = [f"{letter}</w>" for letter in letters]
    plain = sorted(letters, key=lambda letter: (not letter.isalpha(), not letter.isascii(), letter))
    pairs = product(plain, [*(f"{letter}</w>" for letter in plain), *plain])
    merges = [
        pair for pair, _ in zip(pairs, range(encoder["vocab_size"] - 2 - len(letters) - len(words)), strict=False)
    ]
    tokens = [*letters, *words, *("".join(pair) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": encoder["max_position_embeddings"],
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": padding,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
    }
    placing.write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    placing.write_text(folder / "merges.txt", "#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
    placing.write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
