"""What is made of a request: a handshake, something to forward, or an answer that gives nothing away."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.proxy.house import House
from tests.proxy.tunnel import QUICK
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from wsguard.policy.model import GuardSpec, NonWebSocket, PolicySpec

LOOPS = ["uvloop"]

HOST = ("Host", "localhost")
UPGRADE = [HOST, ("Upgrade", "websocket"), ("Connection", "Upgrade")]
KEY = ("Sec-WebSocket-Key", wire.KEY)
VERSION = ("Sec-WebSocket-Version", "13")

TURNED_AWAY = {
    "CONNECT": (wire.request("CONNECT", "localhost:80", [HOST]), 405),
    "TRACE": (wire.request("TRACE", "/", [HOST]), 405),
    "absolute form": (wire.request("GET", "http://localhost/", [HOST]), 400),
    "asterisk": (wire.request("OPTIONS", "*", [HOST]), 400),
    "a fragment": (wire.request("GET", "/#x", [HOST]), 400),
    "a backslash": (wire.request("GET", "/\\evil", [HOST]), 400),
    "no Host": (wire.request("GET", "/", []), 400),
    "an empty Host": (wire.request("GET", "/", [("Host", "")]), 400),
    "two Hosts": (wire.request("GET", "/", [HOST, HOST]), 400),
    "a Host with a user": (wire.request("GET", "/", [("Host", "a@localhost")]), 400),
    "a list of Hosts": (wire.request("GET", "/", [("Host", "localhost,evil.test")]), 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "a folded field": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "identity": (wire.request("POST", "/", [HOST, ("Transfer-Encoding", "identity")]), 400),
    "xchunked": (wire.request("POST", "/", [HOST, ("Transfer-Encoding", "xchunked")]), 400),
    "chunked and a length": (
        wire.request("POST", "/", [HOST, ("Transfer-Encoding", "chunked"), ("Content-Length", "5")]),
        400,
    ),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "10,000 fields": (wire.request("GET", "/", [HOST, *[("X", "y")] * 10_000]), 400),
    "a field of a megabyte": (wire.request("GET", "/", [HOST, ("X", "y" * 1_000_000)]), 400),
    "a target of a megabyte": (wire.request("GET", "/" + "x" * 1_000_000, [HOST]), 400),
    "the guard's own path": (wire.request("GET", "/%2ewsguard/x", [HOST]), 404),
    "a handshake without a key": (wire.request("GET", "/ws", [*UPGRADE, VERSION]), 400),
    "a handshake of version 8": (wire.request("GET", "/ws", [*UPGRADE, KEY, ("Sec-WebSocket-Version", "8")]), 426),
    "a handshake by POST": (wire.request("POST", "/ws", [*UPGRADE, KEY, VERSION]), 405),
    "a handshake with a body": (wire.request("GET", "/ws", [*UPGRADE, KEY, VERSION, ("Content-Length", "5")]), 400),
    "a key and no upgrade": (wire.request("GET", "/ws", [HOST, KEY]), 426),
    "two upgrades": (wire.request("GET", "/ws", [*UPGRADE, KEY, VERSION, ("Upgrade", "h2c")]), 426),
    "an ambiguous path": (wire.upgrade("/ws/../admin"), 400),
    "another host": (wire.request("GET", "/", [("Host", "rebound.test")]), 421),
}


WAYS = [(name, way) for name in TURNED_AWAY for way in ("whole", "byte by byte")]


@pytest.mark.parametrize(("name", "way"), [it for it in WAYS if it[1] == "whole" or len(TURNED_AWAY[it[0]][0]) < 9999])
async def test_what_is_no_request_is_answered_and_goes_nowhere(backend: RecordingBackend, name: str, way: str) -> None:
    """An answer, the end of the connection, a line for the operator; no log of aiohttp's own."""
    sent, status = TURNED_AWAY[name]
    async with House(backend) as house, connect(house.port) as client:
        sending = asyncio.create_task(client.send(sent) if way == "whole" else client.drip(sent))
        head = await client.head()
        assert head.status == status
        await asyncio.wait([sending])
        assert [turned for turned, _ in house.notebook.turned] == [status]
        assert not backend.conversations
        assert logging.getLogger("wsguard.aiohttp").disabled


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("Upgrade", "h2c", 200), ("Upgrade", "websocket", 426), ("Sec-WebSocket-Protocol", "chat", 426)],
)
async def test_whatever_smells_of_a_websocket_is_an_attempt(
    backend: RecordingBackend, field: str, value: str, status: int
) -> None:
    """Another backend's parser might take it for one; other upgrades are dropped and the rest is forwarded."""
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("GET", "/page", [HOST, (field, value), ("Connection", "close")]))
        assert (await client.head()).status == status
        assert not backend.upgrades
        assert len(backend.requests) == (status == 200)


async def test_deny_serves_websockets_only(backend: RecordingBackend) -> None:
    guard = GuardSpec(non_web_socket=NonWebSocket.DENY)
    async with House(backend, PolicySpec(rejection=QUICK), guard) as house:
        async with connect(house.port) as client:
            await client.send(wire.request("GET", "/page", [HOST]))
            assert (await client.head()).status == 403
            assert not backend.conversations
        async with connect(house.port) as client:
            await client.open(wire.upgrade())
            (await backend.conversation()).close()
