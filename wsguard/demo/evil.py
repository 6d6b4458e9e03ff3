"""A page on another origin that opens the application's socket in the visitor's name (CWE-1385).

A browser sends the visitor's cookies along with any WebSocket, whichever page opens it, and lets that page
read every message. Only the server can refuse, by looking at Origin (RFC 6455 §10.2).
"""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web


def application(targets: dict[str, str]) -> web.Application:
    """The evil site. `targets` are the sockets it opens: a label for the page → `ws://` URL."""

    async def page(_request: web.Request) -> web.Response:
        text = (files("wsguard.demo") / "pages" / "evil.html").read_text("utf-8")
        return web.Response(text=text, content_type="text/html")

    async def list_targets(_request: web.Request) -> web.Response:
        return web.json_response(targets)

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/targets.json", list_targets)])
    return app
