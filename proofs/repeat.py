"""Two runs of one benchmark: how many figures of the second lie in the first one's 95 % interval.

Consumes what `dvc repro benchmark@MODEL` consumes, made before; adds to proofs/results/repeat.json. The first run is
several sittings, each `python -m stages.benchmark` in a fresh process, in a scratch folder that shares everything but
what is measured; the second is one more of them. A sitting that found the machine busy (`noise.flagged`, whatever its
times are) is set aside and repeated, as many times in all as there are sittings. proofs.agreement says why one
sitting's own interval is not enough. What a machine does differently tomorrow is not in it, unless --pause puts that
much between the sittings. Ends with status 1 where fewer than nine of ten figures agree.

    python -m proofs.repeat mini-vega
    python -m proofs.repeat mini-vega --sittings 8 --pause 300 benchmark.prompts=4
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from proofs import agreement
from stages.files import layout, placing
from stages.machine import description
from stages.machine.usage import duration
from stages.settings import config

RESULTS = Path("proofs/results/repeat.json")
SHARED = ("params.yaml", "stages", "conf", "miniatures", "artifacts/ir", "artifacts/scorer", "reports/machine.json")


def prepare(root: Path) -> None:
    """Links to all that a benchmark reads."""
    for name in SHARED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(Path(name).resolve())


def sitting(root: Path, model: str, overrides: list[str]) -> dict[str, Any]:
    """The record of one benchmark from its beginning, in a process of its own."""
    command = [sys.executable, "-m", "stages.benchmark", model, *overrides]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise ValueError(f"benchmark of {model}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads((root / layout.benchmark(model) / "record.json").read_text())


def run(model: str, overrides: list[str], sittings: int, pause_s: float) -> tuple[list[dict[str, Any]], int]:
    """Records of so many sittings, one after the other, and how many were set aside: busy ones are kept only where
    twice as many did not do."""
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir="artifacts", prefix=".repeat.partial-") as scratch:
        prepare(Path(scratch))
        while len(records) < 2 * sittings and sum(map(quiet, records)) < sittings:
            time.sleep(pause_s if records else 0)
            start = time.perf_counter()
            records.append(sitting(Path(scratch), model, overrides))
            took, busy = duration(time.perf_counter() - start), "" if quiet(records[-1]) else ": the machine was busy"
            print(f"sitting {len(records)}, {sum(map(quiet, records))} of {sittings} quiet: {took}{busy}", flush=True)
    kept = list(filter(quiet, records))
    return (kept if len(kept) == sittings else records[-sittings:]), len(records) - sittings


def quiet(record: dict[str, Any]) -> bool:
    return not record["noise"]["flagged"]


def entry(records: list[dict[str, Any]], aside: int, overrides: list[str], pause_s: float) -> dict[str, Any]:
    """What is kept of a model: the last record is the second run."""
    rows = agreement.compared(records[:-1], records[-1])
    return {
        "machine": description.describe()["cpu"], "overrides": overrides, "sittings": len(records) - 1,
        "pause_s": pause_s, "busy": len(records) - sum(map(quiet, records)), "set_aside": aside,
        "summary": agreement.summary(rows), "rows": rows,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A line for every figure; an x before those that lie outside."""
    wide = max(len(row["name"]) for row in rows)
    lines = [f"  {'':{wide}}  {'95 % interval of the first run':>32}  {'second run':>12}"]
    for row in rows:
        span = f"{row['low']:.6g} to {row['high']:.6g}" if row["varies"] else f"always {row['low']:.6g}"
        lines.append(f"{' ' if row['within'] else 'x'} {row['name']:{wide}}  {span:>32}  {row['second']:>12.6g}")
    return "\n".join(lines)


def closing_lines(found: dict[str, Any]) -> str:
    """The last is `41 of 42 figures of the second run lie in the first one's 95 % interval (...)`."""
    told = found["summary"]
    within = {name: f"{told[name][0]} of {told[name][1]}" for name in ("all", "varying", "same", "own")}
    busy = f"{found['busy']} of {found['sittings'] + 1} sittings found the machine busy, {found['set_aside']} set aside"
    said = [busy] if found["busy"] or found["set_aside"] else []
    said.append(
        f"by one sitting's own raw values {within['own']} would (an interval over sittings is "
        f"±{100 * told['half_width']:.1f} % wide, the median of those that vary)"
    )
    said.append(
        f"{within['all']} figures of the second run lie in the first one's 95 % interval ({within['varying']} of those "
        f"that vary from sitting to sitting, {within['same']} of those that do not)"
    )
    return "\n".join(said)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.repeat", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("overrides", nargs="*", help="of the settings, as the stage takes them")
    parser.add_argument("--sittings", type=int, default=agreement.LEAST, help="of the first run (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between sittings (%(default)s)")
    given = parser.parse_intermixed_args(argv)
    if given.sittings < agreement.LEAST:
        parser.error(f"--sittings must be at least {agreement.LEAST}, got {given.sittings}")
    with config.main_guard():
        records, aside = run(given.model, given.overrides, given.sittings + 1, given.pause)
        found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        found[given.model] = entry(records, aside, given.overrides, given.pause)
        placing.write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    print(table(found[given.model]["rows"]))
    print(closing_lines(found[given.model]))
    if not agreement.agrees(found[given.model]["summary"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
