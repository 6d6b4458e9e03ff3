"""What a client reads that is refused or cut: a code and a reason."""

from __future__ import annotations

from tests.proxy.house import House
from tests.support import wire
from tests.support.client import RawClient, connect

INVALID = (4502, "backend-invalid")
"""Where the backend's answer is no 101 that fits."""


async def close_of(client: RawClient) -> tuple[int, str]:
    """Code and reason of the next Close, without what follows the reason's first word."""
    code, reason = await client.close_frame()
    return code, reason.split()[0] if reason else ""


async def refused(house: House, handshake: bytes | None = None) -> tuple[int, str]:
    """What a refused client reads, up to the end of its stream."""
    async with connect(house.port) as client:
        await client.open(handshake or wire.upgrade())
        close = await close_of(client)
        await client.rest()
        return close
