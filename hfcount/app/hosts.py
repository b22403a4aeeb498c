"""Requests that another site makes a browser send to a page on loopback are refused (DNS rebinding)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OwnHostOnly:
    """ASGI middleware: a request's Host must be loopback, and its Origin the same host and port."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or answer 403 in one line."""
        if scope["type"] != "http" or _is_own({name.lower(): value for name, value in scope["headers"]}):
            await self._app(scope, receive, send)
            return
        head = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 403, "headers": head})
        await send({"type": "http.response.body", "body": b"this page answers on this machine alone\n"})


def _is_own(headers: dict[bytes, bytes]) -> bool:
    host = headers.get(b"host", b"").decode("latin-1").lower()
    origin = headers.get(b"origin")
    try:
        if urlsplit(f"//{host}").hostname not in LOOPBACK:
            return False
        return origin is None or urlsplit(origin.decode("latin-1").lower()).netloc == host
    except ValueError:
        return False
