"""A refused client reads why: through a Close, however much it has sent, or through an HTTP status."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from tests.policy.minting import provider
from tests.proxy.house import House
from tests.proxy.tunnel import AT_MOST, GRACE
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually, stays
from wsguard.policy.model import (
    Detail,
    ExtractFrom,
    GuardSpec,
    Jwt,
    NonWebSocket,
    PolicySpec,
    Rejection,
    RejectionMode,
    Shutdown,
    SubprotocolSource,
)
from wsguard.protocol.profiles import Profile
from wsguard.protocol.reasons import CloseReason

FOREIGN = "https://evil.test"
DENIED = (4403, "origin-denied")


def spec(jwt: Jwt | None = None, **rejection: Any) -> PolicySpec:
    """A policy that closes quickly."""
    return PolicySpec(jwt=jwt, rejection=Rejection(**{"close_timeout": GRACE, **rejection}))


def bearer() -> Jwt:
    """Tokens in a subprotocol, hidden from the backend."""
    source = ExtractFrom(subprotocols=(SubprotocolSource(prefix="bearer."),))
    return Jwt(providers=(provider("HS256", extract_from=source),))


async def test_a_refused_client_reads_code_and_reason_and_a_clean_end(backend: RecordingBackend) -> None:
    """101 and Close in one write, then the close handshake; the backend hears nothing of it."""
    async with House(backend, spec()) as house, connect(house.port) as client:
        head = await client.open(wire.upgrade(origin=FOREIGN, extensions="permessage-deflate"))
        assert head.get("sec-websocket-accept") == wire.accept(wire.KEY)
        assert head.get("sec-websocket-extensions") is None
        assert head.get("sec-websocket-protocol") is None
        assert await client.close_frame() == DENIED
        assert await client.rest() == b""
        await client.close()
        await house.empty()
        assert house.notebook.lingered_as == ["acknowledged"]
        (decided,) = house.notebook.decisions
        assert (decided.result, decided.reason, decided.code) == ("refused", CloseReason.ORIGIN_DENIED, 4403)
        assert not house.notebook.ends
        assert not backend.conversations


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [
        ("chat", "chat"),
        ("chat, superchat", "chat"),
        ("bearer.abc, chat", "chat"),
        ("Bearer.abc,chat", "chat"),
        ("bearer.abc", "bearer.abc"),
        ("bearer.abc, bearer.def", "bearer.abc"),
    ],
)
async def test_one_offered_subprotocol_is_echoed(backend: RecordingBackend, offered: str, echoed: str) -> None:
    """A browser that offered some and sees none fails the handshake and shows 1006; a credential only if it must be."""
    async with House(backend, spec(bearer())) as house, connect(house.port) as client:
        head = await client.open(wire.upgrade(origin=FOREIGN, subprotocols=offered))
        assert head.all("sec-websocket-protocol") == [echoed]
        assert await client.close_frame() == DENIED


@pytest.mark.parametrize("frames", [20, 1])
async def test_a_client_that_has_sent_a_megabyte_still_reads_the_close(backend: RecordingBackend, frames: int) -> None:
    """Closing over unread input would be an RST, and an RST eats what the client has not read yet."""
    size = 1_000_000 // frames
    sent = wire.upgrade(origin=FOREIGN) + wire.frame(wire.BINARY, bytes(size)) * frames
    async with House(backend, spec()) as house, connect(house.port) as client:
        await client.send(sent)
        assert (await client.head()).status == 101
        assert await client.close_frame() == DENIED
        assert await client.rest() == b""
        await client.close()
        await house.empty()
        assert house.notebook.lingered_as == ["acknowledged"]


async def test_a_client_that_sends_on_and_on_reads_the_close_before_the_grace_ends_it(
    backend: RecordingBackend,
) -> None:
    async with House(backend, spec()) as house, connect(house.port) as client:
        await client.open(wire.upgrade(origin=FOREIGN))
        assert (await client.frame()).close == DENIED
        began = time.monotonic()
        with suppress(ConnectionError):
            while not client.writer.is_closing():
                await client.send(wire.frame(wire.BINARY, bytes(10_000)))
                await asyncio.sleep(0.001)
        assert time.monotonic() - began < AT_MOST
        await house.empty()
        assert house.notebook.lingered_as == ["sent"]


@pytest.mark.parametrize("way", ["whole", "byte by byte"])
async def test_a_close_before_the_answer_is_an_acknowledgement(backend: RecordingBackend, way: str) -> None:
    """The client said its Close behind its handshake, whatever it meant by it."""
    async with House(backend, spec()) as house, connect(house.port) as client:
        sent = wire.upgrade(origin=FOREIGN) + wire.close_frame(1000)
        await (client.send if way == "whole" else client.drip)(sent)
        assert (await client.head()).status == 101
        assert (await client.frame()).close == DENIED
        assert await client.rest() == b""


@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00" * 1000, b"\x81\x05hello"])
async def test_what_is_no_frame_behind_a_refused_handshake_goes_nowhere(
    backend: RecordingBackend, behind: bytes
) -> None:
    """A pipelined request is no request: the Close is read, and the end is clean."""
    async with House(backend, spec()) as house, connect(house.port) as client:
        await client.send(wire.upgrade(origin=FOREIGN) + behind)
        assert (await client.head()).status == 101
        assert (await client.frame()).close == DENIED
        assert await client.rest() == b"", "what can say no Close need not be waited for"
        assert not backend.conversations


@pytest.mark.parametrize(("leaving", "delivery"), [("silent", "sent"), ("fin", "sent"), ("rst", "undelivered")])
async def test_a_refused_client_is_waited_for_as_long_as_the_policy_says(
    backend: RecordingBackend, leaving: str, delivery: str
) -> None:
    async with House(backend, spec()) as house, connect(house.port) as client:
        await client.open(wire.upgrade(origin=FOREIGN))
        assert (await client.frame()).close == DENIED
        began = time.monotonic()
        assert house.notebook.lingering_now == 1
        if leaving == "fin":
            client.half_close()
            assert await client.rest() == b""
        elif leaving == "rst":
            client.reset()
        else:
            with pytest.raises(ConnectionResetError):
                await client.rest()
            assert GRACE <= time.monotonic() - began + 0.05 < AT_MOST
        await house.empty()
        assert house.notebook.lingered_as == [delivery]


async def test_beyond_max_lingering_a_refusal_is_a_plain_503(backend: RecordingBackend) -> None:
    """And is counted; who is gone makes room again."""
    async with House(backend, spec(max_lingering=2, close_timeout=20.0)) as house, AsyncExitStack() as clients:
        first: list[RawClient] = []
        for _ in range(2):
            first.append(await clients.enter_async_context(connect(house.port)))
            await first[-1].open(wire.upgrade(origin=FOREIGN))
        async with connect(house.port) as third:
            await third.send(wire.upgrade(origin=FOREIGN))
            head = await third.head()
            assert (head.status, head.get("connection")) == (503, "close")
            assert await third.body(head) == b"origin-denied\n"
            assert await third.rest() == b""
        assert (house.notebook.lingering_now, house.notebook.overflows) == (2, 1)
        assert house.notebook.decisions[-1].code == 0
        assert await first[0].close_frame() == DENIED
        await first[0].close()
        await eventually(lambda: house.notebook.lingering_now == 1)
        async with connect(house.port) as fourth:
            await fourth.open(wire.upgrade(origin=FOREIGN))
            assert await fourth.close_frame() == DENIED
        await first[1].close()


async def test_no_lingering_at_all(backend: RecordingBackend) -> None:
    async with House(backend, spec(max_lingering=0)) as house, connect(house.port) as client:
        await client.send(wire.upgrade(origin=FOREIGN))
        assert (await client.head()).status == 503
        assert house.notebook.overflows == 1


async def test_an_http_status_where_the_policy_wants_one(backend: RecordingBackend) -> None:
    rejection = {"mode": RejectionMode.HTTP_STATUS, "foreign_origin": RejectionMode.HTTP_STATUS}
    async with House(backend, spec(bearer(), **rejection)) as house:
        for handshake, status, token in (
            (wire.upgrade(origin=FOREIGN), 403, b"origin-denied"),
            (wire.upgrade(), 401, b"credential-missing"),
        ):
            async with connect(house.port) as client:
                await client.send(handshake)
                head = await client.head()
                assert (head.status, head.get("upgrade"), head.get("cache-control")) == (status, None, "no-store")
                assert await client.body(head) == token + b"\n"
        assert [decided.code for decided in house.notebook.decisions] == [0, 0]
        assert not house.notebook.lingered_as


async def test_a_foreign_origin_has_a_mode_of_its_own(backend: RecordingBackend) -> None:
    async with House(backend, spec(bearer(), foreign_origin=RejectionMode.HTTP_STATUS)) as house:
        async with connect(house.port) as client:
            await client.send(wire.upgrade(origin=FOREIGN))
            assert (await client.head()).status == 403
        async with connect(house.port) as client:
            await client.open(wire.upgrade())
            assert await client.close_frame() == (4401, "credential-missing")


async def test_when_to_come_back_is_said_in_either_mode(backend: RecordingBackend) -> None:
    for mode in RejectionMode:
        async with House(backend, spec(mode=mode)) as house, connect(house.port) as client:
            house.draining = True
            await client.send(wire.upgrade())
            head = await client.head()
            if mode is RejectionMode.HTTP_STATUS:
                assert head.status == 503
                assert int(head.get("retry-after") or "") >= 0
            else:
                code, reason = await client.close_frame()
                assert code == 1012
                token, _, wait = reason.partition(" retry-after=")
                assert token == "draining"
                assert float(wait) >= 0


@pytest.mark.parametrize(
    ("rejection", "expected"),
    [
        ({}, (4444, "draining")),
        ({"codes": {CloseReason.DRAINING: 4321}}, (4321, "draining")),
        ({"profile": Profile.PUSHER}, (4200, "draining")),
        ({"profile": Profile.PUSHER, "codes": {CloseReason.DRAINING: 4321}}, (4321, "draining")),
        ({"detail": Detail.COARSE}, (4444, "restart")),
    ],
)
async def test_codes_beat_the_profile_which_beats_the_shutdown(
    backend: RecordingBackend, rejection: dict[str, Any], expected: tuple[int, str]
) -> None:
    guard = GuardSpec(shutdown=Shutdown(close_code=4444))
    async with House(backend, spec(**rejection), guard) as house, connect(house.port) as client:
        house.draining = True
        await client.open(wire.upgrade())
        code, reason = await client.close_frame()
        assert (code, reason.split()[0]) == expected


async def test_a_refusal_needs_no_backend(backend: RecordingBackend) -> None:
    guard = GuardSpec(non_web_socket=NonWebSocket.DENY)
    async with House("http://127.0.0.1:9", spec(), guard) as house, connect(house.port) as client:
        await client.open(wire.upgrade(origin=FOREIGN))
        assert await client.close_frame() == DENIED
        await stays(lambda: not house.notebook.faults, 0.05)
