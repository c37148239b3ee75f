"""A project on the tiny pipelines that its own stages make, from the checkpoint's folder on.

Consumes an empty folder; produces params.yaml and `source/`, and with `run` what each stage leaves, in processes of
their own: whoever calls stays small, and may be forked again.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import os
import shutil
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
MODEL = "base"
# In the order of the pipeline; each reads what those before it left.
STAGES = ("describe", "download", "export", "calibrate", "quantize", "scorer", "benchmark")
FOR_ALL = ("describe", "scorer")  # these take no model
HEAVY = ("torch", "diffusers", "transformers", "optimum.intel.openvino", "nncf", "datasets")


def write(folder: Path) -> None:
    """What a person brings: settings, a checkpoint, a CLIP model, prompts, a judge's pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    apart(_write_sources, folder)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["model"] = {MODEL: _model(params["model"]["mini-sdxl"])}
    params["prompts"]["file"] = params["prompts"]["watch"] = "source/prompts.jsonl"
    params["clip"] |= {"repo": "source/clip", "watch": "source/clip"}
    params["judge"] |= {"repo": "source/judge", "watch": "source/judge"}
    params["calibration"] |= {"prompts": 4, "draft_steps": None, "steps_per_prompt": 2, "evaluations": None}
    params["calibration"] |= {"refiner_evaluations": None}
    params["quantization"] |= {"samples": 8, "search": None, "attention": "int8"}
    params["benchmark"] |= {"prompts": 2, "repetitions": 2, "warmup": 1}
    params["device"] |= {"inference_precision": "f32", "dynamic_quantization_group_size": 0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def _model(template: dict) -> dict:
    settings = copy.deepcopy(template) | {"title": "tiny base", "base": MODEL, "watch": "source/base"}
    settings["source"] |= {"kind": "local", "repo": "source/base"}
    settings["sampler"] |= {"steps": 5, "width": 32, "height": 32}
    return settings


def _write_sources(folder: Path) -> None:
    from tests.tiny import tiny_checkpoint

    tiny_checkpoint(folder / "source/base", "base")
    tiny_checkpoint(folder / "source/clip", "clip")
    tiny_checkpoint(folder / "source/lora", "lora")
    shutil.copyfile(REPOSITORY / "stages/prompts/emoji.jsonl", folder / "source/prompts.jsonl")
    shutil.copytree(REPOSITORY / "miniatures/judge", folder / "source/judge")


def command(stage: str) -> list[str]:
    return [] if stage in FOR_ALL else [MODEL]


def run(folder: Path, stage: str) -> int:
    """The stage's exit status; its words go to `folder`/said."""
    return apart(main, folder, stage)


def main(folder: Path, stage: str) -> None:
    """The stage as its command is, in this process, which is led into the folder."""
    os.chdir(folder)
    said = os.open(folder.parent / "said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(said, 1), os.dup2(said, 2)
    if stage == "benchmark":
        _hurry()
    importlib.import_module(f"stages.{stage}").main(command(stage))


def _hurry() -> None:
    """What is measured for itself takes seconds: of a picture that nobody looks at milliseconds do."""
    from stages.measurement import footprint, peak, turns
    from tests.tiny_ir import FOOTPRINT

    peak.SIDE, peak.ENOUGH_S, turns.SHORT_S = 64, 0.01, 0.05
    footprint.measure = lambda *_: FOOTPRINT


def prepare() -> None:
    """Import once what every stage imports: a process forked from this one begins where the stage's own work does."""
    for name in HEAVY:
        importlib.import_module(name)


def apart(work, *arguments) -> int:
    """Exit status of a process forked for it, at the head of a group of its own."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(work, *arguments), 0)[1])


def forked(work, *arguments) -> int:
    """The number of a process that works; 120 is its status where Python ended with a traceback."""
    sys.stdout.flush(), sys.stderr.flush()
    number = os.fork()
    if number:
        with contextlib.suppress(PermissionError, ProcessLookupError):  # whoever is first: it may be killed at once
            os.setpgid(number, number)
        return number
    status = 120
    try:
        os.setpgid(0, 0)
        work(*arguments)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
