"""Other ways in: behind a load balancer that speaks the PROXY protocol, and on a Unix socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.certificates import Authority
from tests.support.client import connect
from tests.support.guard import Guard


def _config(listener: str, more: str = "") -> str:
    return f"""
        apiVersion: wsguard.dev/v1
        kind: GuardConfig
        spec:
          listener: {{allowedHosts: [localhost], {listener}}}
          {more}
        ---
        apiVersion: wsguard.dev/v1
        kind: WebSocketPolicy
        metadata: {{name: all}}
        spec: {{}}
    """


V4 = ProxyResultIPv4((IPv4Address("192.0.2.1"), 1), (IPv4Address("198.51.100.2"), 2), protocol=socket.SOCK_STREAM)
V6 = ProxyResultIPv6((IPv6Address("2001:db8::1"), 1), (IPv6Address("2001:db8::2"), 2), protocol=socket.SOCK_STREAM)
PACK: dict[str, Callable[[ProxyResultIPv4 | ProxyResultIPv6], bytes]] = {
    "v1": lambda result: bytes(ProxyProtocolV1().pack(result)),
    "v2": lambda result: bytes(ProxyProtocolV2().pack(result)),
}


@pytest.mark.parametrize("version", PACK)
@pytest.mark.parametrize(("result", "ip"), [(V4, "192.0.2.1"), (V6, "2001:db8::1")])
async def test_the_client_is_whom_the_header_names(
    backend: RecordingBackend, version: str, result: ProxyResultIPv4 | ProxyResultIPv6, ip: str
) -> None:
    """In the log, in the registry and towards the backend; the handshake comes in the same segment."""
    async with Guard(backend, _config("proxyProtocol: true")) as guard, connect(guard.port) as client:
        await client.send(PACK[version](result) + wire.upgrade())
        assert (await client.head()).status == 101
        assert (await guard.decided())["client_ip"] == ip
        assert (await guard.connections())[0]["clientIP"] == ip
        assert (await backend.conversation()).requests[0].get("x-forwarded-for") == ip


async def test_a_header_before_tls(backend: RecordingBackend, tmp_path: Path) -> None:
    """And with X-Forwarded-For behind it: the header says who the peer is, trusted or not."""
    authority = Authority(tmp_path)
    certificate, key = authority.server("localhost")
    listener = f"proxyProtocol: true, tls: {{certFile: {certificate}, keyFile: {key}}}"
    trusted = "clientIPDetection: {xForwardedFor: {trustedCIDRs: [192.0.2.0/24]}}"
    forwarded = [("X-Forwarded-For", "203.0.113.7")]
    async with Guard(backend, _config(listener, trusted)) as guard:
        for result, ip in ((V4, "203.0.113.7"), (V6, "2001:db8::1")):
            header = PACK["v2"](result)
            async with connect(guard.port, tls=authority.trusting(), before=header) as client:
                await client.open(wire.upgrade(origin="https://localhost", fields=forwarded))
                await guard.decided(client_ip=ip)


async def test_a_header_in_pieces(backend: RecordingBackend) -> None:
    """Byte by byte, and a health check of the proxy's own."""
    async with Guard(backend, _config("proxyProtocol: true")) as guard:
        async with connect(guard.port) as client:
            await client.drip(PACK["v1"](V4))
            await client.open(wire.upgrade())
            assert (await guard.decided())["client_ip"] == "192.0.2.1"
        async with connect(guard.port) as client:
            await client.send(b"PROXY UNKNOWN\r\n" + wire.upgrade())
            assert (await client.head()).status == 101
            await guard.decided(client_ip="127.0.0.1")


@pytest.mark.parametrize("said", [wire.upgrade(), b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 ", b""])
async def test_without_a_header_there_is_no_answer(backend: RecordingBackend, said: bytes) -> None:
    """Nobody says by leaving it out, or by silence, that he is the load balancer himself."""
    listener = "proxyProtocol: true, handshakeTimeout: 500ms"
    async with Guard(backend, _config(listener)) as guard, connect(guard.port) as client:
        await client.send(said)
        with suppress(ConnectionResetError):
            assert await client.rest() == b""
        line = await guard.log({"event": "request_turned_away"})
        assert line["detail"] == "handshake-timeout" if len(said) < 15 else "PROXY header" in line["detail"]
        assert not backend.requests


async def test_without_the_setting_a_header_is_no_request(backend: RecordingBackend) -> None:
    """A client cannot choose the address that it comes from."""
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.send(PACK["v1"](V4) + wire.upgrade())
        assert (await client.head()).status == 400


async def test_a_unix_socket(backend: RecordingBackend, tmp_path: Path) -> None:
    """Handshakes and requests; nobody has an address there, and the proxy in front is known by its place."""
    backend.answer = answers.accept(echo=True)
    path = str(tmp_path / "guard.sock")
    hops = "clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}"
    async with Guard(backend, _config("handshakeTimeout: 5s", hops), "--listen", f"unix:{path}") as guard:
        async with connect(path) as client:
            await client.open(wire.upgrade(fields=[("X-Forwarded-For", "203.0.113.7")]))
            await client.send(wire.frame(wire.TEXT, b"by a path"))
            assert (await client.frame()).payload == b"by a path"
            await guard.decided(client_ip="203.0.113.7")
        async with connect(path) as client:
            await client.send(wire.request("GET", "/page", [("Host", "localhost")]))
            assert (await client.head()).status == 200
        assert await guard.terminate() == 0
    assert "guard.sock" not in os.listdir(tmp_path)


async def test_a_unix_socket_that_is_taken(backend: RecordingBackend, tmp_path: Path) -> None:
    """A guard that died leaves one behind, which is replaced; one that lives keeps its own."""
    path = str(tmp_path / "guard.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with Guard(backend, "", "--listen", f"unix:{path}"):
        second = Guard(backend, "", "--listen", f"unix:{path}")
        await second.program.start()
        assert await second.program.wait() == 2
        assert any("cannot listen on unix:" in line for line in second.program.errors)
        async with connect(path) as client:
            await client.open(wire.upgrade())
