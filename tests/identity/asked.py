"""An identity service on a port of its own that can be slow, dead, lying, redirecting or huge, and counts who asks."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from tests.support.serving import HttpServer


@dataclass(frozen=True)
class Asked:
    """One question as it came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    form: dict[str, str]

    def header(self, name: str) -> str | None:
        """The value of a header field, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Reply = Callable[[Asked], Awaitable[web.StreamResponse]]


def reply(document: object = None, status: int = 200, **fields: str) -> Reply:
    """Answer with `document` (bytes as they are, else as JSON) and these header fields, `_` for `-`."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {name.replace("_", "-"): value for name, value in fields.items()}

    async def answer(_: Asked) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


class AskedService(HttpServer):
    """`reply` deals with every question; `asked` are those that came. While `gate` is shut nobody is answered."""

    def __init__(self, answer: Reply, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1), tls)
        self.reply = answer
        self.asked: list[Asked] = []
        self.under_way = 0
        self.most_at_once = 0

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"{super().url}/ask"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        fields = tuple((key.decode("latin-1"), value.decode("utf-8")) for key, value in request.raw_headers)
        form = {name: str(value) for name, value in (await request.post()).items()}
        question = Asked(request.method, request.path_qs, fields, form)
        self.asked.append(question)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await self.gate.wait()
            return await self.reply(question)
        finally:
            self.under_way -= 1
