"""`python -m tests.soak --minutes 60 --seed 7`: rounds of kills and changed inputs until the time is over.

--only checkpoint,override   these kinds alone; `kills` is one
--again checkpoint:7:3:12    one input once more, with all that is said of it: kind, seed, round and number
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.soak import kills, mutating, project
from tests.soak.inputs import artifacts, checkpoints, pictures, prompts, settings
from tests.soak.judging import STUCK, TRACEBACK, VERDICTS, WRONG, Verdict, judge

KINDS = settings.KINDS | prompts.KINDS | pictures.KINDS | artifacts.KINDS | checkpoints.KINDS
KILLS = "kills"
BEFORE_STAGES = (*settings.KINDS, *prompts.KINDS, "upload")  # what is handed in before anything is made
KILLS_OF_A_ROUND = 6
FAULTS = (WRONG, TRACEBACK, STUCK)


class Soak:
    def __init__(self, folder: Path, seed: str) -> None:
        self.folder, self.seed = folder, seed
        self.counts: dict[str, Counter[str]] = {}
        self.faults: list[tuple[str, Verdict]] = []
        self.whole = folder / "whole/project"
        self._calm: dict[str, kills.Undisturbed] = {}

    def begin(self, kinds: list[str]) -> None:
        """What these kinds need: the project made by its own stages, for kills with copies of how each finds it."""
        project.write(self.whole)
        if not set(kinds) - set(BEFORE_STAGES):
            return
        project.prepare()
        for stage in project.STAGES:
            if KILLS in kinds and stage in kills.KILLED:
                self._calm[stage] = kills.undisturbed(
                    self.folder, stage, _copy(self.whole, self.folder / f"before-{stage}")
                )
            if status := project.run(self.whole, stage):
                raise SystemExit(f"{stage} ends with {status}: {(self.whole.parent / 'said').read_text()}")

    def round(self, kind: str, number: int) -> None:
        if kind == KILLS:
            chance = random.Random(f"{self.seed}:{number}")
            for place in range(KILLS_OF_A_ROUND):
                name = f"{KILLS}:{self.seed}:{number}:{place}"
                self.note(
                    kind, name, kills.trial(self.folder, stage := chance.choice(kills.KILLED), self._calm[stage], name)
                )
            return
        for place, verdict in self._judged(kind, number):
            self.note(kind, f"{kind}:{self.seed}:{number}:{place}", verdict)

    def note(self, kind: str, name: str, verdict: Verdict) -> None:
        self.counts.setdefault(kind, Counter())[verdict.name] += 1
        if verdict.name in FAULTS:
            self.faults.append((name, verdict))
            print(f"\n{verdict.name}: {name}\n{verdict.said[-3000:]}", flush=True)

    def _judged(self, kind: str, number: int) -> Iterator[tuple[int, Verdict]]:
        """In a process of its own: what a library does with garbage may end it."""
        done = 0
        while done < KINDS[kind].count:
            reads, writes = os.pipe()
            child = project.forked(_judge_all, self.whole, kind, f"{kind}:{self.seed}:{number}", done, writes)
            os.close(writes)
            with os.fdopen(reads) as told:
                for line in told:
                    found = json.loads(line)
                    yield done, Verdict(*found)
                    done += 1
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status:
                yield done, Verdict(TRACEBACK, f"the process ends with {status}")
                done += 1
            elif done < KINDS[kind].count:
                return  # there are no more examples


def _judge_all(folder: Path, kind: str, seed: str, done: int, writes: int) -> None:
    os.chdir(folder)
    what = KINDS[kind]
    with os.fdopen(writes, "w") as told:
        for example in mutating.drawn(what.strategy(), seed, KINDS[kind].count)[done:]:
            found = judge(partial(what.run, example), partial(what.wrong, example))
            said = f"{repr(example)[:600]}\n{found.said}" if found.name in FAULTS else ""
            print(json.dumps([found.name, said]), file=told, flush=True)


def _copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, symlinks=True))


def table(counts: dict[str, Counter[str]]) -> str:
    lines = [f"{'':12}{'tried':>8}" + "".join(f"{name:>11}" for name in VERDICTS)]
    for kind, found in counts.items():
        lines.append(f"{kind:12}{found.total():8}" + "".join(f"{found[name]:11}" for name in VERDICTS))
    whole = sum(counts.values(), Counter())
    return "\n".join([*lines, f"{'all':12}{whole.total():8}" + "".join(f"{whole[name]:11}" for name in VERDICTS)])


def soak(minutes: float, seed: str, kinds: list[str], folder: Path) -> Soak:
    """Rounds of all kinds until the minutes are over; each kind has at least one."""
    made = Soak(folder, seed)
    made.begin(kinds)
    end, number = time.monotonic() + 60 * minutes, 0
    while True:
        for kind in kinds:
            if number and time.monotonic() > end:
                return made
            made.round(kind, number)
            print(
                f"\r{made.counts[kind].total()} {kind}, {len(made.faults)} faults ", end="", file=sys.stderr, flush=True
            )
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", default=",".join([*KINDS, KILLS]))
    parser.add_argument("--again")
    given = parser.parse_args()
    kinds = given.only.split(",")
    if unknown := set(kinds) - {*KINDS, KILLS}:
        parser.error(f"there is no kind {sorted(unknown)[0]!r}, but {', '.join([*KINDS, KILLS])}")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        if given.again:
            _again(Path(folder), given.again)
            return
        made = soak(given.minutes, given.seed, kinds, Path(folder))
    print(f"\nseed {given.seed}\n{table(made.counts)}")
    raise SystemExit(1 if made.faults else 0)


def _again(folder: Path, name: str) -> None:
    kind, seed, number, place = name.split(":")
    made = Soak(folder, seed)
    made.begin([kind])
    if kind == KILLS:
        made.round(kind, int(number))
    else:
        made.note(kind, name, dict(made._judged(kind, int(number)))[int(place)])
    print(table(made.counts))


if __name__ == "__main__":
    main()
