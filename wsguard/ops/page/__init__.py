"""The page on the admin port: three files, served as they are. No build step, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from aiohttp import web

PATHS = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
"""What is served where, and as what."""

# No script, style or picture of anyone else's, no frame around it, no form that posts: whatever a subject is called.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> Sequence[web.RouteDef]:
    """The page's handlers; the files are read here, once."""
    return [web.get(path, _handler(name, kind)) for path, (name, kind) in PATHS.items()]


def _handler(name: str, kind: str) -> web._Handler:  # type: ignore[name-defined]
    text = files(__name__).joinpath(name).read_text("utf-8")

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, headers=_HEADERS)

    return handle
