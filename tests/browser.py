"""A headless Chromium driven through its DevTools protocol: open a page, look at it, use mouse and keyboard.

`port(folder)` starts one; `tab(port, scheme, width)` is a tab of it. Nothing is installed for it but Chromium itself.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = "no chromium here: apt-get install chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)  # fmt: skip
START_S, ANSWER_S = 60, 60
AXE = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
  .filter(one => ['serious', 'critical'].includes(one.impact))
  .map(one => `${one.id}: ${one.nodes.map(node => node.html.slice(0, 120))}`))"""
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Enter": 13, " ": 32, "Tab": 9}


class Tab:
    """One tab of a running Chromium."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.number, self.events = socket, 0, []

    async def call(self, method: str, **parameters: Any) -> dict:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            message = await self.receive()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    async def receive(self) -> dict:
        message = await asyncio.wait_for(self.socket.receive_json(), ANSWER_S)
        self.events += [message] if "method" in message else []
        return message

    async def open(self, address: str) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in {event["method"] for event in self.events}:
            await self.receive()

    async def evaluate(self, script: str) -> Any:
        """What an expression comes to, a promise awaited: anything that JSON can hold."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def parameters(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event["method"] == method]

    async def middle(self, what: str, across: float = 0.5) -> tuple[float, float]:
        """Where an element is in the window, scrolled into view."""
        where = await self.evaluate(f"""(() => {{
          const element = document.querySelector({json.dumps(what)});
          element.scrollIntoView({{block: 'center', behavior: 'instant'}});
          const box = element.getBoundingClientRect();
          return [box.left + box.width * {across}, box.top + box.height / 2];
        }})()""")
        return where[0], where[1]

    async def mouse(self, kind: str, x: float, y: float, held: bool = True) -> None:
        pressed = {"button": "left", "buttons": int(held), "clickCount": 1} if held else {}
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    async def press(self, what: str, across: float = 0.5) -> None:
        await self.mouse("mousePressed", *await self.middle(what, across))

    async def release(self, what: str, across: float = 0.5) -> None:
        await self.mouse("mouseReleased", *await self.middle(what, across))

    async def click(self, what: str) -> None:
        await self.press(what)
        await self.release(what)

    async def drag(self, what: str, start: float, end: float) -> None:
        """From one share of its width to another."""
        await self.press(what, start)
        for part in (0.25, 0.5, 0.75, 1.0):
            await self.mouse("mouseMoved", *await self.middle(what, start + part * (end - start)))
        await self.release(what, end)

    async def touch(self, what: str, across: float) -> None:
        x, y = await self.middle(what, across)
        await self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        await self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    async def focus(self, what: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(what)}).focus()")

    async def key(self, name: str, times: int = 1, up: bool = True) -> None:
        about = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": KEYS[name]}
        typed = {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(name, {})
        for _ in range(times):
            await self.call("Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", **about, **typed)
            if up:
                await self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    async def choose(self, what: str, value: str) -> None:
        """Of a select, as a reader does: its value, and the event that follows."""
        await self.evaluate(f"""(() => {{
          const select = document.querySelector({json.dumps(what)});
          select.value = {json.dumps(value)};
          select.dispatchEvent(new Event('change', {{bubbles: true}}));
        }})()""")

    async def upload(self, what: str, path: Path) -> None:
        """As somebody chooses a file, or drops it."""
        node = (await self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(what)})"))["result"]
        await self.call("DOM.setFileInputFiles", files=[str(path)], objectId=node["objectId"])

    async def picture(self) -> bytes:
        import base64

        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@contextmanager
def running(profile: Path) -> Iterator[int]:
    """The port of a Chromium with an empty profile."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chosen, end = profile / "DevToolsActivePort", time.monotonic() + START_S
    while not (chosen.is_file() and "\n" in chosen.read_text()) and time.monotonic() < end:
        assert process.poll() is None, f"{CHROMIUM} ended with {process.returncode}"
        time.sleep(0.1)
    try:
        yield int(chosen.read_text().splitlines()[0])
    finally:
        process.terminate()
        process.wait(timeout=30)


@asynccontextmanager
async def tab(
    port: int, scheme: str = "light", width: int = 1280, scripts: bool = True, media: str = ""
) -> AsyncIterator[Tab]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            about = await answer.json()
        async with session.ws_connect(about["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            found = Tab(socket)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await found.call("Emulation.setEmulatedMedia", features=features, media=media)
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            await found.call("Emulation.setDeviceMetricsOverride", **size)
            await found.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            yield found
            await found.call("Page.close")


def axe() -> str:
    """axe-core's script, for a page that is asked AXE then; skips the test where it is not installed."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None:
        pytest.skip("axe-core is not installed: make install")
    return Path(spec.submodule_search_locations[0], "axe.min.js").read_text(encoding="utf-8")
