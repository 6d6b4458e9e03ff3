"""Backends that answer anything but a right 101: a close code, no tunnel, and nothing of theirs reaches the client."""

from __future__ import annotations

import socket

import pytest

from tests.scenarios.conftest import Standing
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, Conversation
from tests.support.client import connect
from tests.support.guard import Guard, policy
from tests.support.waiting import stays
from tests.support.wire import Head

pytestmark = pytest.mark.asyncio(loop_scope="module")

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
ACCEPT = f"Sec-WebSocket-Accept: {wire.accept(wire.KEY)}\r\n"
INVALID = (4502, "backend-invalid")


UP, CON = "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"


def _switch(*lines: str) -> Answer:
    return answers.raw(
        "".join(["HTTP/1.1 101 Switching Protocols\r\n", *lines, "\r\n"]).encode() + b"secret", close=False
    )


CASES = {
    "200": (answers.reply(200, b"secret"), (4200, "backend-refused")),
    "204": (answers.reply(204), (4204, "backend-refused")),
    "301": (answers.reply(301, b"", [("Location", "http://evil.test/")]), (4401, "backend-refused")),
    "302": (answers.reply(302, b"", [("Location", "/login")]), (4401, "backend-refused")),
    "401": (answers.reply(401, b"secret"), (4401, "backend-refused")),
    "403": (answers.reply(403, b"secret"), (4403, "backend-refused")),
    "426": (answers.reply(426), (4426, "backend-refused")),
    "429": (answers.reply(429), (4429, "backend-refused")),
    "500": (answers.reply(500, b"secret"), (4500, "backend-refused")),
    "503": (answers.reply(503), (4503, "backend-refused")),
    "interim, then 403": (answers.raw(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 403 No\r\n\r\n"), (4403, "backend-refused")),
    "wrong accept": (_switch(UP, CON, "Sec-WebSocket-Accept: AAAA\r\n"), INVALID),
    "no accept": (_switch(UP, CON), INVALID),
    "two accepts": (_switch(UP, CON, ACCEPT, ACCEPT), INVALID),
    "no upgrade": (_switch(CON, ACCEPT), INVALID),
    "upgrade to h2c": (_switch("Upgrade: h2c\r\n", CON, ACCEPT), INVALID),
    "no connection": (_switch(UP, ACCEPT), INVALID),
    "bare 101": (_switch(), INVALID),
    "a subprotocol nobody offered": (answers.accept("sneaky"), INVALID),
    "an extension nobody offered": (answers.accept(extensions="permessage-deflate"), INVALID),
    "garbage": (answers.raw(b"\x00\xff\x16\x03garbage\r\n\r\n"), INVALID),
    "another protocol": (answers.raw(b"SSH-2.0-OpenSSH_9.2\r\n", close=False), INVALID),
    "status 99": (answers.raw(b"HTTP/1.1 99 No\r\n\r\n"), INVALID),
    "status 1000": (answers.raw(b"HTTP/1.1 1000 No\r\n\r\n"), INVALID),
    "closes at once": (answers.raw(b""), INVALID),
    "closes mid-header": (answers.raw(SWITCH.encode() + b"Sec-WebSock"), INVALID),
    "a bare line feed in the head": (_switch("X: a\n" + UP, CON, ACCEPT), INVALID),
    "a folded field": (_switch("Upgrade:\r\n websocket\r\n", CON, ACCEPT), INVALID),
    "a head without end": (answers.raw(SWITCH.encode() + b"X-Note: a\r\n" * 20_000, close=False), INVALID),
    "interim answers without end": (answers.raw(b"HTTP/1.1 103 Early\r\n\r\n" * 1000, close=False), INVALID),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_answers_become_close_codes(standing: Standing, name: str) -> None:
    """The client reads the code; the backend's head and body stay with the guard, and both ends are told."""
    guard, backend = standing
    backend.answer, (code, reason) = CASES[name]
    before = await guard.metric("wsguard_handshakes_total", result="refused", reason=reason)
    async with connect(guard.port) as client:
        head = await client.open(wire.upgrade())
        assert head.get("location") is None
        got, text = await client.close_frame()
        assert (got, text.split()[0]) == (code, reason)
        await client.rest()
        assert b"secret" not in client.received
        line = await guard.decided(result="refused", reason=reason)
        assert line["code"] == code
        await (await backend.conversation()).until_ended()
        assert len(backend.conversations) == 1
        assert await guard.metric("wsguard_handshakes_total", result="refused", reason=reason) == before + 1
        assert await guard.metric("wsguard_connections") == 0


async def test_a_reset_in_the_head_is_invalid_or_unreachable(standing: Standing) -> None:
    """Some of an answer came, then an RST."""
    guard, backend = standing

    async def answer(conversation: Conversation, head: Head) -> None:
        await conversation.send(SWITCH.encode())
        conversation.reset()

    backend.answer = answer
    async with connect(guard.port) as client:
        await client.open(wire.upgrade())
        assert (await client.close_frame())[0] == 4502


async def test_nobody_listens() -> None:
    """4502, soon."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Guard(f"http://127.0.0.1:{port}") as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (4502, "backend-unreachable")
        assert "retry-after=" in reason


GUARD_CONFIG = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  listener: {handshakeTimeout: 1s}
  backends: [{name: app, url: "http://127.0.0.1:9", connectTimeout: 500ms}]
"""


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpg"])
async def test_a_backend_that_says_nothing_more(standing: Standing, says: bytes) -> None:
    """It accepts and is silent, at once or half-way: 4504 when the handshake's time is up."""
    backend = standing.backend
    backend.answer = answers.raw(says, close=False)
    policies = {"guard.yaml": GUARD_CONFIG, "policy.yaml": policy()}
    async with Guard(backend, policies) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == (4504, "backend-timeout")
        await (await backend.conversation()).until_ended()


async def test_a_full_backlog_is_a_timeout_too() -> None:
    """The kernel accepts nothing: the dial itself takes too long."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            policies = {"guard.yaml": GUARD_CONFIG, "policy.yaml": policy()}
            url = f"http://127.0.0.1:{address[1]}"
            async with Guard(url, policies) as guard, connect(guard.port) as client:
                await client.open(wire.upgrade())
                code, reason = await client.close_frame()
                assert (code, reason.split()[0]) in [(4504, "backend-timeout"), (4502, "backend-unreachable")]
        finally:
            for filler in fillers:
                filler.close()


async def test_no_byte_of_the_client_goes_on_before_the_backends_101(standing: Standing) -> None:
    """What was pipelined behind the handshake waits, and then arrives whole, once."""
    guard, backend = standing
    early = wire.frame(wire.TEXT, b"early") + wire.frame(wire.BINARY, b"x" * 100_000)
    go = False

    async def answer(conversation: Conversation, head: Head) -> None:
        await stays(lambda: not conversation.tail, 0.3, "nothing behind the head")
        nonlocal go
        go = True
        await conversation.send(answers.switching(head) + wire.frame(wire.TEXT, b"hello", masked=False))
        while await conversation.receive():
            pass

    backend.answer = answer
    async with connect(guard.port) as client:
        await client.open(wire.upgrade() + early)
        assert go
        assert (await client.frame()).payload == b"hello"
        conversation = await backend.conversation()
        assert (await conversation.frame()).payload == b"early"
        assert (await conversation.frame()).payload == b"x" * 100_000
        assert len(backend.requests) == 1


async def test_pipelined_bytes_behind_a_refusal_go_nowhere(standing: Standing) -> None:
    """The backend says no: it never sees them."""
    guard, backend = standing
    backend.answer = answers.reply(403)
    async with connect(guard.port) as client:
        await client.open(wire.upgrade() + wire.frame(wire.TEXT, b"early"))
        assert (await client.close_frame())[0] == 4403
        conversation = await backend.conversation()
        await conversation.until_ended()
        assert not conversation.tail


@pytest.mark.parametrize("mode", ["AcceptThenClose", "HTTPStatus"])
async def test_http_status_mode(standing: Standing, mode: str) -> None:
    """Where the policy asks for it, the refusal is the status itself, with no 101."""
    backend = standing.backend
    backend.answer = answers.reply(403, b"secret")
    async with Guard(backend, policy(f"rejection: {{mode: {mode}}}")) as guard, connect(guard.port) as client:
        await client.send(wire.upgrade())
        head = await client.head()
        assert head.status == (101 if mode == "AcceptThenClose" else 403)
        await client.close_frame() if head.status == 101 else await client.body(head)
        assert b"secret" not in client.received
