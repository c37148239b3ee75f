"""The page served: on the loopback interface unless told otherwise, and then behind a password; to nobody else.

Consumes a page, a host and a port; produces a running server and its address. Everything by which Gradio would speak
to others (analytics, update checks, shared links, fetching addresses, fonts) is off here. Uploads and pictures lie in
one folder, which goes when the server does.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import lean
from stages.files import placing
from stages.studio import uploads

if TYPE_CHECKING:
    from stages.studio.separate import SeparateStudio

LOOPBACK, PORT = "127.0.0.1", 7860
PASSWORD, USER = "POCKETXL_APP_PASSWORD", "pocketxl"
SHORTEST = 12  # characters of a password
WRONG_S = 1.0  # before a wrong password is answered
# Read by Gradio, and by huggingface_hub, when they are imported.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def password(host: str) -> str | None:
    """None on the loopback interface; of any other host what the environment says, or a ValueError."""
    if is_loopback(host):
        return None
    found = os.environ.get(PASSWORD, "")
    if len(found) < SHORTEST:
        raise ValueError(
            f"--host {host} lets others in, which takes a password: set {PASSWORD} in the environment, at least "
            f"{SHORTEST} characters. From elsewhere `ssh -L {PORT}:{LOOPBACK}:{PORT} THIS_MACHINE` needs neither"
        )
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def closing(address: str, host: str) -> str:
    """Where to go; of a page for others, as whom, and what they should know."""
    if is_loopback(host):
        return f"Open {address} (Ctrl-C ends it)"
    return (
        f"Open port {address.rpartition(':')[2]} of {host} as `{USER}` (Ctrl-C ends it). Nothing is encrypted: where "
        "others can listen, put a proxy with TLS before it"
    )


@contextmanager
def served(studio: SeparateStudio, root: Path, host: str = LOOPBACK, port: int | None = None) -> Iterator[str]:
    """The page's address while it is served. ValueError without a password where one is due, or a free port."""
    secret = password(host)
    with placing.passing(placing.scratch("app")) as folder:
        folder.chmod(0o700)
        with _quiet(folder):
            yield from _served(studio, root, folder, host, port, secret)


def _served(
    studio: SeparateStudio, root: Path, folder: Path, host: str, port: int | None, secret: str | None
) -> Iterator[str]:
    with _no_stubs(), lean.uncollected():
        import gradio  # noqa: F401
    from starlette.middleware import Middleware

    from stages.app import looks
    from stages.app.guard import Guard
    from stages.app.page import THREADS, Page

    _fetch_nothing()
    page = Page(studio, root, folder / "pictures")
    try:
        page.blocks.launch(
            server_name=host, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
            show_error=True, auth=_asking(secret) if secret else None, max_file_size=uploads.LARGEST_BYTES,
            allowed_paths=[str(folder / "pictures")], footer_links=[], run_history=False, enable_monitoring=False,
            ssr_mode=False, pwa=False, mcp_server=False, max_threads=THREADS, state_session_capacity=100,
            strict_cors=True, theme=looks.theme(), head=looks.head(),
            app_kwargs={"middleware": [Middleware(Guard, names=(host,))], "docs_url": None, "redoc_url": None},
        )  # fmt: skip
    except OSError as error:
        said = f"port {port} is taken, or" if port else f"no port from {PORT} on is free, or"
        raise ValueError(f"no page can be served: {said} {host} is no address of this machine; see --port") from error
    try:
        yield page.blocks.local_url.rstrip("/")
    finally:
        page.blocks.close(verbose=False)


def _asking(secret: str) -> Callable[[str, str], Any]:
    """Gradio's question for name and password. A wrong one is answered late: guessing takes long."""

    async def right(user: str, given: str) -> bool:
        found = hmac.compare_digest(given.encode(), secret.encode()) and user == USER
        if not found:
            await asyncio.sleep(WRONG_S)
        return found

    return right


def _fetch_nothing() -> None:
    """Gradio fetches addresses that stand in the place of a file: visitors must not send the server anywhere."""
    from gradio import processing_utils

    async def refused(url: str) -> Any:
        raise ValueError("no address is fetched for anybody: upload the file")

    processing_utils.async_ssrf_protected_get = refused


@contextmanager
def _no_stubs() -> Iterator[None]:
    """While Gradio is imported: it writes stubs for editors beside each component anew, which takes half of that time.

    It leaves out components whose source cannot be found.
    """
    find = inspect.getfile

    def found(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("left out")
        return find(thing)

    inspect.getfile = found
    try:
        yield
    finally:
        inspect.getfile = find


@contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Gradio's variables while it runs; as they were, afterwards."""
    ours = QUIET | {"GRADIO_TEMP_DIR": str(folder)}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
