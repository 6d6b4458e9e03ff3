"""A client that is answered first and judged by its first message: nothing else passes before, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.policy.minting import provider
from tests.proxy.first_message import ANN, CLAIMS, GOOD, OPEN, OneToken, spec
from tests.proxy.house import House
from tests.proxy.tunnel import QUICK
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually, stays
from wsguard.policy.model import (
    Connections,
    Enforcement,
    GuardSpec,
    Jwt,
    Limits,
    Listener,
    MissingOrigin,
    OriginSpec,
    PolicySpec,
    Profile,
    Rejection,
    RejectionMode,
    Renewal,
    Session,
)
from wsguard.proxy import lobby as lobby_module
from wsguard.proxy.waiting import HELD

FIRST = json.dumps({"type": "hello", "payload": {"token": GOOD}}).encode()


class Scene:
    """A house whose first client has its 101 and has said nothing."""

    def __init__(self, house: House, client: RawClient, tokens: OneToken, backend: RecordingBackend) -> None:
        self.house, self.client, self.tokens, self.backend = house, client, tokens, backend

    async def refused(self, deadline: float = 10.0) -> tuple[int, str]:
        """The Close that the client reads; nothing has come to the backend."""
        code, reason = await self.client.close_frame(deadline)
        await self.client.rest()
        assert not self.backend.conversations
        return code, reason.split()[0]

    def decision(self) -> tuple[str, str | None, int]:
        """Result, reason and code of the one decision."""
        (decided,) = self.house.notebook.decisions
        return decided.result, decided.reason.token if decided.reason else None, decided.code

    async def arrives(self, data: bytes) -> None:
        """All of `data`, and nothing else, reaches the backend."""
        conversation = await self.backend.conversation()
        await eventually(lambda: len(conversation.tail) >= len(data), what="all bytes at the backend")
        assert conversation.tail == data


@asynccontextmanager
async def scene(
    backend: RecordingBackend,
    policy: PolicySpec | None = None,
    handshake: bytes | None = None,
    guard: GuardSpec | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[Scene]:
    """Open, and read the 101."""
    tokens = OneToken()
    house = House(backend, policy or spec(), guard)
    house.facts = tokens  # type: ignore[assignment]
    async with nothing_is_left(), house:
        async with connect(house.port, receive_buffer=receive_buffer) as client:
            await client.open(handshake or wire.upgrade())
            yield Scene(house, client, tokens, backend)
        for conversation in backend.conversations:
            conversation.close()


def text(payload: bytes = FIRST, **more: Any) -> bytes:
    return wire.frame(wire.TEXT, payload, **more)


def bearing(token: str) -> bytes:
    return text(json.dumps({"payload": {"token": token}}).encode())


# It is good.


@pytest.mark.parametrize("forward", [False, True])
async def test_the_backend_is_dialled_when_the_message_is_good(backend: RecordingBackend, forward: bool) -> None:
    """It gets the identity, no extensions, and the message itself only where the policy says so."""
    handshake = wire.upgrade(extensions="permessage-deflate")
    async with scene(backend, spec(forward=forward), handshake) as at:
        await stays(lambda: not backend.conversations, 0.1)
        assert len(at.house.lobby) == 1
        first, second = text(), text(b"second")
        await at.client.send(first)
        conversation = await backend.conversation()
        (head,) = conversation.requests
        assert head.get("x-user") == "ann"
        assert head.get("sec-websocket-extensions") is None
        await at.client.send(second)
        await at.arrives(first + second if forward else second)
        await conversation.send(text(b"answer", masked=False))
        assert (await at.client.frame()).payload == b"answer"
        assert [each.source for each in at.tokens.asked] == ["first-message:payload.token"]
        assert at.decision() == ("admitted", None, 0)
        (connection,) = at.house.registry
        assert connection.identity == ANN
        assert not len(at.house.lobby)


@pytest.mark.parametrize("forward", [False, True])
async def test_byte_by_byte(backend: RecordingBackend, forward: bool) -> None:
    async with scene(backend, spec(forward=forward)) as at:
        first, second = text(), text(b"second")
        await at.client.drip(first + second)
        await at.arrives(first + second if forward else second)


@pytest.mark.parametrize("forward", [False, True])
async def test_what_comes_with_the_message_goes_on_once(backend: RecordingBackend, forward: bool) -> None:
    """In one packet with the handshake, even: a client need not wait for the 101."""
    first, more = text(), text(b"second") + wire.frame(wire.PING, b"p") + text(b"third")
    async with scene(backend, spec(forward=forward), wire.upgrade() + first + more) as at:
        await at.arrives(first + more if forward else more)


async def test_fragments_and_pings_between(backend: RecordingBackend) -> None:
    """A Ping is answered by the guard, and the fragments go on as they came."""
    parts = [
        wire.frame(wire.TEXT, FIRST[:7], fin=False),
        wire.frame(wire.CONTINUATION, b"", fin=False),
        wire.frame(wire.CONTINUATION, FIRST[7:]),
    ]
    async with scene(backend, spec(forward=True)) as at:
        for number, part in enumerate(parts):
            ping = b"%d" % number
            await at.client.send(wire.frame(wire.PING, ping))
            answer = await at.client.frame()
            assert (answer.opcode, answer.payload, answer.mask) == (wire.PONG, ping, None)
            await at.client.send(wire.frame(wire.PONG, b"unasked"))
            assert not backend.conversations
            await at.client.send(part)
        await at.arrives(b"".join(parts))


async def test_another_credential_and_nothing_is_awaited(backend: RecordingBackend) -> None:
    """The first message is the application's then, and extensions are negotiated with the backend."""
    handshake = wire.upgrade(fields=[("Cookie", f"session={GOOD}")], extensions="x-ext")
    async with scene(backend, None, handshake) as at:
        assert (await backend.conversation()).requests[0].get("sec-websocket-extensions") == "x-ext"
        first = text()
        await at.client.send(first)
        await at.arrives(first)


async def test_a_bad_credential_elsewhere_refuses_at_once(backend: RecordingBackend) -> None:
    async with scene(backend, None, wire.upgrade(fields=[("Cookie", "session=bad")])) as at:
        assert await at.refused() == (4401, "credential-invalid")


async def test_a_fin_behind_the_message_reaches_the_backend_behind_it(backend: RecordingBackend) -> None:
    """Half-closed before it was judged: it may still read."""
    backend.keeps_half_open = True
    async with scene(backend, spec(forward=True)) as at:
        at.tokens.release.clear()
        first = text()
        await at.client.send(first)
        at.client.half_close()
        await eventually(lambda: at.tokens.asked)
        await stays(lambda: len(at.house.lobby) == 1, 0.1)
        at.tokens.release.set()
        await at.arrives(first)
        conversation = await backend.conversation()
        await eventually(lambda: conversation.ended == "fin")
        await conversation.send(text(b"last words", masked=False))
        assert (await at.client.frame()).payload == b"last words"


async def test_who_sends_much_at_once_is_read_no_further_until_judged(backend: RecordingBackend) -> None:
    """And what was sent arrives whole, once."""
    more = b"".join(text(bytes([number]) * 1000) for number in range(250)) * 8
    async with scene(backend) as at:
        at.tokens.release.clear()
        sending = asyncio.create_task(at.client.send(text() + more))
        (waiting,) = at.house.lobby._waiting
        await eventually(lambda: waiting._reader.excess > HELD)
        held = waiting._reader.excess
        assert held <= HELD + 262_144
        await stays(lambda: waiting._reader.excess == held, 0.1)
        at.tokens.release.set()
        await at.arrives(more)
        await sending


# It is not.


REFUSED: dict[str, tuple[bytes, tuple[int, str]]] = {
    "a bad token": (bearing("bad"), (4401, "credential-invalid")),
    "no token": (text(b"{}"), (4401, "credential-missing")),
    "an empty token": (bearing(""), (4401, "credential-missing")),
    "a number for a token": (text(b'{"payload": {"token": 7}}'), (4401, "credential-invalid")),
    "no JSON": (text(b"token"), (4401, "credential-invalid")),
    "no object": (text(b'["token"]'), (4401, "credential-invalid")),
    "no UTF-8": (text(b'{"payload": {"token": "\xff"}}'), (4401, "credential-invalid")),
    "a name twice": (text(b'{"payload": {"token": "%s", "token": "b"}}' % GOOD.encode()), (4401, "credential-invalid")),
    "nesting": (text(b'{"a":' * 40 + b"1" + b"}" * 40), (4401, "credential-invalid")),
    "an empty message": (text(b""), (4401, "credential-invalid")),
    "a binary message": (wire.frame(wire.BINARY, FIRST), (4401, "credential-invalid")),
    "too long a message": (text(b"x" * 1025), (1009, "message-too-big")),
    "too many bytes in fragments": (
        text(b"x" * 600, fin=False) + wire.frame(wire.CONTINUATION, b"x" * 600),
        (1009, "message-too-big"),
    ),
    "too many fragments": (
        text(b"", fin=False) + wire.frame(wire.CONTINUATION, fin=False) * 300 + wire.frame(wire.CONTINUATION),
        (1009, "message-too-big"),
    ),
    "a reserved bit": (text(rsv=4), (1002, "protocol-error")),
    "an unmasked frame": (text(masked=False), (1002, "protocol-error")),
    "a continuation of nothing": (wire.frame(wire.CONTINUATION, FIRST), (1002, "protocol-error")),
    "a reserved opcode": (wire.frame(3, FIRST), (1002, "protocol-error")),
    "a Close with half a code": (wire.frame(wire.CLOSE, b"1"), (1002, "protocol-error")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_message_that_does_not_say_who(backend: RecordingBackend, name: str) -> None:
    """The code comes in a Close that is waited for, and no backend hears of it."""
    sent, expected = REFUSED[name]
    async with scene(backend) as at:
        await at.client.send(sent)
        assert await at.refused() == expected
        assert at.decision() == ("refused", expected[1], expected[0])
        assert all(each == "acknowledged" for each in at.house.notebook.lingered_as)
        assert GOOD not in at.house.notebook.decisions[0].detail


async def test_too_long_a_message_is_refused_before_it_comes(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        await at.client.send(text(b"x", declared=1 << 40))
        assert await at.client.close_frame() == (1009, "message-too-big")


async def test_too_late(backend: RecordingBackend) -> None:
    """Counted from the 101, however many Pings come and however near the end the message is."""
    async with scene(backend, spec(timeout=0.4)) as at:
        began = time.monotonic()
        await at.client.send(text()[:-1])
        for _ in range(3):
            await asyncio.sleep(0.1)
            await at.client.send(b"")
        code, reason = await at.client.close_frame()
        assert (code, reason.split()[0]) == (4408, "first-message-timeout")
        assert 0.3 < time.monotonic() - began < 5.0
        assert at.decision() == ("refused", "first-message-timeout", 4408)


async def test_the_time_for_the_message_is_not_taken_from_what_the_guard_may_need(backend: RecordingBackend) -> None:
    guard = GuardSpec(listener=Listener(handshake_timeout=1.0))
    async with scene(backend, guard=guard) as at:
        await asyncio.sleep(1.2)
        await at.client.send(text())
        await backend.conversation()
    backend.reset()
    async with scene(backend, guard=guard) as at:
        at.tokens.release.clear()
        await at.client.send(text())
        code, reason = await at.refused()
        assert (code, reason) == (1011, "identity-unavailable")


async def test_who_closes_in_place_of_speaking_is_answered(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        await at.client.send(wire.close_frame(4242, "changed my mind"))
        assert (await at.client.frame()).close == (4242, "")
        assert await at.client.rest() == b""
        assert at.decision() == ("refused", "client-lost", 0)
        assert not backend.conversations


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("said", [b"", text()[:9]], ids=["nothing", "half"])
async def test_who_leaves_in_place_of_speaking_is_recorded(backend: RecordingBackend, how: str, said: bytes) -> None:
    async with scene(backend) as at:
        await at.client.send(said)
        at.client.reset() if how == "rst" else at.client.half_close()
        await eventually(lambda: at.house.notebook.decisions)
        assert at.decision() == ("refused", "client-lost", 0)
        await eventually(lambda: not len(at.house.lobby))


async def test_who_leaves_while_being_judged_ends_the_judging(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        at.tokens.release.clear()
        await at.client.send(text())
        await eventually(lambda: at.tokens.asked)
        at.client.reset()
        await eventually(lambda: at.house.notebook.decisions)
        assert at.decision() == ("refused", "client-lost", 0)
        assert not backend.conversations


async def test_who_leaves_while_the_backend_thinks_leaves_it_alone(backend: RecordingBackend) -> None:
    backend.answer = answers.silence()
    async with scene(backend) as at:
        await at.client.send(text())
        conversation = await backend.conversation()
        at.client.reset()
        await conversation.until_ended()
        await eventually(lambda: at.house.notebook.decisions)
        assert at.decision() == ("refused", "client-lost", 0)


BY_STATUS = Rejection(close_timeout=0.3, mode=RejectionMode.HTTP_STATUS, foreign_origin=RejectionMode.HTTP_STATUS)


@pytest.mark.parametrize("handshake", [wire.upgrade(origin="https://evil.test"), wire.upgrade(host="evil.test")])
async def test_a_foreign_page_gets_no_101(backend: RecordingBackend, handshake: bytes) -> None:
    """Origin and Host come first, and a status can still be said."""
    async with House(backend, spec(rejection=BY_STATUS)) as house, connect(house.port) as client:
        await client.send(handshake)
        assert (await client.head()).status == 403


async def test_from_the_101_on_only_a_close_can_say_no(backend: RecordingBackend) -> None:
    async with scene(backend, spec(rejection=BY_STATUS)) as at:
        await at.client.send(bearing("bad"))
        assert await at.refused() == (4401, "credential-invalid")


# What the guard itself has to do with it.


async def test_a_drain_waits_for_nobody(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        at.house.draining = True
        at.house.lobby.send_away()
        assert await at.refused() == (1012, "draining")


async def test_a_message_that_comes_in_a_drain_is_not_judged(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        at.house.draining = True
        await at.client.send(text())
        assert await at.refused() == (1012, "draining")
        assert not at.tokens.asked


NOWHERE = Jwt(providers=(provider("HS256"),))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (spec(origin=OriginSpec(missing=MissingOrigin.DENY)), (4403, "origin-denied")),
        (
            PolicySpec(jwt=Jwt(providers=(provider("HS256"),)), rejection=QUICK, origin=OPEN),
            (4401, "credential-missing"),
        ),
        (spec(rejection=Rejection(close_timeout=0.3, profile=Profile.GRAPHQL_WS)), None),
    ],
)
async def test_policies_that_change_meanwhile_decide(
    backend: RecordingBackend, changed: PolicySpec, expected: tuple[int, str] | None
) -> None:
    async with scene(backend) as at:
        at.house.reload(test=changed)
        await at.client.send(text())
        if expected is None:
            await backend.conversation()
        else:
            assert await at.refused() == expected


async def test_a_policy_that_is_gone_meanwhile_admits_nobody(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        at.house.reload()
        await at.client.send(text())
        assert await at.refused() == (4404, "no-policy")


async def test_the_end_of_the_process_ends_the_waiting(backend: RecordingBackend) -> None:
    async with scene(backend) as at:
        await at.house.lobby.close()
        assert not len(at.house.lobby)
        assert at.decision() == ("refused", "client-lost", 0)
        with pytest.raises(ConnectionResetError):
            await at.client.rest()


async def test_no_more_wait_than_there_is_room_for(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused as any other, and a client with a credential elsewhere needs no room."""
    monkeypatch.setattr(lobby_module, "MOST", 1)
    async with scene(backend) as at:
        async with connect(at.house.port) as second:
            await second.open(wire.upgrade())
            code, reason = await second.close_frame()
            assert (code, reason.split()[0]) == (4429, "too-many-connections")
        async with connect(at.house.port) as third:
            await third.open(wire.upgrade(fields=[("Cookie", f"session={GOOD}")]))
            await backend.conversation()


async def test_no_more_linger_than_may(backend: RecordingBackend) -> None:
    """It is too late for a status: an RST."""
    async with scene(backend, spec(rejection=Rejection(max_lingering=0))) as at:
        await at.client.send(bearing("bad"))
        with pytest.raises(ConnectionResetError):
            await at.client.rest()
        assert at.decision() == ("refused", "credential-invalid", 0)
        assert at.house.notebook.overflows == 1


async def test_a_fault_is_told_and_ends_the_client(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody awaits the task of a client that waits, so nobody else would notice."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with scene(backend) as at:
        monkeypatch.setattr(at.house.door._router._conductor.usher, "carry_out", fail)
        await at.client.send(text())
        with pytest.raises(ConnectionResetError):
            await at.client.rest()
        ((where, error),) = at.house.notebook.faults
        assert (where, type(error)) == ("a handshake with a first message", ZeroDivisionError)
        at.house.notebook.faults.clear()


async def test_who_takes_no_pongs_is_not_read(backend: RecordingBackend) -> None:
    """What waits to be sent to such a client, and what it has sent, are bounded, and its time is up as anyone's."""
    async with scene(backend, spec(timeout=1.0), receive_buffer=2048) as at:
        (waiting,) = at.house.lobby._waiting
        transport = waiting._transport
        assert transport is not None
        pings = b"".join(wire.frame(wire.PING, b"p" * 125) for _ in range(50))
        most = 0

        async def flood() -> None:
            while True:
                await at.client.send(pings)

        flooding = asyncio.create_task(flood())
        while not at.house.notebook.decisions:
            most = max(most, transport.get_write_buffer_size())
            await asyncio.sleep(0.01)
        flooding.cancel()
        assert most < 131_072
        assert at.decision()[:2] == ("refused", "first-message-timeout")
        at.client.reset()


@pytest.mark.parametrize("ending", ["good", "bad", "closed", "lost", "lost while judged", "late"])
async def test_nothing_is_left_for_the_collector(backend: RecordingBackend, ending: str) -> None:
    """Which a guard runs seldom."""
    async with scene(backend, spec(timeout=0.3 if ending == "late" else 5.0)) as at:
        (waiting,) = at.house.lobby._waiting
        left = weakref.ref(waiting)
        gc.collect()
        gc.disable()
        try:
            del waiting
            if ending == "lost while judged":
                at.tokens.release.clear()
            said = {"good": text(), "bad": bearing("x"), "closed": wire.close_frame(1000), "lost while judged": text()}
            await at.client.send(said.get(ending, b""))
            if ending == "lost while judged":
                await eventually(lambda: at.tokens.asked)
            if ending.startswith("lost"):
                at.client.reset()
            await eventually(lambda: at.house.notebook.decisions)
            await eventually(lambda: left() is None, what="the end of the one who waited")
        finally:
            gc.enable()


# Subprotocols.

CHAT = Limits(subprotocols=("chat", "superchat"))


@pytest.mark.parametrize(
    ("limits", "offered", "promised"),
    [
        (Limits(), None, None),
        (Limits(), "chat", None),
        (CHAT, None, None),
        (CHAT, "chat", "chat"),
        (CHAT, "superchat, chat", "superchat"),
        (CHAT, "other, chat", "chat"),
    ],
)
async def test_the_101_promises_the_first_offered_that_is_listed(
    backend: RecordingBackend, limits: Limits, offered: str | None, promised: str | None
) -> None:
    """And the backend is offered that one alone."""
    backend.answer = answers.accept(promised)
    async with scene(backend, spec(limits=limits), wire.upgrade(subprotocols=offered)) as at:
        head = wire.read_head(bytes(at.client.received))
        assert head.all("sec-websocket-protocol") == ([promised] if promised else [])
        await at.client.send(text())
        conversation = await backend.conversation()
        assert conversation.requests[0].all("sec-websocket-protocol") == ([promised] if promised else [])
        await eventually(lambda: at.house.notebook.decisions)
        assert at.decision()[0] == "admitted"


BROKEN: dict[str, tuple[Answer, str | None, tuple[int, str]]] = {
    "none": (answers.accept(), "chat", (4406, "subprotocol-denied")),
    "another": (answers.accept("superchat"), "chat", (4406, "subprotocol-denied")),
    "one unasked": (answers.accept("chat"), None, (4502, "backend-invalid")),
    "an extension": (answers.accept("chat", "permessage-deflate"), "chat", (4502, "backend-invalid")),
    "no": (answers.reply(403), "chat", (4403, "backend-refused")),
    "garbage": (answers.raw(b"garbage"), "chat", (4502, "backend-invalid")),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_backend_that_does_not_agree(backend: RecordingBackend, name: str) -> None:
    """It is told by a Close: the client has its 101."""
    backend.answer, offered, expected = BROKEN[name]
    handshake = wire.upgrade(subprotocols=offered, extensions="permessage-deflate")
    async with scene(backend, spec(limits=CHAT), handshake) as at:
        await at.client.send(text())
        code, reason = await at.client.close_frame()
        await at.client.rest()
        assert (code, reason.split()[0]) == expected
        await (await backend.conversation()).until_ended()
        assert at.decision() == ("refused", expected[1], expected[0])


async def test_why_a_client_that_offered_in_vain_may_have_left(backend: RecordingBackend) -> None:
    async with scene(backend, None, wire.upgrade(subprotocols="chat")) as at:
        at.client.reset()
        await eventually(lambda: at.house.notebook.decisions)
        assert "limits.subprotocols lists none" in at.house.notebook.decisions[0].detail


# A policy that only audits.


AUDIT: dict[str, Any] = {"enforcement": Enforcement.AUDIT}


@pytest.mark.parametrize(
    "name", ["a bad token", "no JSON", "a binary message", "too long a message", "too many fragments"]
)
async def test_audit_passes_on_what_it_would_refuse(backend: RecordingBackend, name: str) -> None:
    """The very bytes: the application may read the message itself. Who is nobody is nobody."""
    sent, (_, reason) = REFUSED[name]
    async with scene(backend, spec(**AUDIT)) as at:
        await at.client.send(sent + text(b"second"))
        conversation = await backend.conversation()
        await eventually(lambda: b"second" in wire_payloads(bytes(conversation.tail)))
        assert conversation.tail.startswith(sent)
        assert conversation.requests[0].get("x-user") is None
        assert at.decision() == ("audited", reason, 0)


async def test_audit_passes_on_what_came_too_late(backend: RecordingBackend) -> None:
    """From the middle of a message on, as if nobody had waited for it."""
    async with scene(backend, spec(timeout=0.2, **AUDIT)) as at:
        first = text()
        await at.client.send(first[:9])
        await backend.conversation()
        await at.client.send(first[9:])
        await at.arrives(first)
        assert at.decision() == ("audited", "first-message-timeout", 0)


async def test_audit_erases_a_good_one_as_the_policy_says(backend: RecordingBackend) -> None:
    async with scene(backend, spec(**AUDIT)) as at:
        second = text(b"second")
        await at.client.send(text() + second)
        await at.arrives(second)
        assert at.decision() == ("admitted", None, 0)


async def test_audit_awaits_nothing_where_that_would_make_the_client_leave(backend: RecordingBackend) -> None:
    """It offers subprotocols, and none could be promised before the backend was asked."""
    backend.answer = answers.accept("chat")
    handshake = wire.upgrade(subprotocols="chat, other")
    async with scene(backend, spec(**AUDIT), handshake) as at:
        assert (await backend.conversation()).requests[0].all("sec-websocket-protocol") == ["chat, other"]
        assert at.decision() == ("audited", "credential-missing", 0)


def wire_payloads(data: bytes) -> list[bytes]:
    """The payloads of the whole frames in `data`."""
    buffer, found = bytearray(data), []
    while frame := wire.take_frame(buffer):
        found.append(frame.payload)
    return found


@pytest.mark.parametrize("renewal", [Renewal.EXPLICIT, Renewal.PASSIVE])
async def test_another_first_message_renews_where_the_policy_is_passive(
    backend: RecordingBackend, renewal: Renewal
) -> None:
    """A newer token of the session, said first on a second connection, prolongs the one that is open."""
    async with scene(backend, spec(session=Session(renewal=renewal))) as at:
        at.tokens.identity = replace(ANN, issued_at=1.0, expires_at=2e9, claims={**CLAIMS, "exp": 2e9})
        await at.client.send(text())
        (connection,) = await eventually(lambda: list(at.house.registry))
        at.tokens.identity = replace(ANN, issued_at=2.0, expires_at=3e9, claims={**CLAIMS, "exp": 3e9})
        async with connect(at.house.port) as second:
            await second.open(wire.upgrade())
            await second.send(text())
            await eventually(lambda: len(at.house.registry) == 2)
            expected = 3e9 if renewal is Renewal.PASSIVE else 2e9
            assert connection.expires_at == pytest.approx(expected, abs=60)


@pytest.mark.parametrize("how", ["known", "left", "bad"])
async def test_who_is_waited_for_counts_as_unauthenticated(backend: RecordingBackend, how: str) -> None:
    """Until it is known who it is, or it has left: then the next one may wait."""
    limits = Limits(connections=Connections(unauthenticated=1, per_subject=1))
    async with scene(backend, spec(limits=limits)) as it, connect(it.house.port) as second:
        assert (await second.open(wire.upgrade())).status == 101
        code, reason = await second.close_frame()
        assert (code, reason.split()[0]) == (4429, "too-many-connections")
        if how == "left":
            it.client.reset()
        else:
            await it.client.send(text() if how == "known" else text(b"{}"))
        left = 1 if how == "known" else 0  # ann's own place
        await eventually(lambda: len(it.house.registry.census) == left and not len(it.house.lobby), what="a free place")
        async with connect(it.house.port) as third:
            await third.open(wire.upgrade())
            await eventually(lambda: len(it.house.lobby) == 1, what="the next one waits")
