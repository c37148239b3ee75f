"""The family at its true size on a named machine: time, memory and size of FP16 and INT8, without any picture.

Consumes what `python -m stages.true_size` found, here or where the committed figures come from; produces a table for
the README, for the terminal and for the page's first screen. Measures nothing.
"""

from __future__ import annotations

from typing import Any

from stages.files import layout, records
from stages.report import words

HEADS = ("", "parameters", "UNet", "memory", "UNet step", "speed (95 %)", "decode", "a picture")
ON_PAGE = ("UNet", "memory", "UNet step", "speed (95 %)", "a picture")


def found() -> dict[str, Any] | None:
    """Figures of this machine, or the committed ones that `describe` put there; None where there are none."""
    if not layout.TRUE_SIZE.is_file():
        return None
    return records.read(layout.TRUE_SIZE, "describe") or None


def on_page(figures: dict[str, Any]) -> dict[str, Any]:
    """The columns that fit beside a picture."""
    chosen = [number for number, head in enumerate(HEADS) if head in ON_PAGE]
    rows = [[row[number] for number in (0, *chosen)] for row in map(cells, figures["rows"])]
    return {"machine": machine(figures), "heads": [HEADS[number] for number in chosen], "rows": rows}


def cells(row: dict[str, Any]) -> list[str]:
    """One model: FP16 → INT8 throughout."""
    before, after = row["fp16"], row[quantized(row)]
    memory = [f"{entry['peak_rss_mb'] / 1000:.1f}" if entry["peak_rss_mb"] else words.DASH for entry in (before, after)]
    steps = f"{row['steps']} step{'s' if row['steps'] > 1 else ''}"
    return [
        row["title"].removesuffix(" (random weights)"),
        f"{row['parameters'] / 1e9:.1f} B",
        f"{before['unet_mb'] / 1000:.2f} → {after['unet_mb'] / 1000:.2f} GB",
        f"{memory[0]} → {memory[1]} GB",
        f"{before['step_s']['median']:.2f} → {after['step_s']['median']:.2f} s",
        words.gain(*(row["speedup_step"][name] for name in ("ratio", "low", "high"))),
        f"{row['parts_s']['vae_decoder']['median']:.2f} s",
        f"{picture_s(row, 'fp16'):.1f} → {picture_s(row, quantized(row)):.1f} s ({steps})",
    ]


def picture_s(row: dict[str, Any], precision: str) -> float:
    """Seconds of text encoders for every row, steps and decoding; of a refiner what it adds to its base's."""
    text = sum(entry["median"] for part, entry in row["parts_s"].items() if part.startswith("text"))
    decode = row["parts_s"]["vae_decoder"]["median"]
    return row["rows"] * text + row["steps"] * row[precision]["step_s"]["median"] + decode


def quantized(row: dict[str, Any]) -> str:
    """The name of the precision beside FP16."""
    return next(
        name for name, entry in row.items() if name != "fp16" and isinstance(entry, dict) and "unet_mb" in entry
    )


def line(row: dict[str, Any]) -> str:
    return ", ".join(f"{head} {cell}".strip() for head, cell in zip(HEADS, cells(row), strict=True))


def terminal(figures: dict[str, Any]) -> str:
    return "\n".join([words.table([list(HEADS), *map(cells, figures["rows"])]), "", machine(figures)])


def markdown(figures: dict[str, Any]) -> str:
    rows = [list(HEADS), ["---", *["---:"] * (len(HEADS) - 1)], *map(cells, figures["rows"])]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(figures: dict[str, Any]) -> str:
    """`2 cores of an Intel Xeon Processor with amx_int8, floats in bf16, pictures of 512 pixels`"""
    about, row = figures["machine"], figures["rows"][0]
    fastest = [name for name in about["instruction_sets"] if "amx_int8" in name or "vnni" in name]
    with_sets = f" with {fastest[-1]}" if fastest else ""
    return (
        f"{about['cores']} cores of {about['cpu']}{with_sets}, floats in {figures['floats']}, {row['size_px']} pixels"
    )
