"""The report in a real browser, opened from its file: nothing requested, nothing failed, everything there to be seen.

Speaks the DevTools protocol to a headless Chromium; skipped where none is installed.
"""

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from stages import compare
from tests.fake_reports import MODELS, fake_reports

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)  # fmt: skip
START_S, LOAD_S = 60, 60
EXAMINE = """const seen = (what, size) => [...document.querySelectorAll(what)]
  .filter(element => element.getBoundingClientRect().height > size).length;
JSON.stringify({
  headline: document.querySelector('h1').innerText,
  broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length,
  images: seen('img', 40), rows: seen('.figures tbody tr', 10), plots: seen('svg', 100),
  paper: getComputedStyle(document.body).backgroundColor,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  requests: performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:')),
})"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


class Browser:
    """One tab of a running Chromium."""

    def __init__(self, socket) -> None:
        self.socket, self.number, self.events = socket, 0, []

    async def call(self, method: str, **parameters) -> dict:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            message = await self.receive()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    async def receive(self) -> dict:
        message = await asyncio.wait_for(self.socket.receive_json(), LOAD_S)
        self.events += [message] if "method" in message else []
        return message

    async def open(self, address: str) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in {event["method"] for event in self.events}:
            await self.receive()

    async def examine(self) -> dict:
        found = await self.call("Runtime.evaluate", expression=EXAMINE)
        return json.loads(found["result"]["value"])

    def parameters(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event["method"] == method]


async def visit(page: Path, port: int, scheme: str, width: int) -> tuple[dict, Browser]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            tab = await answer.json()
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await browser.call("Emulation.setEmulatedMedia", features=features)
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            await browser.call("Emulation.setDeviceMetricsOverride", **size)
            await browser.open(page.as_uri())
            return await browser.examine(), browser


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    profile = tmp_path_factory.mktemp("chromium")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chosen, end = profile / "DevToolsActivePort", time.monotonic() + START_S
    while not (chosen.is_file() and "\n" in chosen.read_text()) and time.monotonic() < end:
        assert process.poll() is None, f"{CHROMIUM} ended with {process.returncode}"
        time.sleep(0.1)
    yield int(chosen.read_text().splitlines()[0])
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = fake_reports(tmp_path_factory.mktemp("page"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        compare.main([])
    return folder / "reports/index.html"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 420)])
def test_the_page_is_whole_without_network(page, port, scheme, width):
    found, browser = asyncio.run(visit(page, port, scheme, width))
    requested = [event["request"]["url"] for event in browser.parameters("Network.requestWillBeSent")]
    assert {address.partition(":")[0] for address in requested} == {"file", "data"}
    assert found["requests"] == []
    assert browser.parameters("Network.loadingFailed") == []
    assert browser.parameters("Runtime.exceptionThrown") == []
    assert browser.parameters("Log.entryAdded") == []
    assert found["headline"].startswith("INT8 UNets are 1.96× smaller")
    assert found["broken"] == 0 and found["images"] >= 8 * 2 * len(MODELS)
    assert found["rows"] == 2 * len(MODELS) and found["plots"] == 5
    assert found["overflow"] <= 0
    assert (found["paper"] == "rgb(20, 22, 26)") == (scheme == "dark")
