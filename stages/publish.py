"""A command, not a stage: an IR folder handed on, with card, figures, pictures and licence. First it only shows.

    python -m stages.publish mini-vega --to hub:me/mini-vega-int8            # shows; --yes publishes
    python -m stages.publish mini-vega fp16 --to hub:me/mini-vega --public --yes
    python -m stages.publish mini-vega --to dvc --yes                        # DVC's registry, and its default remote

Consumes artifacts/ir/<model>/<precision>, the selected scheme's without, and what was measured of it; produces
artifacts/staged/<model>/<precision> and, told to, a commit of a Hub repository or a version in DVC's registry. Nothing
else in this project sends anything anywhere. Exit status: 0, 1 where a dry run finds reasons against it, 2 an error.
"""

from __future__ import annotations

import argparse
from typing import Any

from stages import compare
from stages.publishing import chosen as choosing
from stages.publishing import hub, refusals, registry, shown, staging
from stages.settings import checks, config

Way = hub.Way | registry.Way


def publish(model: str, precision: str, settings: Any, way: Way) -> str:
    """Hand it on, or say why not; returns the closing line."""
    if reasons := way.reasons():  # before gigabytes are read
        raise ValueError(shown.refused(f"{model} {precision}", reasons))
    chosen = choosing.read(model, precision, settings)
    if reasons := refusals.reasons(chosen, settings):
        raise ValueError(shown.refused(chosen, reasons))
    return way.publish(chosen, staging.stage(chosen, getattr(way, "repository", None)))


def preview(model: str, precision: str, settings: Any, way: Way) -> tuple[str, list[str]]:
    """What would be published, and all that is in the way of it."""
    try:
        chosen = choosing.read(model, precision, settings)
    except (ValueError, FileNotFoundError) as error:
        return f"{model} {precision}", [str(error), *way.reasons()]
    reasons = refusals.reasons(chosen, settings)
    folder = chosen.folder if reasons else staging.stage(chosen, getattr(way, "repository", None))
    text = shown.preview(chosen, folder, staging.sizes(folder), way.described(chosen))
    return text, [*reasons, *way.reasons()]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.publish", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a key under `model` in params.yaml, for instance mini-vega")
    parser.add_argument("words", nargs="*", metavar="precision | gates.key=value", help="fp16, or a scheme's name, "
                        "the selected one's without; gates to ask for less or more than params.yaml does")  # fmt: skip
    parser.add_argument("--to", required=True, metavar="hub:OWNER/NAME | dvc", help="where to")
    parser.add_argument("--yes", action="store_true", help="publish; without it, only show what that would do")
    parser.add_argument("--public", action="store_true", help="a Hub repository that everybody sees")
    parser.add_argument("--replace", action="store_true", help="also replace what others put into the Hub repository")
    parser.add_argument("--remote", metavar="NAME", help="a remote of DVC's, the default one without")
    return parser.parse_intermixed_args(argv)


def way_of(given: argparse.Namespace) -> Way:
    kind, _, repository = given.to.partition(":")
    if kind == "hub" and given.remote is None:
        return hub.Way(repository, given.public, given.replace)
    if given.to == "dvc" and not (given.public or given.replace):
        return registry.Way(given.remote)
    raise ValueError(
        f"--to must be hub:OWNER/NAME, with --public and --replace if you like, or dvc, with --remote; got {given.to!r}"
    )


def main(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    with config.main_guard():
        names = [word for word in given.words if "=" not in word]
        settings = config.load(compare.READS, None, [word for word in given.words if "=" in word])
        checks.model_key(settings.models, given.model)
        if len(names) > 1:
            raise ValueError(f"one precision is published at a time, got {', '.join(names)}")
        what, way = (given.model, *(names or [settings.quantization.name]), settings), way_of(given)
        if given.yes:
            print(publish(*what, way))
            return
        text, reasons = preview(*what, way)
        print(text)
    if reasons:
        print("\n" + shown.refused("It", reasons))
        raise SystemExit(1)
    print("\nNothing was sent. The same command with --yes publishes it.")


if __name__ == "__main__":
    main()
