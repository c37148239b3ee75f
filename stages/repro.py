"""A command, not a stage: `dvc repro`, told in few lines. Which stage of how many, how long, and what was found.

Consumes what `dvc repro` takes (targets, -f, ...); runs it, hands on what stages say, counts them, and closes with one
sentence and what to open. DVC's own messages are left out, but for its errors. Runs no stage itself.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages import compare, plan
from stages.files import dvcstate, layout
from stages.machine import usage, watcher
from stages.machine.costs import costs
from stages.report import first, results, summary, true_size, verdicts
from stages.settings import config

STARTED = re.compile(r"Running stage '(.+)':$")
SKIPPED = re.compile(r"Stage '(.+)' (?:didn't change, skipping|is cached - skipping run, checking out outputs)$")
KILLED = re.compile(r"exited with -(\d+)\b")
DVC_SAYS = re.compile(
    r"(> python -m stages\.|(Updating|Generating) lock file |To track the changes with git|\tgit add |To enable auto "
    r"staging|\tdvc config core\.autostage|Use `dvc push` |Data and pipelines are up to date|$)"
)


def repro(arguments: list[str]) -> int:
    """DVC's exit code."""
    dvcstate.settle_git(Path.cwd())
    dvcstate.overlook_lock(Path.cwd())
    total, start = count_stages(arguments), time.perf_counter()
    print(f"PocketXL: {total} stages, {foretold(total)}. Stop it when you like: what is finished is kept.", flush=True)
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    told = Counter[str]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as dvc:
        with _ending_together(dvc):
            for line in tell(dvc.stdout or [], total, told):
                print(line, flush=True)
    dvcstate.overlook_lock(Path.cwd())
    took = usage.duration(time.perf_counter() - start)
    print("\n" + (closing(told, took) if dvc.returncode == 0 else stopped(told, total, took)))
    return dvc.returncode


@contextmanager
def _ending_together(dvc: subprocess.Popen[str]) -> Iterator[None]:
    """Nobody is left behind: DVC hands a polite kill on to no stage, and Ctrl-C, which all hear, takes a while."""
    try:
        yield
    except KeyboardInterrupt:
        dvc.wait()
        raise
    except BaseException:
        for pid in watcher.tree(dvc.pid)[::-1]:  # stages before DVC
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        dvc.wait()
        raise


def foretold(total: int) -> str:
    """`about 9 min where nothing is made yet`, of all selected models."""
    settings = config.load(plan.READS, None, [])
    known = plan.usable(settings)
    needs = [need for key in known for need in plan.foretold(key, settings, known).values()]
    others = costs()["process_s"] * max(0, total - len(needs))  # describe, scorer, compare
    return f"about {usage.duration(sum(need.seconds or 0 for need in needs) + others)} where nothing is made yet"


def tell(lines: Iterable[str], total: int, told: Counter[str]) -> Iterator[str]:
    """What is worth reading of DVC's output, stages numbered; `told` counts stages that ran and that were skipped."""
    for line in (line.rstrip("\n") for line in lines):
        if found := STARTED.match(line):
            told["run"] += 1
            yield f"[{told.total():>{len(str(total))}} of {total}] {found[1]}"
        elif SKIPPED.match(line):
            told["skipped"] += 1
        elif not DVC_SAYS.match(line):
            yield KILLED.sub(_named, line)


def _named(found: re.Match[str]) -> str:
    """`exited with -9 (SIGKILL)`: what DVC tells as a number."""
    number = int(found[1])
    return f"{found[0]} ({signal.Signals(number).name})" if number in set(signal.Signals) else found[0]


def count_stages(arguments: list[str]) -> int:
    """Stages of the whole pipeline, or those that the targets among the arguments need, themselves included."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    targets = [argument for argument in arguments if not argument.startswith("-")]
    try:
        with Repo() as repo:
            if not targets:
                return len(repo.index.stages)
            found = [info for target in targets for info in repo.stage.collect_granular(target, with_deps=True)]
            return len({info.stage for info in found})
    except DvcException:  # `dvc repro` will say the same, and what to do
        return 0


def closing(told: Counter[str], took: str) -> str:
    """How long it took, what was found, and where to look."""
    done = f"Done in {took}: {told['run']} stages run, {told['skipped']} unchanged."
    settings = config.load(compare.READS, None, [])
    page = layout.REPORTS / "index.html"
    try:
        found = results.read(settings.models, settings.quantization.name)
    except FileNotFoundError:  # targets that no benchmark was among
        return done
    at_true_size = first.true_size_in_a_sentence(true_size.found())
    judged = verdicts.line(verdicts.judge(found, settings))
    return "\n".join(
        [done, summary.in_a_sentence(found, at_true_size), judged, *([f"Open {page}"] if page.is_file() else [])]
    )


def stopped(told: Counter[str], total: int, took: str) -> str:
    return (
        f"Stopped after {took} at stage {told.total()} of {total}: the reason stands above. What is finished is kept."
    )


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        raise SystemExit(repro(list(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    main()
