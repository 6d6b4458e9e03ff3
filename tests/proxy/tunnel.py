"""An open connection through a house, with both of its ends in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.proxy.house import House
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually, stays
from wsguard.policy.model import PolicySpec, Rejection
from wsguard.proxy.half import Half
from wsguard.proxy.splice import Splice
from wsguard.sessions.connection import Connection

GRACE = 0.3
QUICK = Rejection(close_timeout=GRACE)
AT_MOST = Rejection().close_timeout
"""Seconds within which it shows that the grace is the policy's: that of a policy which says nothing."""

LASTING = PolicySpec(rejection=Rejection(close_timeout=60.0))
"""For what must not wait for the grace."""

MAX_BUFFER = 384 * 1024
"""Bytes of user space that one direction may hold back."""


@dataclass
class Tunnel:
    """`client` and `far`, the backend's end, and what the guard holds between them."""

    house: House
    client: RawClient
    far: Conversation

    @property
    def connection(self) -> Connection:
        """As the registry knows it."""
        (connection,) = self.house.registry
        return connection

    @property
    def splice(self) -> Splice:
        """What joins the two."""
        link = self.connection.link
        assert isinstance(link, Splice)
        return link

    def half(self, side: str) -> Half:
        """The guard's own half towards the `client` or the `backend`."""
        half = self.splice._pair.client if side == "client" else self.splice._pair.backend
        assert half is not None
        return half

    async def arrives(self, data: bytes) -> None:
        """All of `data`, and nothing else, reaches the backend."""
        await eventually(lambda: len(self.far.tail) >= len(data), what="all bytes at the backend")
        assert self.far.tail == data

    async def returns(self, data: bytes) -> None:
        """The next that the client reads is `data`."""
        assert await asyncio.wait_for(self.client.reader.readexactly(len(data)), 10.0) == data


@asynccontextmanager
async def tunnel(
    backend: RecordingBackend,
    spec: PolicySpec | None = None,
    *,
    handshake: bytes | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[Tunnel]:
    """Open a connection; at the end both peers leave, and it must have ended once."""
    spec = spec or PolicySpec(rejection=QUICK)
    async with nothing_is_left(), House(backend, spec) as house:
        async with connect(house.port, receive_buffer=receive_buffer) as client:
            await client.open(handshake or wire.upgrade())
            opened = Tunnel(house, client, await backend.conversation())
            yield opened
            opened.far.close()
        await house.empty()
        assert len(house.notebook.ends) == 1


def text(payload: bytes, *, masked: bool = False) -> bytes:
    """A whole message; masked where the client sends it."""
    return wire.frame(wire.TEXT, payload, masked=masked)


def up(payload: bytes, *, opcode: int = wire.TEXT, fin: bool = True) -> bytes:
    """A frame of the client's."""
    return wire.frame(opcode, payload, fin=fin)


def down(payload: bytes, *, opcode: int = wire.TEXT, fin: bool = True) -> bytes:
    """A frame of the backend's."""
    return wire.frame(opcode, payload, fin=fin, masked=False)


async def record(opened: Tunnel) -> tuple[str, str, int, str, str]:
    """Initiator, reason, code, phase and delivery of the end."""
    ended = await opened.house.end()
    return ended.initiator, ended.reason.token, ended.code, ended.phase, ended.delivery


async def stall(opened: Tunnel, frame: bytes, copies: int = 20) -> None:
    """Send copies of `frame` until the guard reads no more from the backend."""
    opened.far.writer.transport.set_write_buffer_limits(2**30)
    half = opened.half("backend")
    while half.transport.is_reading():
        await opened.far.send(frame * copies)
        await asyncio.sleep(0.01)
    await stays(lambda: not half.transport.is_reading(), 0.1)
