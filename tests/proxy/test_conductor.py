"""One handshake from its head to its verdict: what the backend gets, what the client reads, what is written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.proxy.closes import INVALID, refused
from tests.proxy.house import House
from tests.proxy.login import ANN, BEARER, ann, with_login
from tests.proxy.tunnel import QUICK, tunnel
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.policy.credentials import Credential
from wsguard.policy.model import (
    ClientIPDetection,
    Enforcement,
    Framing,
    GuardSpec,
    Listener,
    PolicySpec,
    Session,
    TrustedProxies,
    WebSocketPolicy,
)
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.reasons import CloseReason

LOOPS = ["uvloop"]

FOREIGN = "https://evil.test"
SWITCH = "HTTP/1.1 101 Switching Protocols\r\n"
UP, CON, ACCEPT = (
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    f"Sec-WebSocket-Accept: {wire.accept(wire.KEY)}\r\n",
)


# The backend's answer.


def switch(*lines: str) -> Answer:
    return answers.raw("".join([SWITCH, *lines, "\r\n"]).encode() + b"secret", close=False)


ANSWERS: dict[str, tuple[Answer, tuple[int, str]]] = {
    "200": (answers.reply(200, b"secret"), (4200, "backend-refused")),
    "302": (answers.reply(302, b"secret", [("Location", "/login")]), (4401, "backend-refused")),
    "401": (answers.reply(401, b"secret"), (4401, "backend-refused")),
    "403": (answers.reply(403, b"secret"), (4403, "backend-refused")),
    "500": (answers.reply(500, b"secret"), (4500, "backend-refused")),
    "599": (answers.reply(599, b"secret"), (4599, "backend-refused")),
    "wrong accept": (switch(UP, CON, "Sec-WebSocket-Accept: AAAA\r\n"), INVALID),
    "two accepts": (switch(UP, CON, ACCEPT, ACCEPT), INVALID),
    "no accept": (switch(UP, CON), INVALID),
    "no upgrade": (switch(CON, ACCEPT), INVALID),
    "another upgrade": (switch("Upgrade: websocket, h2c\r\n", CON, ACCEPT), INVALID),
    "no connection": (switch(UP, ACCEPT), INVALID),
    "bare 101": (switch(), INVALID),
    "a subprotocol that was not offered": (answers.accept("sneaky"), INVALID),
    "an extension that was not offered": (answers.accept(extensions="permessage-deflate"), INVALID),
    "garbage": (answers.raw(b"\x00\xff\x16garbage secret\r\n\r\n"), INVALID),
    "an end at once": (answers.raw(b""), INVALID),
    "an end mid-header": (answers.raw(SWITCH.encode() + b"Sec-Web"), INVALID),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_no_101_becomes_a_close_code(backend: RecordingBackend, name: str) -> None:
    """Its head and its body stay here, and its connection is gone."""
    backend.answer, expected = ANSWERS[name]
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        head = await client.open(wire.upgrade())
        assert [field for field, _ in head.fields] == ["Upgrade", "Connection", "Sec-WebSocket-Accept"]
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == expected
        await client.rest()
        assert b"secret" not in client.received
        await (await backend.conversation()).until_ended()
        (decided,) = house.notebook.decisions
        assert (decided.result, decided.code) == ("refused", expected[0])
        assert not len(house.registry)


async def test_a_silent_backend_is_a_timeout(backend: RecordingBackend) -> None:
    backend.answer = answers.silence()
    guard = GuardSpec(listener=Listener(handshake_timeout=0.4))
    async with House(backend, PolicySpec(rejection=QUICK), guard) as house:
        began = time.monotonic()
        assert await refused(house) == (4504, "backend-timeout")
        assert 0.3 < time.monotonic() - began < 5.0


async def test_nobody_at_the_backend_is_unreachable() -> None:
    async with House("http://127.0.0.1:9", PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        await client.open(wire.upgrade())
        code, reason = await client.close_frame()
        assert code == 4502
        assert reason.startswith("backend-unreachable retry-after=")


async def test_fields_of_the_backends_101_reach_the_client(backend: RecordingBackend) -> None:
    """Set-Cookie among them; what belongs to the connection is the guard's own."""
    backend.answer = switch(
        UP, "Connection: upgrade, keep-alive\r\n", ACCEPT, "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: 5\r\n"
    )
    async with House(backend, PolicySpec(rejection=QUICK)) as house, connect(house.port) as client:
        head = await client.open(wire.upgrade())
        assert head.all("set-cookie") == ["a=1", "b=2"]
        assert head.all("connection") == ["Upgrade"]
        assert head.all("sec-websocket-accept") == [wire.accept(wire.KEY)]
        assert head.get("keep-alive") is None
        (await backend.conversation()).close()


# Subprotocols.


async def test_the_backends_choice_is_the_clients(backend: RecordingBackend) -> None:
    backend.answer = answers.accept("superchat")
    async with tunnel(backend, handshake=wire.upgrade(subprotocols="chat, superchat")) as opened:
        assert b"Sec-WebSocket-Protocol: superchat\r\n" in opened.client.received
        assert opened.far.requests[0].all("sec-websocket-protocol") == ["chat, superchat"]


@pytest.mark.parametrize(
    ("offered", "forwarded", "chosen", "echoed"),
    [
        ("bearer.abc", [], None, "bearer.abc"),
        ("bearer.abc, chat", ["chat"], "chat", "chat"),
        ("chat, bearer.abc", ["chat"], None, None),
    ],
)
async def test_a_credential_among_the_subprotocols(
    backend: RecordingBackend, offered: str, forwarded: list[str], chosen: str | None, echoed: str | None
) -> None:
    """Hidden from the backend; echoed only where nothing else was offered, or a browser would fail."""
    backend.answer = answers.accept(chosen)
    async with House(backend, with_login()) as house, connect(house.port) as client:
        house.facts.identity = ANN
        head = await client.open(wire.upgrade(subprotocols=offered))
        assert head.get("sec-websocket-protocol") == echoed
        conversation = await backend.conversation()
        assert conversation.requests[0].all("sec-websocket-protocol") == forwarded
        conversation.close()


async def test_a_backend_may_not_choose_the_credential_it_was_not_offered(backend: RecordingBackend) -> None:
    backend.answer = answers.accept("bearer.abc")
    async with House(backend, with_login()) as house:
        house.facts.identity = ANN
        assert await refused(house, wire.upgrade(subprotocols="bearer.abc")) == INVALID


# What the backend is told.


async def test_what_is_forwarded_of_a_handshake(backend: RecordingBackend) -> None:
    """Byte for byte, less credentials, spoofed fields and what belongs to the connection; plus what the guard knows."""
    fields = [
        ("Cookie", "a=1; session=token; b=2"),
        ("X-User", "root"),
        ("x_user", "root"),
        ("X-Wsguard-Subject", "root"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("Proxy-Authorization", "Basic eA=="),
        ("X-odd-Case", "caf\xe9"),
        ("Content-Length", "0"),
    ]
    target = "/ws%41/x?q=%2f&access_token=token&z=a+b"
    async with House(backend, with_login()) as house, connect(house.port) as client:
        house.facts.identity = ANN
        await client.open(wire.upgrade(target, origin="http://localhost", fields=fields))
        (head,) = backend.upgrades
        assert head.start == "GET /ws%41/x?q=%2f&z=a+b HTTP/1.1"
        assert head.fields == (
            ("Host", "localhost"),
            ("Sec-WebSocket-Key", wire.KEY),
            ("Sec-WebSocket-Version", "13"),
            ("Origin", "http://localhost"),
            ("Cookie", "a=1; b=2"),
            ("X-odd-Case", "caf\xe9"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "localhost"),
            ("X-Wsguard-Connection-ID", house.notebook.decisions[0].connection_id),
            ("X-User", "ann"),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
        )
        (await backend.conversation()).close()


async def test_a_trusted_peer_is_appended_to(backend: RecordingBackend) -> None:
    detection = ClientIPDetection(x_forwarded_for=TrustedProxies(trusted_cidrs=("127.0.0.0/8",)))
    fields = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "localhost:444")]
    guard = GuardSpec(client_ip_detection=detection)
    async with House(backend, PolicySpec(rejection=QUICK), guard) as house, connect(house.port) as client:
        await client.open(wire.upgrade(origin="https://localhost:444", fields=fields))
        (head,) = backend.upgrades
        assert head.all("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
        assert head.all("x-forwarded-proto") == ["https"]
        assert head.all("x-forwarded-host") == ["localhost:444"]
        assert house.notebook.decisions[0].client_ip == "203.0.113.7"
        (await backend.conversation()).close()


# The verdict.


async def test_an_admission_is_written_down_and_registered(backend: RecordingBackend) -> None:
    handshake = wire.upgrade("/ws?x=1", origin="http://localhost", fields=[("Authorization", "Bearer t")])
    async with House(backend, with_login()) as house, connect(house.port) as client:
        house.facts.identity = ANN
        await client.open(handshake)
        (decided,) = house.notebook.decisions
        assert (decided.result, decided.reason, decided.identity, decided.path) == ("admitted", None, ANN, "/ws")
        (connection,) = house.registry
        assert (connection.id, connection.identity) == (decided.connection_id, ANN)
        assert (connection.policy, connection.path, connection.origin) == ("test", "/ws", "http://localhost")
        (await backend.conversation()).close()
        ended = await house.end()
        assert (ended.connection_id, ended.identity) == (decided.connection_id, ANN)


Gather = Callable[[WebSocketPolicy, Sequence[Credential]], Awaitable[tuple[TokenFact, ...]]]


async def _fault(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
    raise RuntimeError("a bug")


async def _never(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
    await asyncio.Event().wait()
    raise AssertionError


async def _problem(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
    problem = TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "it expired")
    return tuple(TokenFact(credential, problem) for credential in credentials)


@pytest.mark.parametrize(
    ("gather", "expected"),
    [
        (_fault, (1011, "guard-fault")),
        (_never, (1011, "identity-unavailable")),
        (_problem, (4401, "credential-expired")),
    ],
)
async def test_no_fact_is_no_admission(backend: RecordingBackend, gather: Gather, expected: tuple[int, str]) -> None:
    """A bug, a key server that hangs, a bad token: each has its name, and the backend hears of none."""
    guard = GuardSpec(listener=Listener(handshake_timeout=0.3))
    async with House(backend, with_login(), guard) as house:
        house.facts.gather = gather  # type: ignore[assignment, method-assign]
        assert await refused(house, BEARER) == expected
        assert not backend.conversations
        assert [where for where, _ in house.notebook.faults] == ["judging a handshake"] * (gather is _fault)
        house.notebook.faults.clear()


async def test_a_foreign_origin_is_not_asked_for_its_credential(backend: RecordingBackend) -> None:
    async with House(backend, with_login()) as house:
        house.facts.gather = _fault  # type: ignore[method-assign]
        assert await refused(house, wire.upgrade(origin=FOREIGN, fields=[("Authorization", "Bearer t")])) == (
            4403,
            "origin-denied",
        )


async def test_draining_refuses_but_tells_a_foreign_page_nothing(backend: RecordingBackend) -> None:
    async with House(backend, with_login()) as house:
        house.draining = True
        assert await refused(house, BEARER) == (1012, "draining")
        assert await refused(house, wire.upgrade(origin=FOREIGN)) == (4403, "origin-denied")
        assert not backend.conversations


async def test_a_client_that_leaves_while_the_facts_are_awaited(backend: RecordingBackend) -> None:
    async with House(backend, with_login()) as house:
        house.facts.gather = _never  # type: ignore[method-assign]
        async with connect(house.port) as client:
            await client.send(BEARER)
            await stays(lambda: not house.notebook.decisions, 0.05)
        await eventually(lambda: house.notebook.decisions)
        assert house.notebook.decisions[0].reason is CloseReason.CLIENT_LOST
        assert not backend.conversations


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_leaves_during_the_dial_takes_the_backend_along(
    backend: RecordingBackend, how: str
) -> None:
    backend.answer = answers.silence()
    async with House(backend, PolicySpec(rejection=QUICK)) as house:
        async with connect(house.port) as client:
            await client.send(wire.upgrade())
            conversation = await backend.conversation()
            if how == "rst":
                client.reset()
        await conversation.until_ended()
        await eventually(lambda: house.notebook.decisions)
        (decided,) = house.notebook.decisions
        assert (decided.result, decided.reason) == ("refused", CloseReason.CLIENT_LOST)


async def test_framing_transparent_is_the_policys(backend: RecordingBackend) -> None:
    odd = wire.frame(3, b"x", rsv=7)
    async with tunnel(backend, PolicySpec(framing=Framing.TRANSPARENT, rejection=QUICK)) as opened:
        await opened.client.send(odd)
        await opened.arrives(odd)


# Between the verdict and the registry.


async def opened_after(backend: RecordingBackend, house: House, happen: Callable[[], object]) -> tuple[int, str]:
    """The verdict is yes; `happen` comes while the backend takes its time; then its 101. What the client reads."""
    go = asyncio.Event()

    async def answer(conversation: answers.Conversation, head: Head) -> None:
        await go.wait()
        await conversation.send(answers.switching(head) + wire.frame(wire.TEXT, b"secret", masked=False))
        while await conversation.receive():
            pass

    backend.answer = answer
    async with connect(house.port) as client:
        await client.send(BEARER)
        conversation = await backend.conversation()
        happen()
        go.set()
        assert (await client.head()).status == 101
        code, reason = await client.close_frame()
        assert b"secret" not in client.received
        told = await conversation.frame()
        assert told.close == (1001, reason.split()[0])
        conversation.close()
        return code, reason.split()[0]


async def test_a_logout_during_the_dial_is_noticed(backend: RecordingBackend) -> None:
    """Register, then look again."""
    async with House(backend, with_login()) as house:
        house.facts.identity = ANN
        now = house.clock.wall()
        deny = partial(house.deny_list.deny_sid, ANN.issuer, "s1", now)
        assert await opened_after(backend, house, deny) == (4441, "logged-out")
        assert (await house.end()).reason is CloseReason.LOGGED_OUT


async def test_a_logout_of_a_further_session_during_the_dial_is_noticed(backend: RecordingBackend) -> None:
    async with House(backend, with_login()) as house:

        async def two(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
            return tuple(TokenFact(credentials[0], replace(ANN, sid=sid)) for sid in ("s1", "s2"))

        house.facts.gather = two  # type: ignore[method-assign]
        deny = partial(house.deny_list.deny_sid, ANN.issuer, "s2", house.clock.wall())
        assert await opened_after(backend, house, deny) == (4441, "logged-out")


async def test_a_deny_list_that_overflows_during_the_dial_is_noticed(backend: RecordingBackend) -> None:
    """What it could not remember may have been this one."""
    async with House(backend, with_login()) as house:
        house.facts.identity = ANN
        house.deny_list._max_entries = 0
        deny = partial(house.deny_list.deny_sid, ANN.issuer, "another", house.clock.wall())
        assert await opened_after(backend, house, deny) == (1011, "identity-unavailable")


async def test_a_token_that_expires_during_the_dial_is_noticed(backend: RecordingBackend) -> None:
    async with House(backend, with_login(session=Session(clock_skew=30.0))) as house:
        house.facts.identity = ann(house.clock.wall() + 10)

        def jump() -> None:
            house.clock.wall_offset += 41

        assert await opened_after(backend, house, jump) == (4440, "session-expired")


async def test_a_drain_that_begins_during_the_dial_is_noticed(backend: RecordingBackend) -> None:
    async with House(backend, with_login()) as house:
        house.facts.identity = ANN

        def drain() -> None:
            house.draining = True

        assert await opened_after(backend, house, drain) == (1012, "draining")


# Audit.

AUDIT: dict[str, Any] = {"enforcement": Enforcement.AUDIT}


async def test_audit_records_and_lets_through(backend: RecordingBackend) -> None:
    """As whoever it is not: no identity, no identity header."""
    async with House(backend, with_login(**AUDIT)) as house, connect(house.port) as client:
        house.facts.gather = _problem  # type: ignore[method-assign]
        await client.open(wire.upgrade(fields=[("Authorization", "Bearer bad")]))
        (decided,) = house.notebook.decisions
        assert (decided.result, decided.reason) == ("audited", CloseReason.CREDENTIAL_EXPIRED)
        (connection,) = house.registry
        assert connection.identity is None
        assert backend.upgrades[0].get("x-user") is None
        (await backend.conversation()).close()


@pytest.mark.parametrize("origin", [None, FOREIGN])
async def test_audit_strips_as_ever(backend: RecordingBackend, origin: str | None) -> None:
    """Spoofed fields and credentials, though the Origin check already said no."""
    fields = [("Cookie", "session=token; a=1"), ("X-User", "root"), ("X-Wsguard-Subject", "root")]
    async with House(backend, with_login(**AUDIT)) as house, connect(house.port) as client:
        house.facts.gather = _problem  # type: ignore[method-assign]
        await client.open(wire.upgrade("/ws?access_token=t", origin=origin, subprotocols="bearer.t", fields=fields))
        (head,) = backend.upgrades
        assert head.target == "/ws"
        assert (head.all("cookie"), head.all("sec-websocket-protocol")) == (["a=1"], [])
        assert not {"x-user", "x-wsguard-subject"} & {name.lower() for name, _ in head.fields}
        (await backend.conversation()).close()


@pytest.mark.parametrize("origin", [None, FOREIGN, "http://rebound.test"])
async def test_audit_does_not_relax_the_host_check(backend: RecordingBackend, origin: str | None) -> None:
    async with House(backend, with_login(**AUDIT)) as house:
        code, _ = await refused(house, wire.upgrade(host="rebound.test", origin=origin))
        assert code == 4403
        assert not backend.conversations


async def test_audit_does_not_admit_what_could_not_be_read(backend: RecordingBackend) -> None:
    """Two cookies of one name: what the backend would read cannot be known, nor what is to be erased."""
    fields = [("Cookie", "session=one; session=two")]
    async with House(backend, with_login(**AUDIT)) as house:
        assert await refused(house, wire.upgrade(fields=fields)) == (4401, "credential-invalid")


async def test_audit_does_not_admit_upon_a_fault(backend: RecordingBackend) -> None:
    """Nobody knows how far the judging came."""
    async with House(backend, with_login(**AUDIT)) as house:
        house.facts.gather = _fault  # type: ignore[method-assign]
        assert await refused(house, BEARER) == (1011, "guard-fault")
        house.notebook.faults.clear()
        assert not backend.conversations


async def test_audit_is_no_way_around_a_drain(backend: RecordingBackend) -> None:
    async with House(backend, with_login(**AUDIT)) as house:
        house.draining = True
        assert await refused(house, wire.upgrade()) == (1012, "draining")


async def test_a_client_whose_connection_is_just_ending_is_no_fault(backend: RecordingBackend) -> None:
    """It left between the verdict and the answer: nobody failed."""
    async with House(backend, with_login()) as house, connect(house.port) as client:

        async def gather(policy: WebSocketPolicy, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
            transport = house.door.connections[0].transport
            assert transport is not None
            transport.close()
            return await _problem(policy, credentials)

        house.facts.gather = gather  # type: ignore[method-assign]
        await client.send(BEARER)
        assert await client.rest() == b""
        await eventually(lambda: not house.door.connections)
        assert [decided.reason for decided in house.notebook.decisions] == [CloseReason.CLIENT_LOST]
        assert house.notebook.turned == []
        assert house.notebook.faults == []
