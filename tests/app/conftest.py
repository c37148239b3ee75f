"""The page served once for all tests, with the tiny pipelines, and a Chromium to look at it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import browser
from tests.app import listening
from tests.tiny_ir import CPU, tiny_int8, tiny_ir, tiny_root

ROOT = Path(__file__).parents[2]
WAIT_S = 90
# Of one picture, or of two that are compared and lie in the page itself; not of the preview of one on its way.
FINISHED = """(document.querySelector('#easel img.drawn')?.src
  ?? document.querySelector('#easel a[download]')?.href ?? '')"""


class Visit:
    """A tab of the page: what a person sees and does."""

    def __init__(self, tab: browser.Tab) -> None:
        self.tab = tab
        self.before = ""  # the address of the picture that stood on the easel when a drawing was asked for

    async def until(self, script: str):
        """What a script comes to, once that is something."""
        end = time.monotonic() + WAIT_S
        while not (found := await self.tab.evaluate(script)):
            assert time.monotonic() < end, f"{script} never came; {await self.text('body')}"
            await asyncio.sleep(0.05)
        return found

    async def text(self, what: str) -> str:
        return await self.tab.evaluate(f"document.querySelector({json.dumps(what)})?.innerText ?? ''")

    async def value(self, field: str) -> str:
        return await self.tab.evaluate(f"document.querySelector('#{field} :is(input, textarea)').value")

    async def write(self, field: str, text: str) -> None:
        """Into a text field, as typing does: its value, and the event that follows."""
        await self.tab.evaluate(f"""(() => {{
          const field = document.querySelector('#{field} :is(input, textarea)');
          Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, {json.dumps(text)});
          field.dispatchEvent(new Event('input', {{bubbles: true}}));
        }})()""")

    async def pick(self, field: str, text: str) -> None:
        """Of a list that opens."""
        await self.tab.click(f"#{field} input")
        options, wanted = f"[...document.querySelectorAll('#{field} [role=option]')]", json.dumps(text)
        option = f"{options}.find(one => one.innerText.replace('✓', '').trim() === {wanted})"
        await self.until(f"!!{option}")
        await self.tab.evaluate(f"{option}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")
        await self.until(f"document.querySelector('#{field} input').value === {wanted}")

    async def task(self, name: str) -> None:
        await self.click(f"#task input[value={name}]")
        starts = json.dumps(name == "image-to-image")
        await self.until(f"!!document.querySelector('#strength input') === {starts}")  # the model's values are there

    async def check(self, field: str, on: bool) -> None:
        await self.tab.evaluate(f"""(() => {{
          const box = document.querySelector('#{field} input');
          if (box.checked !== {json.dumps(on)}) box.click();
        }})()""")

    async def drop(self, field: str, path: Path) -> None:
        await self.tab.upload(f"#{field} input[type=file]", path)

    async def click(self, what: str) -> None:
        """Wherever it is just now: fields that come and go move it."""
        await self.tab.evaluate(f"document.querySelector({json.dumps(what)}).click()")

    async def draw(self) -> None:
        self.before = await self.tab.evaluate(FINISHED)
        await self.click("#draw")

    async def clear(self, field: str) -> None:
        """Of a file."""
        await self.click(f"#{field} button[aria-label='Clear'], #{field} button[title='Clear']")
        await self.until(f"!!document.querySelector('#{field} input[type=file]')")

    async def drawn(self) -> str:
        """The address of the picture that was asked for: each has its own, and what stood there before is not it."""
        done = "document.querySelector('#status')?.innerText.startsWith('Done')"
        return await self.until(f"{done} && {FINISHED} !== {json.dumps(self.before)} && {FINISHED}")

    async def fault(self, field: str) -> str:
        """What is said at a field."""
        return await self.until(f"document.querySelector('#{field} .validation-error')?.innerText ?? ''")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project folder with one model in two precisions and a refiner."""
    folder = tmp_path_factory.mktemp("project")
    tiny_ir("base"), tiny_int8("base")
    for model in ("base", "refiner"):
        shutil.copytree(tiny_root() / "artifacts/ir" / model, folder / "artifacts/ir" / model)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "stages").symlink_to(ROOT / "stages")
    return folder


@pytest.fixture(scope="module")
def page(root):
    """Its address, its studio, and whom this process spoke to since; the one that draws writes it to `spoken`."""
    if browser.CHROMIUM is None:
        pytest.skip(browser.MISSING)
    pytest.importorskip("gradio")
    from stages.app import serving
    from stages.studio import separate

    spoken: list[str] = []

    def listen(event: str, arguments: tuple) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            spoken.append(str(arguments[1][0]))
        if event == "socket.getaddrinfo":
            spoken.append(str(arguments[0]))

    sys.addaudithook(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separate, "studio", listening.studio)
        with separate.SeparateStudio(CPU, root) as studio, serving.served(studio, root) as address:
            yield SimpleNamespace(address=address, studio=studio, spoken=spoken)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with browser.running(tmp_path_factory.mktemp("chromium")) as port:
        yield port


@pytest.fixture(scope="module")
def visit(page, port):
    """`visit(story)` is what the story returns, told on the opened page; nothing may leave the loopback interface."""

    def told(story, query: str = "", **how):
        async def telling():
            async with browser.tab(port, **how) as tab:
                await tab.open(page.address + query)
                seen = Visit(tab)
                await seen.until("document.querySelector('#model input')?.value")
                found = await story(seen)
                asked = [event["request"]["url"] for event in tab.parameters("Network.requestWillBeSent")]
                assert [one for one in asked if not one.startswith((page.address, "data:", "blob:"))] == []
                assert tab.parameters("Runtime.exceptionThrown") == []
                return found

        return asyncio.run(telling())

    return told
