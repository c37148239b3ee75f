"""Reports as a benchmark would leave them, without one: plausible figures and emoji-like pictures of 64 pixels.

`fake_reports(folder)` writes params.yaml, reports/machine.json and reports/benchmark/*; nothing in them was measured.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from stages.measurement import metrics

SIZE = 64
LICENCE = "CC-BY-SA-4.0"
SCENES = [
    ("apple", "a red apple on a blue background", "#d2402f", "#92d3f5"),
    ("moon", "a yellow moon on a purple background", "#fcea2b", "#6a5acd"),
    ("tree", "a green tree on a white background", "#5c9e31", "#ffffff"),
    ("house", "a brown house on a pink background", "#a57939", "#ffa7c0"),
    ("star", "a yellow star on a teal background", "#fcea2b", "#00a693"),
    ("ball", "a white ball on an orange background", "#ffffff", "#f1b31c"),
    ("heart", "a red heart on a grey background", "#d2402f", "#9b9b9a"),
    ("fish", "a blue fish on a yellow background", "#61b2e4", "#fcea2b"),
]
# key: title, steps, guidance, UNet size of FP16 in MB, seconds of a step
MODELS: dict[str, tuple[str, int, float, float, float]] = {
    "mini-sdxl": ("mini-SDXL", 25, 5.0, 14.2, 0.0321),
    "mini-sdxl-refiner": ("mini-SDXL refiner", 25, 5.0, 12.6, 0.0298),
    "mini-ssd-1b": ("mini-SSD-1B", 25, 5.0, 7.4, 0.0187),
    "mini-lcm-ssd-1b": ("mini-LCM-SSD-1B", 4, 8.0, 7.5, 0.0102),
    "mini-vega": ("mini-Vega", 25, 5.0, 4.3, 0.0113),
    "mini-vegart": ("mini-VegaRT", 4, 1.0, 4.3, 0.0064),
}


def fake_reports(folder: Path, models: tuple[str, ...] = tuple(MODELS), after: str = "int8") -> Path:
    """Everything `compare` reads, in `folder`, which then serves as the working directory."""
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(json.dumps(params(folder, models, after)))  # JSON is YAML
    (folder / "reports/machine.json").write_text(json.dumps(machine()))
    for key in models:
        fake_model(folder / "reports/benchmark" / key, key, after)
    return folder


def params(folder: Path, models: tuple[str, ...], after: str) -> dict[str, Any]:
    """The repository's own params.yaml with these models selected."""
    import yaml

    own = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    own["model"] = {key: own["model"][key] for key in models}
    own["quantization"]["name"] = after
    return own


def machine() -> dict[str, Any]:
    return {
        "id": "0123456789ab", "cpu": "An Ordinary Processor", "architecture": "x86_64", "system": "Linux", "cores": 2,
        "base_ghz": 2.6, "memory_gb": 8, "instruction_sets": ["avx2", "avx512_vnni"],
        "nominal_gops": {"f32": 332.8, "bf16": None, "int8": 1331.2}, "python": "3.11",
        "runtimes": {"openvino": "2026.4.1", "nncf": "3.4.0", "optimum-intel": "2.2.0"},
    }  # fmt: skip


def fake_model(folder: Path, key: str, after: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    made = record(key, after)
    (folder / "record.json").write_text(json.dumps(made, indent=1))
    (folder / "metrics.json").write_text(json.dumps(metrics.metrics(made), indent=1))
    entries = [entry for task in tasks(key) for entry in fake_pictures(folder / "images", key, task, after)]
    (folder / "images/images.json").write_text(json.dumps(entries, indent=1))


def tasks(key: str) -> tuple[str, ...]:
    refines = ("text-to-image", "two-stage", "two-stage-sdedit", "image-to-image")
    return refines if "refiner" in key else ("text-to-image", "image-to-image")


def fake_pictures(folder: Path, key: str, task: str, after: str) -> list[dict[str, Any]]:
    entries = []
    base = task == "text-to-image" and "refiner" in key
    main = task == ("two-stage" if "refiner" in key else "text-to-image")
    precisions = ("fp16",) if base else ("fp16", after, "reference") if main else ("fp16", after)
    for number, (name, prompt, subject, ground) in enumerate(SCENES):
        for precision in precisions:
            file = f"{task}-{precision}-{name}.png"
            blur = {"two-stage": 0.2, "two-stage-sdedit": 0.4}.get(task, 1.1 if "4" == str(MODELS[key][1]) else 0.7)
            draw(name, subject, ground, noise=6 if precision == after else 0, blur=blur).save(folder / file)
            entries.append({
                "file": file, "model": "mini-sdxl" if base else key,
                "precision": precision, "task": task, "prompt": prompt, "prompt_id": name, "seed": number,
                "width": SIZE, "height": SIZE, "executed_steps": MODELS[key][1], "seconds": 0.5,
            })  # fmt: skip
    return entries


def draw(name: str, subject: str, ground: str, noise: int, blur: float) -> Image.Image:
    """A shape with a dark outline, drawn at four times its size; `noise` stands for what quantization does."""
    canvas = Image.new("RGB", (256, 256), ground)
    pen = ImageDraw.Draw(canvas)
    style: dict[str, Any] = {"fill": subject, "outline": "#222222", "width": 9}
    if name in ("apple", "ball"):
        pen.ellipse((50, 60, 206, 216), **style)
        pen.line((128, 66, 146, 24), fill="#222222", width=10)
    elif name == "moon":
        pen.ellipse((44, 44, 212, 212), **style)
        pen.ellipse((96, 24, 250, 178), fill=ground, outline="#222222", width=9)
    elif name == "house":
        pen.rectangle((62, 118, 194, 216), **style)
        pen.polygon([(40, 124), (128, 40), (216, 124)], **style)
    elif name == "tree":
        pen.rectangle((114, 180, 142, 232), fill="#6b4a1f", outline="#222222", width=7)
        pen.polygon([(40, 186), (128, 24), (216, 186)], **style)
    elif name == "fish":
        pen.polygon([(160, 128), (232, 70), (232, 186)], **style)
        pen.ellipse((24, 70, 184, 186), **style)
        pen.ellipse((58, 104, 78, 124), fill="#222222")
    elif name == "star":
        pen.regular_polygon((128, 132, 92), 5, fill=subject, outline="#222222")
    else:
        pen.ellipse((40, 60, 136, 150), fill=subject)
        pen.ellipse((120, 60, 216, 150), fill=subject)
        pen.polygon([(46, 124), (210, 124), (128, 220)], fill=subject)
    small = canvas.filter(ImageFilter.GaussianBlur(4 * blur)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    chance = random.Random(name)
    return small.point(lambda value: max(0, min(255, value + chance.randint(-noise, noise)))) if noise else small


def latency(median: float) -> dict[str, Any]:
    return {"median": median, "p90": median * 1.06, "min": median * 0.97, "n": 3, "raw": [median] * 3}


def record(key: str, after: str) -> dict[str, Any]:
    title, steps, guidance, size_mb, step_s = MODELS[key]
    noise = {"load": 1.4, "others": 0.12 if "vegart" in key else 0.02, "steal": 0.01, "flagged": "vegart" in key}
    precisions = {
        "fp16": figures(size_mb, step_s, steps, None),
        after: figures(size_mb / 1.96, step_s / 1.41, steps, 1.41),
    }
    image = {task: None for task in ("text-to-image", "image-to-image", "two-stage", "two-stage-sdedit")}
    for precision, row in precisions.items():
        took = row["image_s"]["median"]
        row["tasks"] = image | {task: {"image_s": latency(took), "executed_steps": steps} for task in tasks(key)}
        row["effective_properties"] = {
            "INFERENCE_PRECISION_HINT": "<Type: 'bfloat16'>",
            "NUM_STREAMS": "1",
            "PRECISION": precision,
        }
    return {
        "model": key, "title": title, "role": "refiner" if "refiner" in key else "base", "family": "mini",
        "machine": machine()["id"], "width_px": SIZE, "height_px": SIZE, "steps": steps, "guidance": guidance,
        "noise": noise, "clock": {"stopwatch_s": 61.2, "system_s": 61.21, "agrees": True},
        "energy": {"readable": True, "why": None, "packages": ["package-0"]},
        "scheduler": "LCMScheduler" if steps < 10 else "EulerDiscreteScheduler", "executed_steps": steps,
        "quantization": after, "scheme": "weights_first", "reference": "fp16 in float32",
        "clip_model": {"title": "mini-CLIP", "licence": LICENCE}, "judge": {"title": "pixels", "licence": LICENCE},
        "controls": controls(), "retrieval": {"prompts": 8, "of": 8, "subject": 1.0, "background": 1.0},
        "precisions": precisions,
    }  # fmt: skip


def controls() -> dict[str, Any]:
    same = {"prompts": 1, "points": 8, "identical": True, "sqnr_db": None, "psnr_db": None}
    other = {"prompts": 2, "identical": False, "psnr_db": 14.25, "ssim": 0.412, "clip_similarity": 0.8113}
    return {"reference_again": same | {"ssim": 1.0, "clip_similarity": 1.0}, "other_seed": other}


def layers(speedup: float | None) -> list[dict[str, Any]]:
    """Three products: 94 % of the work in INT8 where there is any."""
    return [
        {"name": name, "type": kind, "macs": macs, "kernel": kernel if speedup else "brgemm_bf16",
         "precision": kernel.rpartition("_")[2] if speedup else "bf16"}
        for name, kind, macs, kernel in (
            ("conv_in", "Convolution", 600, "brgconv_bf16"), ("conv1", "Convolution", 6000, "brgconv_u8"),
            ("to_q", "MatMul", 3400, "brgemm_i8"),
        )
    ]  # fmt: skip


def per_prompt(speedup: float | None) -> list[dict[str, Any]]:
    """Decibels fall from prompt to prompt, so that the last ones are the worst."""
    clip = {"clip_score": 27.18, "clip_score_reference": 27.31, "clip_similarity": 0.987}
    return [
        {"id": name, "text": text, "psnr_db": 31.0 - number if speedup else None, "ssim": 0.951, "sqnr_db": 24.1} | clip
        for number, (name, text, *_) in enumerate(SCENES)
    ]


def figures(size_mb: float, step_s: float, steps: int, speedup: float | None) -> dict[str, Any]:
    interval = {"ratio": speedup, "low": speedup - 0.04, "high": speedup + 0.05} if speedup else None
    prompts = per_prompt(speedup)
    return {
        "unet_size_mb": size_mb, "total_size_mb": size_mb + 18.4, "load_s": 1.2, "peak_rss_mb": 812.0,
        "cold_s": {
            "load": 1.2, "text_encoders": 0.031, "first_step": 4 * step_s, "second_step": step_s, "decode": 0.052,
            "picture_of_two_steps": 1.283 + 5 * step_s, "picture": 1.283 + (steps + 3) * step_s,
        },
        "energy_j": {"unet_step": latency(40 * step_s), "picture": latency(2 + 40 * steps * step_s)},
        "text_encoders_s": latency(0.011), "unet_step_s": latency(step_s), "vae_decode_s": latency(0.024),
        "image_s": latency(0.05 + steps * step_s), "unet_gops": 41.0, "unet_share_of_peak": 0.12,
        "int8_operations": 118 if speedup else 0, "executed_int8": 104 if speedup else 0,
        "executed_precisions": {"bf16": 14, "i8": 80, "u8": 24} if speedup else {"bf16": 118},
        "speedup_step": interval, "speedup_image": interval, "sqnr_db": 24.1 if speedup else 51.3,
        "trajectory_cosine": 0.998 if speedup else 0.99999, "psnr_db": 27.9 if speedup else None,
        "ssim": 0.951 if speedup else None, "clip_score": 27.18 if speedup else 27.314,
        "clip_similarity": 0.98714 if speedup else 0.99963,
        "macs": {"total": 10_000, "int8": 9400 if speedup else 0, "share_int8": 0.94 if speedup else 0.0},
        "layers": layers(speedup), "per_prompt": prompts,
        "sqnr_by_timestep": [[961.0, 25.0], [681.0, 28.5], [401.0, 27.0], [1.0, 19.5 if speedup else 47.0]],
        "sqnr_by_quarter": [19.5 if speedup else 47.0, 27.0, 28.5, 25.0], "sqnr_by_sample": [24.1] * 8,
        "clip_drop_percent": 0.49 if speedup else 0.0, "retrieval": {"subject": 1.0, "background": 0.875},
        "worst_prompts": [{name: entry[name] for name in ("id", "text", "psnr_db")} for entry in prompts[:-4:-1]],
    }  # fmt: skip
