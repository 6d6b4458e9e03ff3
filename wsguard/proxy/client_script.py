"""`GET /.wsguard/client.js`: the client's half, for the application's own pages.

There is nothing secret in it, but no CORS either, as for everything under `/.wsguard/`: a page of another origin, or a
program, takes the folder `wsguard/client/` as a package.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files

from aiohttp import ETag, hdrs, web

from wsguard.policy.effective import Effective
from wsguard.protocol.handshake import HttpRefusal
from wsguard.proxy.environment import Environment
from wsguard.proxy.own_request import turned_away
from wsguard.proxy.refusal import SERVER

PATH = "/.wsguard/client.js"

_NOTHING = re.compile(r"q=0(\.0*)?")


class ClientScript:
    """Answers with the script, which is read and compressed here, once."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._plain = files("wsguard").joinpath("client/client.js").read_bytes()
        self._zipped = gzip.compress(self._plain, 9, mtime=0)
        # Weak: both encodings have it (RFC 9110 §8.8.3.3).
        self._tag = ETag(hashlib.sha256(self._plain).hexdigest()[:16], is_weak=True)

    async def __call__(self, request: web.BaseRequest, effective: Effective) -> web.StreamResponse:
        """The script for GET and HEAD, or 304 for who has it."""
        if request.method not in ("GET", "HEAD"):
            refusal = HttpRefusal(HTTPStatus.METHOD_NOT_ALLOWED, "a script is read with GET", (("Allow", "GET, HEAD"),))
            return turned_away(self._env, effective, refusal)
        response = web.Response(headers={"Server": SERVER, "Vary": "Accept-Encoding"})
        response.etag = self._tag
        response.headers["Cache-Control"] = "no-cache"  # kept, and asked for again: it is as new as the guard
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if any(tag.value in ("*", self._tag.value) for tag in request.if_none_match or ()):
            response.set_status(HTTPStatus.NOT_MODIFIED)
            return response
        response.content_type, response.charset = "text/javascript", "utf-8"  # RFC 9239 §6
        zipped = _takes_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))
        if zipped:
            response.headers["Content-Encoding"] = "gzip"
        response.body = self._zipped if zipped else self._plain
        return response


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has gzip, by its name or by `*`, and not with a weight of 0 (RFC 9110 §12.5.3)."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        coding, *parameters = (each.strip() for each in part.split(";"))
        weights[coding] = not any(_NOTHING.fullmatch(each) for each in parameters)
    return weights.get("gzip", weights.get("*", False))
