"""Everything else on the port: a whole legacy app behind one guard, streamed both ways."""

from __future__ import annotations

import hashlib

import aiohttp
import pytest

from tests.scenarios import servers
from tests.scenarios.conftest import Standing, stands
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect, fetch
from tests.support.guard import Guard, policy
from tests.support.waiting import eventually

TRUSTING = """
apiVersion: wsguard.dev/v1
kind: GuardConfig
spec:
  clientIPDetection: {xForwardedFor: {trustedCIDRs: [127.0.0.0/8]}}
"""
HOST = ("Host", "localhost")


async def test_a_fastapi_app_is_served_whole() -> None:
    """Pages, an upload, a download, and an event stream that arrives as it is written."""
    async with servers.uvicorn() as url, Guard(url) as guard, aiohttp.ClientSession(guard.url) as session:
        body = b"u" * 3_000_000
        async with session.post("/upload", data=_pieces(body)) as response:
            answer = await response.json()
            assert (answer["size"], answer["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        async with session.get("/download", params={"size": 5_000_000}) as response:
            assert await response.read() == b"d" * 5_000_000
        async with session.get("/events") as response:
            assert response.content_type == "text/event-stream"
            assert await response.content.readuntil(b"\n\n") == b"data: first\n\n"
            assert (await session.post("/has-read")).status == 200
            assert await response.content.readuntil(b"\n\n") == b"data: second\n\n"
        async with session.get("/nothing") as response:
            assert response.status == 404


async def _pieces(body: bytes):  # type: ignore[no-untyped-def]
    for at in range(0, len(body), 100_000):
        yield body[at : at + 100_000]


@stands
async def test_head_has_a_length_and_no_body(standing: Standing) -> None:
    """And the connection goes on."""
    guard, backend = standing
    backend.respond = answers.reply(200, b"twelve bytes")
    async with connect(guard.port) as client:
        for method, body in (("HEAD", b""), ("GET", b"twelve bytes")):
            await client.send(wire.request(method, "/page", [HOST]))
            head = await client.head()
            assert head.get("content-length") == "12"
            assert (await client.body(head) if method == "GET" else b"") == body
    assert [head.start.split()[0] for head in backend.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [204, 304])
@stands
async def test_answers_without_a_body(standing: Standing, status: int) -> None:
    """No length is invented for them."""
    guard, backend = standing
    backend.respond = answers.raw(f"HTTP/1.1 {status} X\r\nETag: x\r\n\r\n".encode(), close=False)
    async with connect(guard.port) as client:
        await client.send(wire.request("GET", "/page", [HOST]))
        head = await client.head()
        assert (head.status, head.get("etag")) == (status, "x")
        assert head.get("transfer-encoding") is None


@stands
async def test_hop_by_hop_fields_stay_here(standing: Standing) -> None:
    """Whatever belongs to one connection, and whatever Connection names; a client cannot name what we add."""
    guard, backend = standing
    fields = [
        ("Connection", "keep-alive, X-Drop, X-Forwarded-For, Cookie"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eA=="),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("X-Drop", "1"),
        ("X-Keep", "1"),
        ("Cookie", "a=b"),
        ("X-Wsguard-Subject", "root"),
        ("X_Wsguard_Subject", "root"),
    ]
    await fetch(guard.port, "/page", *fields)
    (head,) = backend.requests
    for name in ("keep-alive", "proxy-authorization", "te", "upgrade", "http2-settings", "x-drop"):
        assert head.get(name) is None, name
    assert not [name for name, _ in head.fields if "wsguard" in name.lower()]
    assert (head.get("x-keep"), head.get("cookie"), head.get("x-forwarded-for")) == ("1", "a=b", "127.0.0.1")


@stands
async def test_response_fields_pass_but_for_hop_by_hop(standing: Standing) -> None:
    """Several Set-Cookie, odd names, bytes beyond ASCII."""
    guard, backend = standing
    fields = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-odd", "caf\xe9"),
        ("Keep-Alive", "timeout=1"),
        ("Upgrade", "h2c"),
    ]
    backend.respond = answers.reply(418, b"tea", fields)
    head, body = await fetch(guard.port, "/page")
    assert (head.status, body) == (418, b"tea")
    assert head.all("set-cookie") == ["a=1", "b=2"]
    assert head.get("upgrade") is None
    assert head.get("server") is None


@pytest.mark.parametrize("trusting", [False, True])
async def test_forwarded_fields(backend: RecordingBackend, trusting: bool) -> None:
    """Set by the guard; what the peer says counts only where it is trusted, and is then appended to."""
    sent = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "app.example.com")]
    config = {"guard.yaml": TRUSTING} if trusting else {}
    spec = "match: {hostnames: [localhost, app.example.com]}"
    async with Guard(backend, {**config, "policy.yaml": policy(spec)}) as guard:
        await fetch(guard.port, "/page", *sent)
        async with connect(guard.port) as client:
            await client.open(wire.upgrade("/page", fields=sent))
    for head in backend.requests:
        got = [head.all(name) for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")]
        if trusting:
            assert got == [["203.0.113.7, 127.0.0.1"], ["https"], ["app.example.com"]]
        else:
            assert got == [["127.0.0.1"], ["http"], ["localhost"]]
        assert head.get("host") == "localhost"
    assert len(backend.requests) == 2


@pytest.mark.parametrize("target", ["/a%2Fb/%41?x=%2f&y=a+b", "/caf%C3%A9/?x", "/x;v=1?a;b", "/?q=a?b", "/a//b/../c"])
@stands
async def test_targets_pass_byte_for_byte(standing: Standing, target: str) -> None:
    """A page that is not judged may have any path that HTTP allows."""
    guard, backend = standing
    await fetch(guard.port, target)
    assert [head.target for head in backend.requests] == [target]


@pytest.mark.parametrize(
    "target",
    [
        "/.wsguard/",
        "/.wsguard/renew",
        "/%2ewsguard/renew",
        "/.wsguard%2Frenew",
        "//.wsguard/x",
        "/a/../.wsguard/x",
        "/.WSGUARD/x",
        "/./.wsguard/",
    ],
)
@stands
async def test_the_guards_own_paths_are_never_forwarded(standing: Standing, target: str) -> None:
    """In no encoding."""
    guard, backend = standing
    head, _ = await fetch(guard.port, target)
    if target != "/.WSGUARD/x":  # paths are case-sensitive: this one is the app's
        assert head.status in (400, 404, 405)
        assert not backend.requests


async def test_deny(backend: RecordingBackend) -> None:
    """`nonWebSocket: Deny` serves WebSockets only."""
    config = "apiVersion: wsguard.dev/v1\nkind: GuardConfig\nspec: {nonWebSocket: Deny}\n"
    async with Guard(backend, {"guard.yaml": config, "policy.yaml": policy()}) as guard:
        head, _ = await fetch(guard.port, "/page")
        assert head.status == 403
        assert not backend.requests
        async with connect(guard.port) as client:
            await client.open(wire.upgrade())


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "app.example.com"])
@stands
async def test_a_rebound_name_reads_nothing(standing: Standing, host: str) -> None:
    """On loopback only localhost names and addresses are the guard's own, for pages as for sockets."""
    guard, backend = standing
    async with connect(guard.port) as client:
        await client.send(wire.request("GET", "/page", [("Host", host)]))
        assert (await client.head()).status == 421
    async with connect(guard.port) as client:
        await client.open(wire.upgrade(host=host, origin=f"http://{host}"))
        assert await client.close_frame() == (4403, "host-denied")
    assert not backend.requests


@stands
async def test_keep_alive_carries_many_requests_then_an_upgrade(standing: Standing) -> None:
    """As browsers do: a page, another, then the socket on the same connection."""
    guard, backend = standing
    async with connect(guard.port) as client:
        for _ in range(20):
            await client.send(wire.request("GET", "/page", [HOST]))
            head = await client.head()
            assert await client.body(head) == b"ok"
        await client.open(wire.upgrade())
        await client.send(wire.frame(wire.TEXT, b"hello"))
        await eventually(lambda: len(backend.upgrades) == 1)
    assert len(backend.requests) == 21


@stands
async def test_an_http_1_0_client(standing: Standing) -> None:
    """Gets its answer and the end of the connection."""
    guard, _ = standing
    async with connect(guard.port) as client:
        await client.send(b"GET /page HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await client.head()).status == 200
        assert await client.rest() == b"ok"
