"""Command `generate`: pictures of any IR at hand, from the shell or from Python.

    python -m stages.generate mini-vega "an owl sticker on a teal background" owl.png
    python -m stages.generate mini-vega @prompts.txt owls seed=1,2,3 steps=12

Consumes an IR folder of artifacts/ir or anywhere else, a prompt or a file with one in every line, and fields of a
request; produces a PNG that holds what reproduces it, or a folder of them with a grid.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files import placing
from stages.report import pictures
from stages.report.pictures import Grid, Row
from stages.settings import config
from stages.studio import metadata, shelf, uploads
from stages.studio import request as requests
from stages.studio.request import Request
from stages.studio.shelf import Item

if TYPE_CHECKING:
    from stages.studio.studio import Drawn, Progress, Studio

READS = ("device",)
PRECISION, BASE = "precision", "base"  # words that choose a folder; the others are fields of a request
MOST = 10_000  # pictures of one command
ACROSS, GRID_PX, LABEL_PX = 8, 256, 260  # pictures in a row of one prompt's; sides of a picture and of a prompt in it


def generate(model: str, prompt: str, studio: Studio | None = None, **given: Any) -> Drawn:
    """One picture: `generate("mini-vega", "an owl sticker", seed=7).picture.save("owl.png")`.

    `model` is a key of artifacts/ir or the path of an IR folder; `given` are `precision` and fields of a `Request`
    over the model's own values. A `studio` keeps what it loaded for the next picture. Refused (a ValueError) names the
    field.
    """
    item, base = chosen(model, given)
    studio = studio or new_studio()
    return studio.draw(requests.make(item, prompt=prompt, **given), item=item, base=base)


def new_studio(*overrides: str) -> Studio:
    """A studio on the device that params.yaml names, with overrides such as device.threads=2."""
    from stages.studio.studio import Studio

    return Studio(config.load(READS, None, list(overrides)).device)


def chosen(model: str, given: dict[str, Any]) -> tuple[Item, Item | None]:
    """The folder to draw with, and a refiner's base where it is named; takes their words out of `given`."""
    precision, base = given.pop(PRECISION, None), given.pop(BASE, None)
    return _item(model, precision), _item(base, None) if base else None


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        arguments = _arguments(argv)
        words, overrides = _words(arguments.words)
        item, base = chosen(arguments.model, words)
        out = Path(arguments.out)
        asked = list(_requests(item, arguments.prompt, words))
        _check_out(out, len(asked))
        studio = new_studio(*overrides)
        start = time.perf_counter()
        drawn = [_draw(studio, one, item, base, f"{n} of {len(asked)}") for n, one in enumerate(asked, 1)]
        for said in dict.fromkeys(sentence for one in drawn for sentence in one.said):
            print(f"note: {said}")
        write(drawn, out)
        print(closing_line(drawn, out, time.perf_counter() - start))


def write(drawn: list[Drawn], out: Path) -> None:
    """One picture under its name; several in a folder that appears when it is whole, with all of them in grid.png."""
    if out.suffix:
        metadata.write(drawn[0], out)
        return
    with placing.whole(out) as folder:
        for number, one in enumerate(drawn, 1):
            metadata.write(one, folder / f"{number:04d}.png")
        pictures.draw(grid(drawn), GRID_PX).save(folder / "grid.png")


def grid(drawn: list[Drawn]) -> Grid:
    """A row for each prompt and a column for each seed; of one prompt, rows of as many seeds as fit."""
    first = drawn[0].request
    prompts = list(dict.fromkeys(one.request.prompt for one in drawn))
    seeds = len(drawn) // len(prompts)
    across = seeds if len(prompts) > 1 else min(seeds, ACROSS)
    rows = []
    for start in range(0, len(drawn), across):
        mine = drawn[start : start + across]
        label = pictures.shorten(mine[0].request.prompt, pictures.font(15, bold=True), LABEL_PX)
        detail = f"seed {mine[0].request.seed}" + (f" to {mine[-1].request.seed}" if len(mine) > 1 else "")
        rows.append(Row(label, detail, [one.picture for one in mine] + [None] * (across - len(mine))))
    title = f"{first.model} {first.precision}, {first.steps} steps, guidance {first.guidance:g}"
    return Grid(title, [""] * across, rows)


def closing_line(drawn: list[Drawn], out: Path, seconds: float) -> str:
    last = drawn[-1]
    where = out if out.suffix else f"{out}/0001.png to {len(drawn):04d}.png and grid.png"
    own_s = sum(one.seconds["whole"] - one.seconds["load"] for one in drawn) / len(drawn)
    per = "" if len(drawn) == 1 else f"{len(drawn)} pictures of "
    return (
        f"generate {last.request.model} {last.request.precision}: {per}{own_s:.2f} s drawing "
        f"({seconds:.1f} s with loading), {last.memory_mb / 1000:.1f} GB of memory -> {where}"
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.generate", description="draw a picture, or several, with the IR at hand"
    )
    parser.add_argument("model", help="a key of artifacts/ir, for instance mini-vega, or the path of an IR folder")
    parser.add_argument("prompt", help="what is to be seen; @FILE: a prompt in every line of it")
    parser.add_argument("out", help="a .png, or for several pictures a folder")
    said = f"{PRECISION}, {BASE} (a refiner's), {', '.join(requests.GIVEN)}; seed=1,2,3; image=FILE; device.*"
    parser.add_argument("words", nargs="*", metavar="key=value", help=said)
    return parser.parse_args(argv)


def _words(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Fields and overrides of device.*, apart."""
    fields: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} must look like key=value, for instance steps=12")
        if key in fields:
            raise ValueError(f"{key} is given twice")
        if not key.startswith("device."):
            fields[key] = text
    return fields, [word for word in words if word.startswith("device.")]


def _requests(item: Item, prompt: str, words: dict[str, Any]) -> Iterator[Request]:
    """Every prompt with every seed, checked before the first is drawn."""
    if "prompt" in words:
        raise ValueError("prompt stands before the picture's name, not among key=value")
    given = words | ({"image": uploads.read(words["image"])} if "image" in words else {})
    seeds = str(given.pop("seed", 0)).split(",")
    prompts = _prompts(prompt)
    if len(prompts) * len(seeds) > MOST:
        raise ValueError(f"{len(prompts)} prompts with {len(seeds)} seeds are more than {MOST:,} pictures")
    for text in prompts:
        for seed in seeds:
            yield requests.make(item, prompt=text, seed=seed.strip(), **given)


def _prompts(said: str) -> list[str]:
    if not said.startswith("@"):
        return [said]
    path = Path(said[1:])
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}") from error
    if not any(lines):
        raise ValueError(f"{path} holds no prompt: one in every line is wanted")
    return [line for line in lines if line]


def _item(model: str, precision: str | None) -> Item:
    """Of artifacts/ir by its key, or of any folder by its path."""
    if "/" not in model and not Path(model, "manifest.json").is_file():
        try:
            return shelf.choose(shelf.find(), model, precision)
        except ValueError as error:
            raise ValueError(shelf.damaged(model, precision) or str(error)) from error
    found = shelf.item(Path(model))
    if precision not in (None, found.precision):
        raise ValueError(f"{model} is in {found.precision}, not in {precision}")
    return found


def _check_out(out: Path, count: int) -> None:
    if out.suffix not in ("", ".png"):
        raise ValueError(f"{out} must end in .png, the format that holds what reproduces a picture")
    if out.suffix and count > 1:
        raise ValueError(f"{count} pictures do not fit into {out}: name a folder")
    if out.exists():
        raise ValueError(f"{out} is there already: choose another name, or remove it")


def _draw(studio: Studio, request: Request, item: Item, base: Item | None, count: str) -> Drawn:
    with _bar(request, count) as tell:
        return studio.draw(request, tell, item=item, base=base)


@contextmanager
def _bar(request: Request, count: str) -> Iterator[Any]:
    from tqdm import tqdm

    with tqdm(total=request.steps, desc=f"picture {count}", unit="step", disable=None, leave=False) as bar:

        def tell(progress: Progress) -> None:
            bar.total = progress.steps or bar.total
            bar.set_postfix_str(progress.part)
            bar.update(progress.step - bar.n)

        yield tell


if __name__ == "__main__":
    main()
