"""What TCP is asked to do, and what it says of a peer."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.proxy.tunnel import tunnel
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.waiting import eventually
from wsguard.proxy.tcp import GONE, keep
from wsguard.proxy.tcp import wire as wire_of

OPTIONS = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 60,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 30,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): GONE * 1000,
}


@pytest.mark.parametrize("side", ["client", "backend"])
async def test_both_sides_are_looked_after(backend: RecordingBackend, side: str) -> None:
    async with tunnel(backend) as opened:
        sock: Any = opened.half(side).transport.get_extra_info("socket")
        assert {option: sock.getsockopt(*option) for option in OPTIONS} == OPTIONS


def test_a_unix_socket_needs_none_of_it() -> None:
    first, second = socket.socketpair()
    with first, second:
        keep(first)


async def test_what_waits_is_seen(backend: RecordingBackend) -> None:
    async with tunnel(backend, receive_buffer=4096) as opened:
        transport = opened.half("client").transport
        await eventually(lambda: not wire_of(transport).waits, what="the 101 to be acknowledged")
        message = wire.frame(wire.BINARY, b"x" * 60_000, masked=False)
        sending = asyncio.create_task(opened.far.send(message * 100))
        await eventually(lambda: wire_of(transport).waits)
        await asyncio.sleep(0.3)
        found = wire_of(transport)
        assert found.waits
        assert found.unacknowledged == 0.0, "a closed window is no silence"
        for _ in range(100):
            await opened.client.frame()
        await sending
        await eventually(lambda: not wire_of(transport).waits)
