"""`python -m proofs`: the tables of proofs/README.md and proofs/cluster.md, out of what proofs/results/ holds."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proofs import scaling
from stages.files import placing
from stages.machine.usage import duration
from stages.report import speed_table

RESULTS = Path("proofs/results")
CLAIMED = {"synthetic-ssd-1b": 1.6, "synthetic-vega": 2.0}  # times SDXL's speed, by Segmind's model cards
SDXL = "synthetic-sdxl"
WHOLE = (
    "calibration.evaluations=null calibration.refiner_evaluations=null calibration.draft_steps=null "
    "calibration.steps_per_prompt=4"
)
Rows = list[list[str]]


def convert(found: dict[str, Any]) -> Rows:
    ours, theirs = found["PocketXL"], found["optimum-cli"]
    rows = [["", "wall", "peak of the process tree", "of it anonymous"]]
    for name, entry in (("`optimum-cli export openvino --weight-format fp16`", theirs), ("PocketXL's export", ours)):
        rows.append(
            [name, f"{entry['seconds']:.0f} s", f"{entry['total_gb']:.1f} GB", f"{entry['anonymous_gb']:.1f} GB"]
        )
    ratio = ours["seconds"] / theirs["seconds"], ours["total_gb"] / theirs["total_gb"]
    return [*rows, ["ratio", f"{ratio[0]:.2f}", f"{ratio[1]:.2f}", ""]]


def limits(found: dict[str, Any]) -> Rows:
    rows = [["", "limit", "result", "wall", "peak anonymous"]]
    for name, entry in found.items():
        result = "**killed**" if entry["killed"] else "done" if entry["status"] == 0 else f"failed ({entry['status']})"
        limit, peak = f"{entry['limit_gb']:.0f} GB", f"{entry['anonymous_gb']:.1f} GB"
        rows.append([name, limit, result, duration(entry["seconds"]), peak])
    return rows


def steps(found: dict[str, Any]) -> Rows:
    heads = ["", "TOP", "INT8", "FP16 IR", "faster", "INT8 in f32", "FP16 IR in f32", "faster", "PyTorch f32", "faster"]
    rows = [[*heads, "INT8 GOP/s", "of the peak"]]
    for model, entry in found["models"].items():
        times = [medians(pair) for pair in entry["pairs"].values()]
        cells = [model.removeprefix("synthetic-"), f"{entry['gop'] / 1000:.2f}"]
        for number, (quick, slow) in enumerate(times):
            cells += [seconds(quick), seconds(slow)] if number < 2 else [seconds(slow)]
            cells.append(f"**{slow / quick:.2f}×**")
        gops = entry["gop"] / times[0][0]
        rows.append([*cells, f"{gops:.0f}", f"{gops / found['peak_gops']['int8']:.2f}"])
    return rows


def layers(found: dict[str, Any]) -> Rows:
    quick, slow = (found["milliseconds"][precision] for precision in ("int8", "fp16"))
    whole = sum(quick.values())
    rows = [["", "INT8", "share", "FP16 IR", "faster"]]
    for name, mine, other in [*((kind, quick[kind], slow[kind]) for kind in quick), ("all", whole, sum(slow.values()))]:
        faster = f"{other / mine:.2f}×" if mine and other else ""
        rows.append([name, f"{mine:.0f} ms", f"{100 * mine / whole:.0f} %", f"{other:.0f} ms", faster])
    return rows


def claims(found: dict[str, Any]) -> Rows:
    rows = [["against SDXL", "Segmind", "INT8", "FP16 IR", "FP16 IR in f32", "PyTorch f32"]]
    for model, claimed in CLAIMED.items():
        if {model, SDXL} <= set(found["models"]):
            mine, sdxl = (found["models"][name]["pairs"] for name in (model, SDXL))
            pairs = [("default", 0), ("default", 1), ("f32", 1), ("torch", 1)]
            ratios = [medians(sdxl[pair])[place] / medians(mine[pair])[place] for pair, place in pairs]
            rows.append([model.removeprefix("synthetic-"), f"{claimed:g}×", *(f"{ratio:.2f}×" for ratio in ratios)])
    return rows


def light(found: dict[str, Any]) -> Rows:
    rows = [["", "SQNR FP16 → INT8 weights", "PSNR", "SSIM", "CLIP score"]]
    for model, entry in found.items():
        pairs = {name: (entry["fp16"][name], entry["int8-weights"][name]) for name in entry["fp16"]}
        digits = {"sqnr_db": 1, "psnr_db": 1, "ssim": 4, "clip_score": 2}
        rows.append(
            [model, *(" → ".join(f"{value:.{digits[name]}f}" for value in pair) for name, pair in pairs.items())]
        )
    return rows


def int8(found: dict[str, Any]) -> Rows:
    """SQNR of each scheme; of `int8` its worst quarter, pictures, CLIP score lost and share of the work too."""
    names = ("int8-notebook", "int8-hybrid", "int8-weights", "int8-quick", "int8")
    rows = [["SQNR, dB", *names, "worst quarter", "PSNR", "CLIP score lost", "CLIP similarity", "MACs in INT8"]]
    for model, entry in found.items():
        cells = [f"{entry[name]['sqnr_db']:.1f}" if name in entry else "–" for name in names]
        mine, before = entry["int8"], entry["fp16"]
        lost = 100 * (before["clip_score"] - mine["clip_score"]) / before["clip_score"]
        cells[-1] = f"**{cells[-1]}**"
        cells += [f"{mine['sqnr_worst_quarter_db']:.1f}", f"{mine['psnr_db']:.1f} dB", f"{lost:.2f} %"]
        rows.append([model, *cells, f"{mine['clip_similarity']:.4f}", f"{100 * mine['share_macs_int8']:.0f} %"])
    return rows


def outliers(found: dict[str, Any]) -> Rows:
    """SQNR by scheme of miniatures that were given outliers."""
    names = {"weights": "INT8 weights", "plain": "plain ranges", "search": "search"}
    rows = [["SQNR, dB", *names.values()]]
    return rows + [[model, *(f"{entry[name]:.1f}" for name in names)] for model, entry in found.items()]


def ways(found: dict[str, Any]) -> Rows:
    """Each folder's step in relation to the first one's, on this processor and as on one without AMX."""
    kinds = {"openvino": "as it is", "openvino-vnni": "as without AMX"}
    rows = [["", *(f"step {words}" for words in kinds.values()), *(f"ratio {words}" for words in kinds.values())]]
    for model, entry in ((name, one) for name, one in found.items() if name != "load"):
        first = next(iter(entry["openvino"]))
        for name in entry["openvino"]:
            middle = {kind: statistics.median(entry[kind][name]) for kind in kinds}
            ratios = [middle[kind] / statistics.median(entry[kind][first]) for kind in kinds]
            cells = [*(f"{value:.3f} s" for value in middle.values()), *(f"{ratio:.3f}" for ratio in ratios)]
            rows.append([f"{model} {name}", *cells])
    return rows


def medians(pair: dict[str, list[float]]) -> list[float]:
    return [statistics.median(values) for values in pair.values()]


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def markdown(rows: Rows) -> str:
    head, *body = rows
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, marks, *body])


def calibration(found: dict[str, Any]) -> Rows:
    rows = [["", "settings", "prompts", "UNet evaluations", "inputs", "SQNR", "by quarter, from the picture to noise"]]
    for model, ways in found.items():
        for number, (way, entry) in enumerate(ways.items()):
            quarters = ", ".join(f"{value:.1f}" for value in entry["sqnr_by_quarter"] if value is not None)
            counts = [f"{entry[name]:,}" for name in ("prompts", "evaluations", "samples")]
            told = "default" if way == "default" else "whole drawings" if way == WHOLE else f"`{way}`"
            rows.append(["" if number else model, told, *counts, f"{entry['sqnr_db']:.1f} dB", quarters])
    return rows


def speed(found: dict[str, Any]) -> Rows:
    """Of trained miniatures: what is spared, what it gains, what it costs the pictures."""
    rows = [["", *speed_table.HEADS[1:]]]
    for model, entry in found.items():
        if not entry["random_weights"]:
            rows += [[f"{model} {cells[0]}", *cells[1:]] for cells in map(speed_table.cells, entry["rows"])]
    return rows


def speed_true_size(found: dict[str, Any]) -> Rows:
    """Of random weights at true size: times, against the model's own INT8 and against SDXL's FP16 in all its steps."""
    rows = [["", "UNet rows", "a picture", "speed of its INT8", "speed of SDXL's FP16"]]
    first = found[SDXL]["rows"][0]["picture_s"]["median"] if SDXL in found else None
    for model, entry in found.items():
        for row in entry["rows"] if entry["random_weights"] else []:
            cells, against = speed_table.cells(row), row["picture_s"]["median"]
            times = f"**{first / against:.1f}×**" if first else ""
            rows.append([f"{model.removeprefix('synthetic-')} {cells[0]}", *cells[1:4], times])
    return rows


def repeat(found: dict[str, Any]) -> Rows:
    """Figures of a second run in the first one's interval: all, those that vary, and by one sitting's own intervals."""
    rows = [["", "sittings", "busy", "agree", "of those that vary", "half of an interval", "by one sitting alone"]]
    for model, entry in found.items():
        told = entry["summary"]
        within = {name: f"{told[name][0]} of {told[name][1]}" for name in ("all", "varying", "own")}
        counts = [f"{entry['sittings']} + 1", str(entry["busy"]), f"**{within['all']}**", within["varying"]]
        rows.append([model, *counts, f"±{100 * told['half_width']:.1f} %", within["own"]])
    return rows


def app(found: dict[str, Any]) -> Rows:
    rows = [["", "page", "first picture", "CPU until then", "memory after 10", "after 100", ""]]
    for model, entry in found.items():
        held = [f"{held_mb:.0f} MB" for held_mb in (entry["held_mb"][9], entry["held_mb"][-1])]
        times = [f"{entry[name]:.1f} s" for name in ("page_s", "first_picture_s", "first_picture_cpu_s")]
        rows.append([f"{model} {entry['precision']}", *times, *held, f"{entry['growth_percent']:+.1f} %"])
    return rows


def cluster(found: dict[str, Any]) -> Rows:
    """An item by the loop, what one worker adds to it, of that the way there and back, and how several scale."""
    rows = [["", "loop", "bound to no core", "one worker", "its CPU time", "between items", "several", "same bytes"]]
    for model, entry in found.items():
        for kind in ("pictures", "drafts"):
            one = entry[kind]
            shares = [f"{100 * one[name]:+.1f} %" for name in ("unbound", "overhead", "processor")]
            shares.append(f"{100 * one['way']:.1f} %")
            many = f"{one['many']['workers']}: {one['scaling']:.2f}×"
            same = "yes" if one["same"] else "**no**"
            rows.append([f"{model} {kind}", f"{1000 * one['bound']['item_s']:.0f} ms", *shares, many, same])
    return rows


Tables = dict[str, tuple[str, Callable[[dict[str, Any]], Rows]]]  # of a page by mark: the results, and what is told
TABLES: Tables = {
    "convert": ("convert", convert),
    "limits": ("limits", limits),
    "steps": ("steps", steps),
    "layers": ("layers", layers),
    "claims": ("steps", claims),
    "light": ("light", light),
    "int8": ("int8", int8),
    "outliers": ("outliers", outliers),
    "ways": ("ways", ways),
    "calibration": ("calibration", calibration),
    "repeat": ("repeat", repeat),
    "speed": ("speed", speed),
    "speed at true size": ("speed", speed_true_size),
    "app": ("app", app),
}
CLUSTER: Tables = {
    "cluster": ("cluster", cluster),
    "systems": ("steps", scaling.systems),
    "scaled": ("steps", scaling.scaled),
}
PAGES = {Path("proofs/README.md"): TABLES, Path("proofs/cluster.md"): CLUSTER}


def main() -> None:
    for page, tables in PAGES.items():
        write(page, tables)


def write(page: Path, tables: Tables) -> None:
    text = page.read_text(encoding="utf-8")
    for name, (file, table) in tables.items():
        path = RESULTS / f"{file}.json"
        if not path.is_file():
            print(f"{path} is missing: its table stays as it is")
            continue
        drawn = markdown(table(json.loads(path.read_text())))
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = marked.subn(lambda match, drawn=drawn: f"{match[1]}{drawn}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"{page} needs one pair of lines '<!-- {name} -->' and '<!-- /{name} -->'")
    placing.write_text(page, text)
    print(f"{page} is up to date")


if __name__ == "__main__":
    main()
