"""One request to an identity service: bounded in time and size, redirects not followed, whatever the service does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import aiohttp
from yarl import URL

from wsguard.kept import OverTcp
from wsguard.policy.forward_auth import Answer
from wsguard.protocol.http import Headers
from wsguard.tracebacks import forget_traceback

TIMEOUT = 5.0
"""Seconds for a whole request."""

_ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "User-Agent")

AskResult = Literal["yes", "no", "unavailable"]
"""What a question came to, as the metric has it."""


class Unanswered(Exception):
    """No complete answer came; the message says why, for the operator, and quotes nothing of the question."""


class Exchange(Protocol):
    """The way to one service."""

    async def exchange(
        self,
        method: Literal["GET", "POST"],
        fields: Sequence[tuple[str, str]],
        most: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `fields` and a `form`; a body of the answer beyond `most` bytes reads as None. Raises Unanswered."""
        ...


Lines = Callable[[str, bytes | None], Exchange]
"""Makes the way to a service from its URL and the certificates to believe (PEM; None: the system's own)."""


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one service over HTTP. `session` is the caller's to close; `trust` are the certificates to believe."""

    session: aiohttp.ClientSession
    url: str
    trust: ssl.SSLContext | None

    async def exchange(
        self,
        method: Literal["GET", "POST"],
        fields: Sequence[tuple[str, str]],
        most: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `fields`, and nothing that aiohttp would add of its own. A body beyond `most` bytes reads as None.

        Raises Unanswered.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                try:
                    return await self._send(method, fields, most, form)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                    # A kept connection that ended as it was used again; asking twice changes nothing there.
                    return await self._send(method, fields, most, form)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            forget_traceback(error)
            raise Unanswered(_why(error)) from None

    async def _send(
        self, method: str, fields: Sequence[tuple[str, str]], most: int, form: Mapping[str, str] | None
    ) -> Answer:
        async with self.session.request(
            method,
            URL(self.url, encoded=True),
            headers=list(fields),
            data=form,
            allow_redirects=False,  # it would let whoever answers choose whom the guard calls
            skip_auto_headers=_ADDED_BY_AIOHTTP,
            ssl=True if self.trust is None else self.trust,
        ) as response:
            body = await _read(response, most)
            return Answer(response.status, Headers(tuple(response.raw_headers)), body)


def trusting(certificates: bytes | None) -> ssl.SSLContext | None:
    """What to believe where a `caFile` holds `certificates` (PEM); None: the system's own."""
    if certificates is None:
        return None
    return ssl.create_default_context(cadata=certificates.decode("ascii", "replace"))


def lines(session: aiohttp.ClientSession) -> Lines:
    """Ways that all use `session`."""
    return lambda url, certificates: Line(session, url, trusting(certificates))


def new_session() -> aiohttp.ClientSession:
    """A session for identity services: no cookies kept, nothing decompressed. Made inside a running loop."""
    return aiohttp.ClientSession(
        connector=OverTcp(),  # as many as there are requests: each service has its own bound
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # a small answer must not become a large one here
    )


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no complete answer within {TIMEOUT} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error)
    return f"no answer: {type(error).__name__}"  # its text may quote what was answered


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 14):
        body += chunk
        if len(body) > most:
            response.close()
            return None
    return bytes(body)
