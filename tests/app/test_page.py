"""The page in a real browser: what a person does with it, and what it does with whatever a person may do."""

from __future__ import annotations

import asyncio
import io
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import browser
from tests.app import listening
from tests.odd_pictures import png_that_says

pytest.importorskip("gradio")
pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)

AT = "parseFloat(getComputedStyle(document.querySelector('#compared')).getPropertyValue('--at'))"
GOING = "document.querySelector('#easel progress')?.value > 2"
LONG = {"steps": "1000", "width": "96", "height": "96"}  # half a minute, even of the tiny UNet


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        return answer.read()


def cut_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((200, 200), 80).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()[:3000]


@pytest.fixture(scope="module")
def picture(visit, tmp_path_factory) -> Path:
    """A PNG as somebody kept it."""

    async def story(page):
        await page.write("prompt", 'a red <owl> & "moon"')
        await page.write("steps", "4")
        await page.write("width", "96")
        await page.draw()
        address = await page.drawn()
        return fetched(address), await page.text("#easel"), await page.value("seed")

    content, said, seed = visit(story)
    assert f"seed {seed}" in said and "4 steps" in said and "96 × 32" in said and 'a red <owl> & "moon"' in said
    assert all(word in said for word in ("loading", "UNet, all steps", "decoding", "memory of the process", "GB"))
    path = tmp_path_factory.mktemp("kept") / "owl.png"
    path.write_bytes(content)
    return path


def test_what_the_page_says_and_does_when_it_is_opened(visit, page):
    async def story(page):
        return [await page.value(name) for name in ("model", "precision", "steps", "guidance", "width", "scheduler")]

    assert visit(story) == ["base", "int8", "3", "5", "32", "EulerDiscreteScheduler"]


def test_a_png_dropped_back_fills_every_field_and_draws_the_same_picture(visit, picture):
    async def story(page):
        await page.drop("dropped", picture)
        await page.until("document.querySelector('#read')?.innerText.includes('All settings')")
        fields = [await page.value(name) for name in ("prompt", "steps", "width", "height")]
        await page.draw()
        return fields, fetched(await page.drawn())

    fields, content = visit(story)
    assert fields == ['a red <owl> & "moon"', "4", "96", "32"]
    assert Image.open(io.BytesIO(content)).tobytes() == Image.open(picture).tobytes()


def test_a_link_opens_the_page_with_the_picture_s_settings(visit, picture):
    from stages.studio import metadata

    found = metadata.read(picture)
    query = urllib.parse.urlencode({name: found[name] for name in ("model", "precision", "task", "prompt", "seed")})

    async def story(page):
        await page.until("document.querySelector('#prompt textarea').value")
        return await page.value("prompt"), await page.value("seed"), await page.value("precision")

    assert visit(story, f"/?{query}&steps=nonsense") == (found["prompt"], str(found["seed"]), "int8")


def test_a_png_of_an_ir_that_changed_or_went_is_told(visit, picture, tmp_path):
    from PIL.PngImagePlugin import PngInfo

    def saved(name: str, old: str, new: str) -> Path:
        texts = PngInfo()
        texts.add_itxt("pocketxl", Image.open(picture).text["pocketxl"].replace(old, new))
        Image.open(picture).save(tmp_path / name, pnginfo=texts)
        return tmp_path / name

    from stages.studio import metadata

    digest = metadata.read(picture)["ir"]["base"]
    files = [saved("other.png", digest, "0" * 64), saved("gone.png", '"base"', '"vega"')]

    async def story(page):
        said = []
        for path, word in zip(files, ("another one", "not at hand"), strict=True):
            await page.drop("dropped", path)
            said.append(
                await page.until(f"(t => t.includes('{word}') && t)(document.querySelector('#read').innerText)")
            )
            await page.tab.click("#dropped button[aria-label='Clear'], #dropped button[title='Clear']")
            await page.until("!!document.querySelector('#dropped input[type=file]')")
        return said

    assert "dvc repro quantize@vega" in visit(story)[1]


def test_wrong_values_are_told_at_their_fields_and_the_page_goes_on(visit):
    wrong = {"prompt": "x" * 100_000, "steps": "0", "width": "65", "seed": "9" * 30, "guidance": "-1"}

    async def story(page):
        await page.check("new_seed", False)
        for field, text in wrong.items():
            await page.write(field, text)
        await page.draw()
        said = {field: await page.fault(field) for field in wrong}
        for field, text in {"prompt": "owl", "steps": "2", "width": "32", "seed": "5", "guidance": "4"}.items():
            await page.write(field, text)
        await page.draw()
        return said, await page.drawn()

    said, _ = visit(story)
    assert "5,000 characters" in said["prompt"] and "multiple of 8" in said["width"]
    assert all("must be" in said[field] for field in ("steps", "width", "seed", "guidance"))


def test_a_file_that_is_no_picture_is_told_at_the_field_and_a_picture_is_drawn_from(visit, tmp_path):
    files = {"a.txt": b"not a picture", "huge.png": png_that_says(10_000, 10_000), "cut.jpg": cut_jpeg()}
    stream = io.BytesIO()
    Image.new("RGB", (120, 80), "teal").save(stream, "WEBP")
    files["teal.webp"] = stream.getvalue()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    async def story(page):
        await page.task("image-to-image")
        await page.until("!!document.querySelector('#start input[type=file]')")
        await page.write("prompt", "owl")
        await page.draw()
        said = [await page.fault("start")]
        for name in files:
            await page.drop("start", tmp_path / name)
            said.append(await page.until("document.querySelector('#started p')?.innerText"))
            if name != "teal.webp":
                await page.clear("start")
                await page.until("!document.querySelector('#started p')")
        await page.draw()
        return said, fetched(await page.drawn())

    (none, *said), content = visit(story)
    assert "choose one" in none
    assert "no picture" in said[0] and "10000 x 10000" in said[1] and "cut off" in said[2] and "120 × 80" in said[3]
    assert Image.open(io.BytesIO(content)).size == (32, 32)


def test_both_precisions_lie_under_one_line_that_follows_mouse_touch_and_keys(visit):
    async def story(page):
        await page.write("prompt", "owl")
        await page.pick("other", "fp16")
        await page.draw()
        await page.drawn()
        names = await page.tab.evaluate("[...document.querySelectorAll('#compared .names span')].map(n => n.innerText)")
        places = [await page.tab.evaluate(AT)]
        await page.tab.drag("#compared input", 0.5, 0.2)
        places.append(await page.tab.evaluate(AT))
        await page.tab.focus("#compared input")
        await page.tab.key("End")
        await page.tab.key("ArrowLeft", times=3)
        places.append(await page.tab.evaluate(AT))
        await page.tab.touch("#compared input", 0.75)
        return names, [*places, await page.tab.evaluate(AT)], await page.text("#easel thead")

    names, (first, dragged, keyed, touched), heads = visit(story)
    assert names == ["fp16", "int8"] and heads.split() == ["fp16", "int8"]
    assert (first, keyed) == (50, 97)
    assert abs(dragged - 20) <= 4 and abs(touched - 75) <= 4


def test_holding_the_button_shows_what_differs(visit):
    """The pixels seen are the two pictures' difference, amplified as the button says."""
    blended, hold = "document.querySelector('#compared').matches('.blended')", "#easel .hold"

    async def story(page):
        await page.write("prompt", "owl")
        await page.pick("other", "fp16")
        await page.draw()
        await page.drawn()
        pictures = [
            fetched(await page.tab.evaluate(f"document.querySelector('#compared .{side}').src"))
            for side in ("one", "other")
        ]
        states = [await page.tab.evaluate(blended)]
        await page.tab.press(hold)
        states.append(await page.tab.evaluate(blended))
        place = await page.tab.evaluate(
            "(({x, y, width, height}) => [x, y, x + width, y + height])"
            "(document.querySelector('#compared .stage').getBoundingClientRect())"
        )
        seen = await page.tab.picture()
        await page.tab.release(hold)
        states.append(await page.tab.evaluate(blended))
        await page.tab.focus(hold)
        await page.tab.key(" ", up=False)
        states.append(await page.tab.evaluate(blended))
        await page.tab.key(" ")
        return pictures, place, seen, [*states, await page.tab.evaluate(blended)], await page.text(hold)

    pictures, place, seen, states, name = visit(story)
    assert states == [False, True, False, True, False]
    one, other = (np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int) for content in pictures)
    expected = np.minimum(int(name.rpartition("× ")[2]) * np.abs(one - other), 255)
    shown = Image.open(io.BytesIO(seen)).convert("RGB").crop(tuple(map(round, place)))
    shown = np.asarray(shown.resize(expected.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert expected.max() > 0 and np.abs(shown - expected)[2:-2, 2:-2].mean() < 4


def test_a_refiner_finishes_what_its_base_begins(visit):
    async def story(page):
        await page.task("two-stage")
        await page.until("document.querySelector('#model input').value === 'refiner'")
        await page.write("prompt", "owl")
        await page.draw()
        return fetched(await page.drawn()), await page.text("#easel caption")

    content, caption = visit(story)
    assert Image.open(io.BytesIO(content)).size == (32, 32) and "refiner, two-stage" in caption


def test_settings_read_back_with_another_picture_to_start_from_are_told(visit, tmp_path):
    for name in ("teal", "navy"):
        Image.new("RGB", (40, 40), name).save(tmp_path / f"{name}.png")

    async def story(page):
        await page.task("image-to-image")
        await page.until("!!document.querySelector('#start input[type=file]')")
        await page.write("prompt", "owl")
        await page.drop("start", tmp_path / "teal.png")
        await page.until("document.querySelector('#started p')?.innerText")
        await page.draw()
        (tmp_path / "owl.png").write_bytes(fetched(await page.drawn()))
        said = []
        for name in ("teal", "navy"):
            await page.write("prompt", "what is read back replaces")
            await page.drop("dropped", tmp_path / "owl.png")
            await page.until("document.querySelector('#prompt textarea').value === 'owl'")
            assert "started from another picture" in await page.text("#read")
            await page.clear("start")
            await page.until("!document.querySelector('#started p')")
            await page.drop("start", tmp_path / f"{name}.png")
            await page.until("document.querySelector('#started p')?.innerText")
            await page.draw()
            await page.drawn()
            said.append(await page.text("#easel .note"))
            await page.clear("dropped")
        return said

    same, other = visit(story)
    assert same == "" and "another picture" in other


def test_stop_ends_a_drawing_and_the_next_one_begins(visit):
    async def story(page):
        await page.write("prompt", "owl")
        for field, text in LONG.items():
            await page.write(field, text)
        await page.draw()
        await page.until(GOING)
        await page.click("#stop")
        await page.until("document.querySelector('#status').innerText === 'Stopped.'")
        await page.write("steps", "2")
        await page.draw()
        return await page.drawn()

    assert visit(story)


def test_two_users_draw_one_after_the_other_and_who_waits_sees_its_place_and_may_leave(page, port):
    from tests.app.conftest import Visit

    async def told():
        async with browser.tab(port) as one, browser.tab(port) as other:
            first, second = Visit(one), Visit(other)
            for visit in (first, second):
                await visit.tab.open(page.address)
                await visit.until("document.querySelector('#model input')?.value")
                await visit.write("prompt", "owl")
            for field, text in LONG.items():
                await first.write(field, text)
            await first.draw()
            await first.until(GOING)
            await second.draw()
            await second.until("document.querySelector('#status').innerText.includes('1 picture before yours')")
            await second.click("#stop")
            await second.until("document.querySelector('#status').innerText === 'Stopped.'")
            still = await first.text("#status")
            await second.draw()
            await second.until("document.querySelector('#status').innerText.includes('1 picture before yours')")
            await first.click("#stop")
            drawn = await second.drawn()
            await first.until("document.querySelector('#status').innerText === 'Stopped.'")  # before it: Stopping
            return still, drawn, await first.text("#status")

    still, picture, first = asyncio.run(told())
    assert still == "Drawing" and picture and first == "Stopped."


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_serious_and_nothing_overflows(visit, scheme, width):
    axe = browser.axe()

    async def story(page):
        await page.task("image-to-image")
        await page.draw()
        await page.fault("prompt")
        await page.task("text-to-image")
        await page.write("prompt", "owl")
        await page.pick("other", "fp16")
        await page.draw()
        await page.drawn()
        await page.tab.evaluate(axe)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return await page.tab.evaluate(browser.AXE), await page.tab.evaluate(wide)

    assert visit(story, scheme=scheme, width=width) == ([], 0)


def test_a_closed_tab_leaves_no_picture_behind(visit, page):
    async def story(page):
        await page.write("prompt", "owl")
        await page.draw()
        return urllib.parse.unquote(urllib.parse.urlsplit(await page.drawn()).path.partition("file=")[2])

    path = Path(visit(story))
    for _ in range(300):
        if not path.parent.exists():
            return
        asyncio.run(asyncio.sleep(0.1))
    raise AssertionError(f"{path} is still there")


def test_the_server_and_the_process_that_draws_spoke_to_nobody_but_this_machine(page, root, picture):
    spoken = [*page.spoken, *(root / listening.SPOKEN).read_text().splitlines()]
    assert set(spoken) <= {"127.0.0.1", "::1", "localhost", "None"}
