"""Sides of a comparison: figures wherever they are kept, brought into the shape of a benchmark's record.

Consumes the text of files of figures by their names under reports/; produces a `Side` of the benchmark's figures, or
one for each machine of the reference figures. What is kept in the short form alone (metrics.json, references without
raw values) becomes a record that lacks the rest. Compares nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stages.files import records
from stages.files.layout import FP16

Files = Mapping[str, str]  # text by name: reports/benchmark/mini-vega/record.json
MACHINE = "reports/machine.json"
OWN = re.compile(r"reports/(?:benchmark|schemes)/(?P<model>[^/]+)/(?P<form>record|metrics)\.json")
REFERENCE = re.compile(r"reports/reference/(?P<machine>[^/]+)/(?P<model>[^/]+)\.json")
PATTERNS = ("machine.json", "benchmark/*/record.json", "benchmark/*/metrics.json", "reference/*/*.json")
SAME_HARDWARE = ("cpu", "cpu_stepping", "cores", "memory_gb", "instruction_sets")
KNOWN_BY = ("id", "sqnr_db", "psnr_db", "ssim", "clip_score")
RUNTIME = re.compile(r"\bov=([\d.]+)")


@dataclass(frozen=True)
class Measured:
    """One model's figures in one precision; `sitting` is the same for what was measured at the same time."""

    record: dict[str, Any]
    scheme: str
    sitting: str
    machine: dict[str, Any]

    def row(self, precision: str | None = None) -> dict[str, Any]:
        """Of a precision, its own without one; empty where it was not run."""
        found = self.record["precisions"].get(precision or self.scheme) or {}
        return {} if found.get("skipped") else found

    @property
    def openvino(self) -> str | None:
        known = (self.machine.get("runtimes") or {}).get("openvino")
        said = (self.row().get("effective_properties") or {}).get("RUNTIME_REQUIREMENTS")
        return known or next(iter(RUNTIME.findall(str(said))), None)


@dataclass(frozen=True)
class Side:
    name: str  # as it was asked for
    where: str  # the figures lie
    models: dict[str, list[Measured]]  # several where a model was measured in several sittings, the best one first


def sides(name: str, files: Files, where: str = "") -> list[Side]:
    """The benchmark's figures as one side; where there are none, the reference figures, a side for each machine."""
    machines = described(files)
    own: dict[str, list[Measured]] = {}
    references: dict[str, dict[str, list[Measured]]] = {}
    for path in sorted(files, reverse=True):  # a record comes before the metrics beside it
        if (part := OWN.fullmatch(path)) and part["model"] not in own:
            own[part["model"]] = [measured(path, files, machines.get(MACHINE, {}), machines.values())]
        elif is_reference(path):
            part = REFERENCE.fullmatch(path)
            about = machines.get(str(PurePosixPath(path).with_name("machine.json")), {})
            kept = references.setdefault(part["machine"], {})
            kept[part["model"]] = [measured(path, files, about, machines.values())]
    if own:
        return [Side(name, f"reports/benchmark{where}", dict(sorted(own.items())))]
    return [
        Side(name, f"reports/reference/{machine}{where}", dict(sorted(models.items())))
        for machine, models in sorted(references.items())
    ]


def measured(path: str, files: Files, machine: dict[str, Any], known: Iterable[dict[str, Any]]) -> Measured:
    """`machine`: what is described beside it, unless the record names another one."""
    content = parsed(path, files[path])
    record = content.get("record") or (content if "precisions" in content else short(content))
    if not isinstance(record, dict) or "precisions" not in record or not isinstance(record.get("quantization"), str):
        raise ValueError(f"{path} holds neither a benchmark's record nor its metrics")
    records.require_figures(record, path)
    identity = record.get("machine")
    if identity and machine.get("id") != identity:
        machine = next((one for one in known if one.get("id") == identity), {"id": identity})
    told = told_by(record) or files[path]
    return Measured(record, record["quantization"], hashlib.sha256(told.encode()).hexdigest(), machine)


def told_by(record: dict[str, Any]) -> str:
    """What a sitting is known by: its raw values, to the digits that reference figures keep; empty without any."""
    rows = [record["precisions"].get(name) or {} for name in (FP16, record["quantization"])]
    raw = [(row.get(name) or {}).get("raw") or [] for row in rows for name in ("unet_step_s", "image_s")]
    pictures = [[entry.get(name) for name in KNOWN_BY] for entry in rows[-1].get("per_prompt") or []]
    return json.dumps([[[f"{value:.4g}" for value in values] for values in raw], pictures]) if any(raw) else ""


def short(metrics: dict[str, Any]) -> dict[str, Any]:
    """A record of what the short form holds: medians without raw values."""
    scheme = metrics.get("scheme") or FP16
    rows = {name: short_row(metrics, suffix) for name, suffix in ((FP16, "_fp16"), (scheme, ""))}
    return {"quantization": scheme, "precisions": rows, "short": True}


def short_row(metrics: dict[str, Any], suffix: str) -> dict[str, Any]:
    def value(name: str, scale: float = 1.0) -> float | None:
        found = metrics.get(f"{name}{suffix}")
        return None if found is None else found * scale

    row = {name: value(name) for name in ("sqnr_db", "psnr_db", "ssim", "clip_score")}
    row |= {"unet_size_mb": value("size_mb"), "peak_rss_mb": value("memory_gb", 1000)}
    row |= {"speedup_step": {"ratio": value("speed_step")}}
    return row | {"unet_step_s": {"median": value("step_ms", 0.001)}, "image_s": {"median": value("image_s")}}


def same_hardware(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions are of one machine, with whatever software: an `id` covers that too."""
    if one.get("id") == other.get("id"):
        return True
    return "cpu" in one and all(one.get(name) == other.get(name) for name in SAME_HARDWARE)


def described(files: Files) -> dict[str, dict[str, Any]]:
    """Descriptions of machines by the names of their files."""
    return {path: parsed(path, text) for path, text in files.items() if path.endswith("/machine.json")}


def in_folder(folder: Path) -> dict[str, str]:
    """Files of figures of a clone, of its reports, its benchmarks, its references, or those of one machine."""
    own, kept = ("*/record.json", "*/metrics.json"), ("*/*.json",)
    shapes = [(folder / "reports", "", PATTERNS), (folder, "", PATTERNS), (folder, "benchmark/", own)]
    if (folder / "machine.json").is_file():
        shapes.append((folder, f"reference/{folder.resolve().name}/", ("*.json",)))
    for place, prefix, patterns in [*shapes, (folder, "reference/", kept)]:
        files = {f"reports/{prefix}{name}": file for name, file in matching(place, patterns).items()}
        if any(OWN.fullmatch(name) or is_reference(name) for name in files):
            if prefix == "benchmark/" and (beside := folder.parent / "machine.json").is_file():
                files[MACHINE] = beside
            return {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    return {}


def is_reference(path: str) -> bool:
    return bool(REFERENCE.fullmatch(path)) and not path.endswith("/machine.json")


def matching(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for one in patterns for file in folder.glob(one)}


def parsed(path: str, text: str) -> dict[str, Any]:
    return records.parsed(text, path)
