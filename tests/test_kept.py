"""A connection that is kept to an identity service: a yes that nobody asked for lets nobody in."""

from __future__ import annotations

from tests.support import backend as answers
from tests.support.backend import RecordingBackend
from wsguard.identity.exchange import new_session


async def test_a_yes_that_nobody_asked_for_lets_nobody_in() -> None:
    """tests/proxy/test_forward.py has the same of the backend."""
    begins = answers.raw(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nn", close=False)
    async with RecordingBackend(respond=begins) as service, new_session() as session:
        async with session.get(service.url) as answer:
            assert (answer.status, await answer.content.readexactly(1)) == (403, b"n")
            await (await service.conversation()).send(b"oHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
            assert await answer.read() == b"o"
        service.respond = answers.reply(403, b"no")
        async with session.get(service.url) as answer:
            assert (answer.status, await answer.read()) == (403, b"no")
