"""A command, not a stage: two sets of figures side by side, a verdict for each figure, short enough for a pull request.

    python -m stages.history HEAD~5                          # what git held then, and what was measured here
    python -m stages.history main reports/benchmark times=0.1
    python -m stages.history mini-vega:int8 mini-vega:int8-weights

Consumes figures of a folder, of a git revision or DVC experiment, or of a scheme of this working tree; prints what is
compared, what changed, and what cannot be said. Without a second one: this working tree's benchmarks, or, where nothing
was measured, its reference figures. Exit status 0, 1 where a verdict of `--fail-on` was found, 2 where nothing can be
compared. Measures nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from stages.files import layout
from stages.report import differences, differences_text, revisions, sides
from stages.report.differences import TOLERANCES, VERDICTS
from stages.report.sides import Measured, Side
from stages.settings import checks, config

HERE = Path(".")
REFERENCE = "reference"
ALLOWED = (
    "a folder of figures (reports/benchmark, reports/reference/<machine>, another clone), 'reference', a git revision, "
    "an experiment of `dvc exp run -n NAME`, a scheme measured here"
)


def history(names: list[str], tolerances: dict[str, float], every: bool = False) -> tuple[str, set[str]]:
    """What is printed, and the verdicts in it."""
    before, after = matched(*(found(name) for name in names))
    pairs = differences.paired(before, after)
    if not pairs:
        have = [f"{side.name} has {', '.join(side.models)}" for side in (before, after)]
        raise ValueError(f"no model is on both sides: {'; '.join(have)}")
    said = differences.differences(pairs, tolerances)
    return differences_text.text(before, after, pairs, said, tolerances, every), {one.verdict for one in said}


def found(name: str) -> list[Side]:
    """What a word stands for: one side, or several machines' reference figures."""
    place = layout.REPORTS / REFERENCE if name == REFERENCE else Path(name)
    if place.is_dir() and (known := sides.sides(shown(name), sides.in_folder(place))):
        return known
    if schemes := measured_here(name):
        return [Side(name, "of this working tree", schemes)]
    revision, _, machine = name.partition(":")
    if commit := revisions.commit(revision):
        return of_commit(name, commit, machine)
    if place == HERE:
        raise FileNotFoundError(f"{layout.BENCHMARKS} has no figures: run 'dvc repro' first, or name what to compare")
    raise ValueError(f"{name!r} names no figures; allowed: {ALLOWED} ({', '.join(schemes_here()) or 'none yet'})")


def of_commit(name: str, commit: str, machine: str) -> list[Side]:
    """`machine`: which one of several in reports/reference."""
    files = revisions.files(commit)
    if layout.MACHINE.is_file():  # an experiment's record names its machine only
        files.setdefault(sides.MACHINE, layout.MACHINE.read_text(encoding="utf-8"))
    known = [side for side in sides.sides(name, files) if side.where.endswith(machine)]
    if not known:
        named = f" of {machine}" if machine else ""
        raise ValueError(f"git holds no figures{named} at {revisions.dated(commit)}: none in reports/reference")
    return [replace(side, where=f"{side.where}, committed in {revisions.dated(commit, side.where)}") for side in known]


def measured_here(name: str) -> dict[str, list[Measured]]:
    """Of `int8`, or `mini-vega:int8`: every sitting of this working tree that measured it, by model."""
    model, _, scheme = name.rpartition(":")
    by_model = {key: every for key, every in sittings().items() if not model or key == model}
    kept = {key: [replace(one, scheme=scheme) for one in every] for key, every in by_model.items()}
    kept = {key: [one for one in every if one.row()] for key, every in kept.items()}
    return {key: every for key, every in kept.items() if every}


def sittings() -> dict[str, list[Measured]]:
    """Comparisons of schemes come before the benchmark, as they measured more of them."""
    files = sides.in_folder(HERE) if layout.REPORTS.is_dir() else {}
    described = sides.described(files)
    every: dict[str, list[Measured]] = {}
    together = {file.as_posix(): file.read_text("utf-8") for file in layout.REPORTS.glob("schemes/*/record.json")}
    for path, text in (together | files).items():
        if (part := sides.OWN.fullmatch(path)) and part["form"] == "record":
            about = sides.measured(path, {path: text}, described.get(sides.MACHINE, {}), described.values())
            every.setdefault(part["model"], []).append(about)
    return every


def schemes_here() -> list[str]:
    found = [
        f"{model}:{name}" for model, all_ in sittings().items() for one in all_ for name in one.record["precisions"]
    ]
    return list(dict.fromkeys(found))


def matched(before: list[Side], after: list[Side]) -> tuple[Side, Side]:
    """Of several machines' reference figures those of the machine that the other side has too."""
    both = [(one, other) for one in before for other in after]
    same = [pair for pair in both if machine(pair[0]).get("id") == machine(pair[1]).get("id")]
    same = same or [pair for pair in both if sides.same_hardware(*map(machine, pair))]
    if len(both) > 1 and len(same) != 1:
        choices = dict.fromkeys(side.where for several in (before, after) if len(several) > 1 for side in several)
        raise ValueError(
            f"these are figures of several machines, name one, REVISION:MACHINE in git: {', '.join(choices)}"
        )
    return (same or both)[0]


def machine(side: Side) -> dict:
    return next(iter(side.models.values()))[0].machine


def shown(name: str) -> str:
    return "this working tree" if Path(name) == HERE else name


def tolerances(words: list[str]) -> dict[str, float]:
    """`["times=0.1"]`: with what else TOLERANCES says."""
    chosen = dict(TOLERANCES)
    for word in words:
        key, _, text = word.partition("=")
        if key not in chosen:
            raise ValueError(checks.unknown(key, list(chosen)))
        try:
            chosen[key] = float(text)
        except ValueError:
            chosen[key] = -1.0
        if not 0 <= chosen[key] < float("inf"):
            raise ValueError(
                f"{key} must be a tolerance of at least 0, for instance {key}={TOLERANCES[key]}, got {text!r}"
            )
    return chosen


def stopping(words: str) -> set[str]:
    """Verdicts of `--fail-on slower,worse,cannot-say`."""
    asked = {word.strip().replace("-", " ") for word in words.split(",") if word.strip()}
    if wrong := sorted(asked - set(VERDICTS)):
        allowed = ", ".join(one.replace(" ", "-") for one in VERDICTS)
        raise ValueError(f"--fail-on {wrong[0].replace(' ', '-')} is no verdict; allowed: {allowed}")
    return asked


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.history", description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="+", metavar="BEFORE [AFTER] [key=value]", help=f"{ALLOWED}; tolerances: "
                        f"{' '.join(f'{key}={value}' for key, value in TOLERANCES.items())}")  # fmt: skip
    parser.add_argument("--fail-on", default="", metavar="slower,worse", help="verdicts that end with status 1")
    parser.add_argument("--all", action="store_true", help="a row for every figure, the unchanged ones too")
    given = parser.parse_args(argv)
    with config.main_guard():
        names = [word for word in given.words if "=" not in word]
        if not 1 <= len(names) <= 2:
            raise ValueError(f"one or two sets of figures are compared, got {len(names)}: {', '.join(names)}")
        stop, allowed = stopping(given.fail_on), tolerances([word for word in given.words if "=" in word])
        text, verdicts = history([*names, str(HERE)][:2], allowed, given.all)
        print(text)
    raise SystemExit(1 if stop & verdicts else 0)


if __name__ == "__main__":
    main()
