import base64
import io

import pytest
from PIL import Image

from stages.report import pictures
from stages.report.pictures import Grid, Row


def plain(colour: str, size: int = 8) -> Image.Image:
    return Image.new("RGB", (size, size), colour)


def test_a_picture_of_another_size_or_mode_is_refused_by_name(tmp_path):
    plain("red", 16).save(tmp_path / "large.png")
    plain("red").convert("L").save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"large\.png must be RGB of 8 x 8 pixels, got RGB of 16 x 16.*benchmark@m"):
        pictures.read(tmp_path / "large.png", (8, 8), rerun="benchmark@m")
    with pytest.raises(ValueError, match=r"grey\.png must be RGB of 8 x 8 pixels, got L"):
        pictures.read(tmp_path / "grey.png", (8, 8), rerun="benchmark@m")


def test_an_absent_a_truncated_and_a_text_file_are_refused_by_name(tmp_path):
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    noise.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(FileNotFoundError, match=r"none\.png is missing: run 'dvc repro b'"):
        pictures.read(tmp_path / "none.png", 64, rerun="b")
    for name in ("cut.png", "text.png"):
        with pytest.raises(ValueError, match=f"{name} is not a readable picture"):
            pictures.read(tmp_path / name, 64, rerun="b")


def test_the_difference_is_amplified_and_clipped():
    found = pictures.difference(plain("#0a0a0a"), plain("#0c0a64"), 8)
    assert found.getpixel((0, 0)) == (16, 0, 255)


def test_a_grid_places_every_picture_in_its_row_and_column():
    colours = [["#ff0000", "#00ff00"], ["#0000ff", None]]
    rows = [Row(f"row {n}", "", [colour and plain(colour) for colour in line]) for n, line in enumerate(colours)]
    drawn = pictures.draw(Grid("title", ["one", "two"], rows), cell=40)
    right, bottom = drawn.width - pictures.PAD - 20, drawn.height - pictures.PAD - 20
    step = 40 + pictures.GAP
    assert drawn.getpixel((right - step, bottom - step)) == (255, 0, 0)
    assert drawn.getpixel((right, bottom - step)) == (0, 255, 0)
    assert drawn.getpixel((right - step, bottom)) == (0, 0, 255)
    assert drawn.getpixel((right, bottom)) == (0xEE, 0xF0, 0xF3)


def test_labels_fit_their_column_and_a_group_stands_apart():
    face = pictures.font(11)
    lines = pictures.wrap("an extraordinarily long prompt about a teapot that never seems to come to an end", face, 80)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(face.getlength(line) <= 80 for line in lines)
    assert face.getlength(pictures.wrap("x" * 90, face, 80)[0]) <= 80
    rows = [Row("a", "", [plain("red")]), Row("b", "", [plain("red")])]
    apart = [rows[0], Row("b", "", [plain("red")], tall=True)]
    heights = [pictures.draw(Grid("", ["p"], some)).height for some in (rows, apart)]
    assert heights[1] - heights[0] == 2 * pictures.GAP


def test_a_thumbnail_is_a_picture_within_the_address():
    head, _, body = pictures.data_uri(plain("#3366cc"), 32).partition(",")
    assert head == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (32, 32)


def test_letters_that_the_font_lacks_are_told_by_name():
    assert pictures.drawable("a caf\u00e9, 3 \u20ac") == "a caf\u00e9, 3 \u20ac"
    assert pictures.drawable("a \U0001f9a9 and \u732b") == "a [flamingo] and [U+732B]"
    grid = Grid("\u732b", ["\U0001f9a9"], [Row("x", "", [plain("red")])])
    assert pictures.draw(grid, 32).size[0] > 32
