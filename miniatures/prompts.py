"""Writes the embedded prompt set of the miniatures: `python -m miniatures.prompts`.

Calibration prompts are combinations that the family was trained on; evaluation prompts are held-out ones, so that
every picture in a report shows something that was never seen in training.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from miniatures import emoji

FILE = Path("stages/prompts/emoji.jsonl")
CALIBRATION, EVALUATION = 120, 40
# Evaluation prompts in any case:
ALWAYS = ("panda", "cactus", "strawberry", "rocket", "butterfly", "turtle", "owl", "sunflower")


def rows() -> list[dict[str, str]]:
    """`id`, `text` and `split` of every prompt; subjects differ from prompt to prompt within a split."""
    random = np.random.default_rng(0)
    order = [str(subject) for subject in random.permutation(emoji.subjects())]
    trained = [combination for combination in emoji.combinations() if not emoji.held_out(*combination)]
    hidden = [combination for combination in emoji.combinations() if emoji.held_out(*combination)]

    def pick(combinations: list[tuple[str, str, str]], subjects: list[str]) -> list[tuple[str, str, str]]:
        chosen = []
        for number, subject in enumerate(subjects):
            style = emoji.STYLES[number % len(emoji.STYLES)]
            own = [c for c in combinations if c[0] == subject and c[2] == style]
            chosen.append(own[random.integers(len(own))])
        return chosen

    others = [subject for subject in order if subject not in ALWAYS]
    parts = {
        "calibration": pick(trained, order[:CALIBRATION]),
        "evaluation": pick(hidden, [*ALWAYS, *others][:EVALUATION]),
    }
    return [
        {"id": f"{split[:4]}-{number:03}", "text": emoji.caption(*combination), "split": split}
        for split, combinations in parts.items()
        for number, combination in enumerate(combinations)
    ]


def main() -> None:
    FILE.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    print(f"{FILE}: {CALIBRATION} prompts for calibration, {EVALUATION} for evaluation")


if __name__ == "__main__":
    main()
