"""Measures the family by its pictures: `python -m miniatures.evaluate`, which writes miniatures/evaluation.json.

A picture is judged by its pixels and by mini-CLIP's image tower, never by the text encoders that steered it: which of
all subjects' reference pictures is nearest, and which background colour do its borders show. Members are assembled
and sampled as their files in conf/model say.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miniatures import emoji, vae
from stages.checkpoints.quiet import quiet
from stages.measurement import retrieval

WEIGHTS = Path("miniatures/weights")
CONF = Path("conf/model")
OUT = Path("miniatures/evaluation.json")
BATCH = 32
HANDOVER = 0.8  # share of the schedule that is the base's in the two-stage pipeline
Combination = tuple[str, str, str]


@dataclass(frozen=True)
class Row:
    """One row of the table: a member, and the number of steps where it is not the member's own."""

    title: str
    member: str
    steps: int | None = None


ROWS = (
    Row("mini-SDXL", "sdxl"),
    Row("mini-SDXL + refiner", "sdxl-refiner"),
    Row("mini-SSD-1B", "ssd-1b"),
    Row("mini-Vega", "vega"),
    Row("mini-LCM-SSD-1B", "lcm-ssd-1b"),
    Row("mini-SSD-1B", "ssd-1b", 4),
    Row("mini-VegaRT", "vegart"),
    Row("mini-Vega", "vega", 4),
)


# --- references ---------------------------------------------------------------------------------------------------


@dataclass
class References:
    """Every combination's true picture: (N, H, W, 3) float32 in 0..1, and mini-CLIP's features of it, of length one."""

    combinations: list[Combination]
    pictures: np.ndarray
    features: np.ndarray

    def of(self, wanted: list[Combination]) -> np.ndarray:
        """The true pictures of these combinations."""
        place = {combination: index for index, combination in enumerate(self.combinations)}
        return self.pictures[[place[combination] for combination in wanted]]


def load_references(scorer: Any) -> References:
    rendered = {subject: emoji.render(subject) for subject in emoji.subjects()}
    combinations = emoji.combinations()
    flat = [emoji.compose(rendered[subject], colour, style) for subject, colour, style in combinations]
    pictures = np.stack(flat).astype(np.float32) / 255
    return References(combinations, pictures, image_features(scorer, pictures))


def image_features(scorer: Any, pictures: np.ndarray) -> np.ndarray:
    """(N, width) features of (N, H, W, 3) pictures in 0..1, each of length one."""
    import torch

    parts = torch.from_numpy(emoji.as_input(pictures * 255)).split(64)
    with torch.no_grad():
        features = [scorer.visual_projection(scorer.vision_model(part).pooler_output) for part in parts]
    return torch.nn.functional.normalize(torch.cat(features), dim=-1).numpy()


# --- pictures -----------------------------------------------------------------------------------------------------


def pipeline(member: str, weights: Path) -> tuple[Any, dict[str, Any]]:
    """The member as a diffusers pipeline in float32, put together as the stage `download` does, and its sampler."""
    import diffusers
    import torch
    import yaml

    from stages.checkpoints import assembling
    from stages.settings.schema import AdapterSource, Source, SwapSource

    entry = yaml.safe_load((CONF / f"mini-{member}.yaml").read_text())[f"mini-{member}"]

    def moved(kind: type, fields: dict[str, Any] | None) -> Any:
        if fields is None:
            return None
        part = object.__new__(kind)
        vars(part).update(fields | {"repo": str(weights / Path(fields["repo"]).relative_to(WEIGHTS))})
        return part

    nested = {name: moved(SwapSource, entry["source"][name]) for name in ("unet", "vae")}
    nested["adapters"] = [moved(AdapterSource, adapter) for adapter in entry["source"]["adapters"]]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        assembling.assemble(moved(Source, entry["source"] | nested), Path(folder) / member, record)
        kind = "StableDiffusionXLImg2ImgPipeline" if entry["role"] == "refiner" else "StableDiffusionXLPipeline"
        made = getattr(diffusers, kind).from_pretrained(
            Path(folder) / member, torch_dtype=torch.float32, add_watermarker=False
        )
    sampler = entry["sampler"]
    made.scheduler = getattr(diffusers, sampler["scheduler"]).from_config(made.scheduler.config)
    made.set_progress_bar_config(disable=True)
    return made, sampler


def draw(row: Row, wanted: list[Combination], weights: Path) -> tuple[np.ndarray, int]:
    """(N, H, W, 3) in 0..1: one picture of each combination, its seed its place in the list; and the steps."""
    import torch
    from tqdm import tqdm

    base, sampler = pipeline("sdxl" if row.member == "sdxl-refiner" else row.member, weights)
    refiner = pipeline(row.member, weights)[0] if row.member == "sdxl-refiner" else None
    steps = row.steps or sampler["steps"]
    pictures = []
    title = f"{row.title}, {steps} steps"
    for first in tqdm(range(0, len(wanted), BATCH), desc=title, unit="batch", leave=False, disable=None):
        batch = wanted[first : first + BATCH]
        options = dict(
            prompt=[emoji.caption(*combination) for combination in batch],
            generator=[torch.Generator().manual_seed(first + n) for n in range(len(batch))],
            num_inference_steps=steps,
            guidance_scale=sampler["guidance"],
            output_type="np",
        )
        if refiner is None:
            pictures.append(base(height=sampler["height"], width=sampler["width"], **options).images)
            continue
        early = options | {"output_type": "latent", "denoising_end": HANDOVER}
        latents = base(height=sampler["height"], width=sampler["width"], **early).images
        pictures.append(refiner(image=latents, denoising_start=HANDOVER, **options).images)
    return np.concatenate(pictures).astype(np.float32), steps


def reconstructed(autoencoder: Any, pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) in 0..1, encoded and decoded: the best that any UNet over this VAE can do."""
    import torch

    with torch.no_grad():
        parts = torch.from_numpy(emoji.as_input(pictures * 255)).split(64)
        decoded = [autoencoder.decode(autoencoder.encode(part).latent_dist.mean).sample for part in parts]
    return ((torch.cat(decoded).clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).numpy()


# --- figures ------------------------------------------------------------------------------------------------------


def judge(pictures: np.ndarray, wanted: list[Combination], references: References, scorer: Any) -> dict[str, float]:
    """Shares of pictures with the right subject, colour and style, and the median PSNR in dB to the true picture."""
    nearest = retrieval.least_squares(pictures, references.pictures)[1]
    found = [references.combinations[i] for i in nearest]
    similar = (image_features(scorer, pictures) @ references.features.T).argmax(1)
    true = references.of(wanted)
    error = np.square(pictures - true).mean(axis=(1, 2, 3))
    right = {
        "subject": [ours[0] == theirs[0] for ours, theirs in zip(found, wanted, strict=True)],
        "subject_clip": [
            references.combinations[i][0] == combination[0] for i, combination in zip(similar, wanted, strict=True)
        ],
        "colour": [
            retrieval.background(picture, emoji.COLOURS) == combination[1]
            for picture, combination in zip(pictures, wanted, strict=True)
        ],
        "style": [ours[2] == theirs[2] for ours, theirs in zip(found, wanted, strict=True)],
    }
    shares = {name: round(float(np.mean(values)), 4) for name, values in right.items()}
    return shares | {
        "psnr_db": round(float(np.median(-10 * np.log10(error))), 2),
        "sharpness": sharpness(pictures, true),
    }


def sharpness(pictures: np.ndarray, true: np.ndarray) -> float:
    """Energy of the pictures' edges over that of the true pictures' edges; 1 is as sharp as the truth."""

    def energy(batch: np.ndarray) -> float:
        return float(np.square(np.diff(batch, axis=1)).sum() + np.square(np.diff(batch, axis=2)).sum())

    return round(energy(pictures) / energy(true), 4)


def samples_sheet(pictures: np.ndarray, columns: int = 8, rows: int = 2) -> Any:
    """The first pictures beside and under each other, twice their size."""
    from PIL import Image

    size = pictures.shape[1]
    shown = pictures[: rows * columns].reshape(rows, columns, size, size, 3).transpose(0, 2, 1, 3, 4)
    sheet = Image.fromarray((255 * shown.reshape(rows * size, columns * size, 3)).round().astype(np.uint8))
    return sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.LANCZOS)


def samples(count: int) -> dict[str, list[Combination]]:
    """`count` combinations each of those that were trained and of those that were held out, always the same ones."""
    random = np.random.default_rng(0)
    groups: dict[str, list[Combination]] = {"trained": [], "held_out": []}
    for combination in emoji.combinations():
        groups["held_out" if emoji.held_out(*combination) else "trained"].append(combination)
    return {name: [group[i] for i in random.permutation(len(group))[:count]] for name, group in groups.items()}


def evaluate(weights: Path, count: int, rows: tuple[Row, ...]) -> dict[str, Any]:
    """What evaluation.json holds."""
    from diffusers import AutoencoderKL
    from transformers import CLIPModel

    scorer = CLIPModel.from_pretrained(weights / "clip").float().eval()
    references = load_references(scorer)
    figures: dict[str, Any] = {"pictures": {}, "rows": []}
    decoder = AutoencoderKL.from_pretrained(weights / "sdxl" / "vae").float().eval()
    figures["vae_psnr_db"] = {
        "unseen_emoji": round(vae.psnr(decoder, emoji.unseen()), 2),
        "subjects": round(vae.psnr(decoder, emoji.subjects()), 2),
    }
    if any(row.member == "sdxl" for row in rows):
        entry = {"title": "true pictures through the VAE", "member": "sdxl", "steps": 0}
        for name, wanted in samples(count).items():
            entry[name] = judge(reconstructed(decoder, references.of(wanted)), wanted, references, scorer)
        figures["rows"].append(entry)
    for row in rows:
        entry: dict[str, Any] = {"title": row.title, "member": row.member}
        for name, wanted in samples(count).items():
            figures["pictures"][name] = len(wanted)
            pictures, entry["steps"] = draw(row, wanted, weights)
            entry[name] = judge(pictures, wanted, references, scorer)
            if name == "held_out" and row.steps is None:
                again, _ = draw(row, wanted[:BATCH], weights)
                entry["same_seed_same_picture"] = bool((again == pictures[:BATCH]).all())
                samples_sheet(pictures).save(weights / row.member / "samples.webp", quality=92)
        figures["rows"].append(entry)
        print(json.dumps(entry), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--count", type=int, default=414, help="pictures of trained and of held-out combinations each")
    parser.add_argument("--members", nargs="*", help="only rows of these members")
    options = parser.parse_args()
    rows = tuple(row for row in ROWS if not options.members or row.member in options.members)
    with quiet():
        import diffusers

        diffusers.utils.logging.disable_progress_bar()
        figures = evaluate(options.weights, options.count, rows)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"{options.out}: {len(rows)} rows")


if __name__ == "__main__":
    main()
