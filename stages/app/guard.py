"""What a browser may ask of the page's server, and what the page may ask of anybody: nothing.

Consumes requests on their way to Gradio; refuses those that another site sends through a reader's browser (a name that
was bound to this machine, a form that posts here), those that would make the server fetch an address, and forbids the
page, by its headers, to load from or send to any other place. Knows nothing of what is served.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's own: it compiles templates
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",  # a link holds a prompt
}


class Guard:
    """ASGI middleware. `names`: of hosts, beside addresses and this machine's own, under which the page is known."""

    def __init__(self, app: Callable[..., Any], names: tuple[str, ...] = ()) -> None:
        self.app = app
        self.names = {name.lower() for name in ("localhost", socket.gethostname(), *names)}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reason = self.reason(scope)
        if reason:
            await _refuse(send, reason)
            return
        await self.app(scope, receive, _with_headers(send))

    def reason(self, scope: dict[str, Any]) -> str | None:
        """Why a request is refused; None where it is not."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.knows(host):
            return f"this page is not known under the name {host!r}"
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return f"another site asks: {origin!r}"
        if "://" in scope["path"] or ":/" in scope["path"]:
            return "no address is fetched for anybody"
        return None

    def knows(self, host: str) -> bool:
        """An address cannot be bound to another machine's name; of names only known ones are.

        >>> [Guard(None).knows(host) for host in ("127.0.0.1:7860", "[::1]:7860", "localhost", "evil.example:7860")]
        [True, True, True, False]
        """
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        try:
            ipaddress.ip_address(name.strip("[]"))
            return True
        except ValueError:
            return name.lower() in self.names


def _with_headers(send: Callable[..., Any]) -> Callable[..., Any]:
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sending


async def _refuse(send: Callable[..., Any], reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"Refused: {reason}.\n".encode()})
