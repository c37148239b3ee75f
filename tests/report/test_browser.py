"""The report in a real browser, opened from its file: nothing requested, nothing failed, everything there to be seen,
reached by mouse, touch and keyboard, and nothing that axe-core calls serious. Skipped where no Chromium is installed.
"""

import asyncio
import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from stages import compare
from stages.report import grids
from tests import browser
from tests.fake_reports import MODELS, fake_reports

EXAMINE = """(() => {
const seen = (what, size) => [...document.querySelectorAll(what)]
  .filter(element => element.checkVisibility() && element.getBoundingClientRect().height > size).length;
return {
  headline: document.querySelector('h1').innerText,
  broken: [...document.images].filter(image => image.src && (!image.complete || !image.naturalWidth)).length,
  images: seen('img', 40), rows: seen('#figures tbody tr', 10), plots: seen('svg', 100),
  paper: getComputedStyle(document.body).backgroundColor,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  requests: performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:')),
};
})()"""
AT = "getComputedStyle(document.querySelector('#{0}')).getPropertyValue('--at')"

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("chromium")) as port:
        yield port


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = fake_reports(tmp_path_factory.mktemp("page"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        compare.main([])
    return folder / "reports/index.html"


def visit(page: Path, port: int, story, **how):
    """What `story(tab)` returns, told on the opened page; no visit may request, fail, throw or warn."""

    async def told():
        async with browser.tab(port, **how) as tab:
            await tab.open(page.as_uri())
            found = await story(tab)
            requested = [event["request"]["url"] for event in tab.parameters("Network.requestWillBeSent")]
            assert {address.partition(":")[0] for address in requested} == {"file", "data"}
            for fault in ("Network.loadingFailed", "Runtime.exceptionThrown", "Log.entryAdded"):
                assert tab.parameters(fault) == []
            return found

    return asyncio.run(told())


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 768), ("light", 390)])
def test_the_page_is_whole_without_network(page, port, scheme, width):
    found = visit(page, port, lambda tab: tab.evaluate(EXAMINE), scheme=scheme, width=width)
    assert found["requests"] == []
    assert found["headline"].startswith("SDXL models at half the size, 1.41× as fast")
    assert found["broken"] == 0 and found["images"] >= 8 * len(MODELS)
    assert found["rows"] == 2 * len(MODELS) and found["plots"] == 5
    assert found["overflow"] <= 0
    assert (found["paper"] == "rgb(20, 22, 26)") == (scheme == "dark")
    assert page.stat().st_size <= 5e6


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_serious(page, port, scheme, width):
    axe = browser.axe()

    async def story(tab):
        await tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        await tab.evaluate(axe)
        return await tab.evaluate(browser.AXE)

    assert visit(page, port, story, scheme=scheme, width=width) == []


@pytest.mark.parametrize("pair", ["hero", "view"])
def test_the_line_follows_mouse_touch_and_keys(page, port, pair):
    range_ = f"#{pair} input"

    async def story(tab):
        places = [await tab.evaluate(AT.format(pair))]
        await tab.drag(range_, 0.5, 0.2)
        places.append(await tab.evaluate(AT.format(pair)))
        await tab.focus(range_)
        await tab.key("End")
        await tab.key("ArrowLeft", times=3)
        places.append(await tab.evaluate(AT.format(pair)))
        await tab.touch(range_, 0.75)
        return [float(place.strip().removesuffix("%")) for place in (*places, await tab.evaluate(AT.format(pair)))]

    first, dragged, keyed, touched = visit(page, port, story)
    assert (first, keyed) == (50, 97)
    assert abs(dragged - 20) <= 4 and abs(touched - 75) <= 4


def test_the_viewer_shows_what_is_chosen_and_keeps_it_for_the_next_model(page, port):
    names = "[...document.querySelectorAll('#view .names span')].map(one => one.textContent)"
    source = "document.querySelector('#view .other').src"

    async def story(tab):
        await tab.choose("#view-model", "mini-vega")
        await tab.choose("#view-prompt", "moon")
        await tab.choose("#view-one", "reference")
        before = await tab.evaluate(source)
        await tab.choose("#view-model", "mini-vegart")
        prompt = await tab.evaluate("document.querySelector('#view-prompt').value")
        told = await tab.evaluate("document.querySelector('#view-said').textContent")
        links = await tab.evaluate(
            "[...document.querySelectorAll('#view-said a')].map(one => one.getAttribute('href'))"
        )
        return await tab.evaluate(names), prompt, told, links, before != await tab.evaluate(source)

    sides, prompt, told, links, changed = visit(page, port, story)
    assert sides == ["float32", "INT8"] and prompt == "moon" and changed
    assert told.startswith("mini-VegaRT, “a yellow moon on a purple background”: float32 beside INT8 (PSNR ")
    assert "64 × 64 pixels, all of them here" in told
    assert [(page.parent / link).is_file() for link in links] == [True, True]


@pytest.mark.parametrize("by", ["mouse", "keys"])
def test_holding_the_button_shows_the_difference_as_a_picture_would(page, port, by):
    """Equal to the last bit with the amplified difference that Pillow makes of the two files."""
    button = "#view-difference"

    async def story(tab):
        await tab.choose("#view-size", "1")
        left, top = await tab.evaluate("""(() => {
          document.querySelector('#view-difference').scrollIntoView({block: 'center', behavior: 'instant'});
          const box = document.querySelector('#view .stage').getBoundingClientRect();
          return [Math.floor(box.left + 0.5), Math.floor(box.top + 0.5)];
        })()""")
        if by == "mouse":
            await tab.press(button)
        else:
            await tab.focus(button)
            await tab.key(" ", up=False)
        pressed = await tab.evaluate(f"document.querySelector('{button}').getAttribute('aria-pressed')")
        shown = Image.open(io.BytesIO(await tab.picture())).convert("RGB")
        if by == "mouse":
            await tab.release(button)
        else:
            await tab.call("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space", windowsVirtualKeyCode=32)
        released = await tab.evaluate(f"document.querySelector('{button}').getAttribute('aria-pressed')")
        return pressed, released, shown.crop((left, top, left + 64, top + 64))

    pressed, released, shown = visit(page, port, story)
    assert (pressed, released) == ("true", "false")
    folder = page.parent / "benchmark/mini-sdxl/images"
    names = json.loads((folder / "images.json").read_text())
    first = next(one["prompt_id"] for one in names if one["task"] == "text-to-image")
    one, other = (Image.open(folder / f"text-to-image-{name}-{first}.png") for name in ("fp16", "int8"))
    expected = ImageChops.difference(one, other).point(lambda value: min(255, value * grids.GAIN))
    inside = (9, 9, 55, 55)  # corners are rounded
    assert expected.crop(inside).getbbox()
    assert ImageChops.difference(shown.crop(inside), expected.crop(inside)).getbbox() is None


def test_a_click_on_a_head_sorts_another_turns_it_round_a_third_restores(page, port):
    head = "#figures thead tr:last-child th:nth-child(3) button"  # the UNet's size
    shown = "[...document.querySelectorAll('#figures tbody tr')].map(row => parseFloat(row.cells[2].dataset.value))"
    sort = "document.querySelector('#figures thead tr:last-child th:nth-child(3)').getAttribute('aria-sort')"

    async def story(tab):
        found = [(await tab.evaluate(shown), await tab.evaluate(sort))]
        await tab.click(head)
        found.append((await tab.evaluate(shown), await tab.evaluate(sort)))
        await tab.focus(head)
        for _ in range(2):
            await tab.key("Enter")
            found.append((await tab.evaluate(shown), await tab.evaluate(sort)))
        return found

    (plain, first), (up, rising), (down, falling), (again, last) = visit(page, port, story)
    assert (first, rising, falling, last) == ("none", "ascending", "descending", "none")
    assert plain == again != up == sorted(plain) and down == sorted(plain, reverse=True)


def test_a_head_explains_itself_to_a_pointer_and_to_the_keyboard(page, port):
    shown = "getComputedStyle(document.querySelector('#column-{0}')).display"

    async def story(tab):
        hidden = await tab.evaluate(shown.format(1))
        x, y = await tab.middle("#figures thead tr:last-child th:nth-child(3) button")
        await tab.mouse("mouseMoved", x, y, held=False)
        hovered = await tab.evaluate(shown.format(1))
        await tab.focus("#figures thead tr:last-child th:nth-child(4) button")
        return hidden, hovered, await tab.evaluate(shown.format(2))

    assert visit(page, port, story) == ("none", "block", "block")


@pytest.mark.parametrize("how", [{"media": "print"}, {"scripts": False}], ids=["printed", "without script"])
def test_on_paper_and_without_script_two_pictures_stand_side_by_side(page, port, how):
    boxes = """['.one', '.other'].map(name => document.querySelector('#hero ' + name).getBoundingClientRect())
      .map(box => [box.left, box.right, box.width])"""
    (_, right, wide), (left, _, other) = visit(page, port, lambda tab: tab.evaluate(boxes), **how)
    assert right <= left and wide == other > 40
