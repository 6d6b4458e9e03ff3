"""Connections to services that are kept: none gives an answer that nobody asked for, and there are not many."""

from __future__ import annotations

import asyncio

from tests.support import backend as answers
from tests.support.backend import Conversation, RecordingBackend
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.identity.exchange import new_session
from wsguard.kept import MOST


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


async def test_a_crowd_leaves_few_behind() -> None:
    """Each takes a descriptor, and probes, the log and the control socket want some too."""
    everyone, ok = asyncio.Event(), answers.reply(200, b"ok")

    async def respond(conversation: Conversation, head: Head) -> None:
        await everyone.wait()
        await ok(conversation, head)

    async with RecordingBackend(respond=respond) as service, new_session() as session:

        async def ask() -> bytes:
            async with session.get(service.url) as answer:
                return await answer.read()

        asking = [asyncio.create_task(ask()) for _ in range(MOST + 8)]
        await eventually(lambda: len(service.requests) == MOST + 8, what="all of them at once")
        everyone.set()
        assert set(await asyncio.gather(*asking)) == {b"ok"}
        await eventually(lambda: sum(each.ended is not None for each in service.conversations) == 8, what="the rest")


async def test_what_nobody_asked_for_does_not_wait_for_the_collector() -> None:
    """As servers say 408 to who asks for nothing any more."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate"

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if head.target == "/first":
            await asyncio.sleep(0.02)  # so that it is kept by then
            await conversation.send(late)
            conversation.close()

    async with RecordingBackend(respond=answer) as service, new_session() as session, nothing_is_left():
        for target in ("/first", "/second"):
            async with session.get(service.url + target) as response:
                assert response.status == 200
            await asyncio.sleep(0.05)
