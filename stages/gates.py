"""A command, not a stage: whether what was measured passes the gates that conf/gates asks for, by its exit status.

Consumes the records of benchmarks and the section `gates` of params.yaml (`python -m stages.gates mini-vega
gates.min_sqnr_db=33`: models, all without, and settings); prints a table, why a gate is undecided or does not apply,
and one line. Exit status: 0 every gate that applies passed, 1 one failed, 3 none failed and one is undecided, 2 a wrong
setting or nothing measured. Measures nothing.
"""

from __future__ import annotations

import argparse

from stages import compare
from stages.report import results, verdicts, words
from stages.report.verdicts import Verdict
from stages.settings import checks, config

HEADS = ["gate", "asked", "found, 95 % interval", "verdict"]


def gates(models: list[str], overrides: list[str]) -> list[Verdict]:
    """Of these models, or of all that are selected."""
    settings = config.load(compare.READS, None, overrides)
    for model in models:
        checks.model_key(settings.models, model)
    chosen = {key: settings.models[key] for key in models or settings.models}
    return verdicts.judge(results.read(chosen, settings.quantization.name), settings)


def told(said: list[Verdict]) -> str:
    """The table, the reasons, and the one line."""
    rows = [[f"{one.title} {one.scheme}: {one.gate.head}", one.bound, one.found, one.verdict] for one in said]
    parts = [words.table([HEADS, *rows]) if rows else "", "\n".join(verdicts.reasons(said)), verdicts.line(said)]
    return "\n\n".join(part for part in parts if part)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.gates", description=__doc__.splitlines()[0])
    parser.add_argument(
        "words", nargs="*", metavar="model or key=value", help="models, all without; gates.min_ssim=0.9"
    )
    given = parser.parse_args(argv).words
    with config.main_guard():
        said = gates([word for word in given if "=" not in word], [word for word in given if "=" in word])
        print(told(said))
    raise SystemExit(verdicts.STATUS[verdicts.overall(said)])


if __name__ == "__main__":
    main()
