"""What is left of services that could not be asked: nothing that waits for the collector.

Whoever shows a token has one asked, and may come as often as it likes while there is no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.identity.key_server import HandClock
from tests.policy.minting import provider
from tests.support.backend import Answer, RecordingBackend, raw, silence
from tests.support.garbage import nothing_is_left
from tests.support.ports import free_port
from wsguard.identity import exchange
from wsguard.identity.exchange import Line, Unanswered, new_session
from wsguard.identity.jwks import JwksCache, JwksUnavailable

TIMES = 3
ANSWERS: dict[str, Answer | None] = {
    "nobody is there": None,
    "no answer": silence(),
    "it hangs up": raw(b""),
    "no HTTP": raw(b"nonsense\r\n\r\n"),
    "half a body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
    "no chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
}


async def _ask(session: aiohttp.ClientSession, url: str) -> None:
    with pytest.raises(Unanswered):
        await Line(session, url, None).exchange("POST", [], 1000, {"token": "opaque"})


async def _fetch(session: aiohttp.ClientSession, url: str) -> None:
    cache = JwksCache(session, HandClock(), lambda _name, _result: None, timeout=0.2)
    with pytest.raises(JwksUnavailable):
        await cache.get(provider("ES256", remote_jwks={"uri": url}))


@pytest.mark.parametrize("question", [_ask, _fetch])
@pytest.mark.parametrize("which", ANSWERS)
async def test_nothing_waits_for_the_collector(
    which: str,
    question: Callable[[aiohttp.ClientSession, str], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT", 0.2)
    answer = ANSWERS[which]
    async with RecordingBackend(respond=answer) as service, new_session() as session:
        url = f"http://127.0.0.1:{free_port()}" if answer is None else service.url
        async with nothing_is_left():
            for _ in range(TIMES):
                await question(session, url)
