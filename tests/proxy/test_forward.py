"""Plain HTTP through the guard: what goes on, what stays here, how both bodies flow, and who is told of failures.

tests/scenarios/test_http.py has it with real applications.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.proxy.house import House
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import Guard
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.model import ClientIPDetection, GuardSpec, TrustedProxies

LOOPS = ["uvloop"]
HOST = ("Host", "localhost")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

UPLOAD = wire.request("POST", "/up", [("Host", "localhost"), ("Content-Length", "5"), ("Expect", "100-continue")])


@asynccontextmanager
async def uploading(serve: Serve) -> AsyncIterator[RawClient]:
    """A client that has announced a body to a guard before a backend that is `serve`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, House(url) as house, connect(house.port) as client:
        await client.send(UPLOAD)
        yield client


async def test_a_backend_that_never_says_continue_gets_the_body() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with uploading(serve) as client:
        assert (await client.head()).status == 100
        await client.send(b"hello")
        head = await client.head()
        assert (head.status, await client.body(head)) == (200, b"hello")


async def test_no_continue_stands_in_an_answer_that_came_without_it() -> None:
    """However long it takes, and though the body is still held back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nfar")
        await asyncio.sleep(1.5)
        writer.write(b"too")
        await writer.drain()

    async with uploading(serve) as client:
        head = await client.head()
        assert (head.status, await client.body(head)) == (413, b"fartoo")


async def test_a_switch_that_nobody_asked_for_is_counted_and_logged(backend: RecordingBackend) -> None:
    backend.respond = answers.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", close=False)
    async with Guard(backend) as guard, connect(guard.port) as client:
        await client.send(wire.request("GET", "/page", [("Host", "localhost")]))
        assert (await client.head()).status == 502
        line = await guard.log({"event": "request_turned_away"})
        assert (line["status"], line["detail"]) == (502, "the backend switched protocols unasked")
        assert await guard.metric("wsguard_requests_turned_away_total", status="502") == 1


async def test_a_client_that_leaves_its_download_was_not_turned_away(backend: RecordingBackend) -> None:
    backend.respond = answers.reply(200, b"x" * 20_000_000)
    async with Guard(backend) as guard:
        for _ in range(10):
            async with connect(guard.port) as client:
                await client.send(wire.request("GET", "/down", [("Host", "localhost")]))
                await client.head()
                client.reset()
        await eventually(lambda: all(each.writer.is_closing() for each in backend.conversations))
        assert await guard.metric("wsguard_requests_turned_away_total") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nSet Cookie: session=s3cr3t\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: session=s3cr3t\r\nContent-Len",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\ns3cr3t\r\n",
        "s3cr3t\r\n\r\n",
        "",
    ],
    ids=["bad field", "half a head", "bad chunk", "no HTTP", "nothing"],
)
async def test_a_broken_answer_is_told_without_quoting_it(backend: RecordingBackend, answer: str) -> None:
    """Neither what the backend sent nor the query of the request gets into the log."""
    backend.respond = answers.raw(answer.encode())
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("GET", "/page?token=s3cr3t", [("Host", "localhost")]))
        await client.rest()
        told = house.notebook.turned
    assert len(told) == 1
    assert "s3cr3t" not in told[0][1]
    assert b"s3cr3t" not in client.received


@pytest.mark.parametrize("rest", [b"ZZ\r\n", b"5\r\nhelloGET /smuggled HTTP/1.1\r\n\r\n", b"0\r\nbad trailer\r\n\r\n"])
async def test_a_body_that_becomes_unreadable_is_ended_on_both_sides(backend: RecordingBackend, rest: bytes) -> None:
    """The backend, which waits for the rest, sees no end of the body but that of its connection."""
    async with House(backend) as house, connect(house.port) as client:
        head = wire.request("POST", "/up", [("Host", "localhost"), ("Transfer-Encoding", "chunked")])
        await client.send(head + b"5\r\nfirst\r\n")
        conversation = await backend.conversation()
        await eventually(lambda: b"first" in conversation.received, what="the first chunk at the backend")
        await client.send(rest)
        assert (await client.head()).status == 400
        await client.rest()
        await eventually(lambda: conversation.ended, what="the end of the backend's connection")
    assert b"smuggled" not in conversation.received
    assert b"0\r\n\r\n" not in conversation.received


async def ask(house: House, request: bytes) -> tuple[Head, bytes]:
    """Send one request on a connection of its own; its response."""
    async with connect(house.port) as client:
        await client.send(request)
        head = await client.head()
        return head, b"" if request.startswith(b"HEAD ") else await client.body(head)


def get(target: str = "/page", *fields: tuple[str, str], method: str = "GET") -> bytes:
    """A request without a body."""
    return wire.request(method, target, [HOST, *fields])


# Bodies.


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 §7.1)."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def test_an_event_arrives_before_the_next_is_sent(backend: RecordingBackend) -> None:
    """Nothing is held back for company: neither the head without a body, nor one event without the next."""
    go = asyncio.Queue[bytes]()

    async def respond(conversation: Conversation, head: Head) -> None:
        fields = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        await conversation.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        while event := await go.get():
            await conversation.send(chunk(event))
        await conversation.send(b"0\r\n\r\n")

    backend.respond = respond
    async with House(backend) as house, connect(house.port) as client:
        await client.send(get("/events"))
        head = await client.head()
        assert (head.status, head.get("content-type")) == (200, "text/event-stream")
        for event in (b"data: one\n\n", b"data: two\n\n"):
            go.put_nowait(event)
            sent = chunk(event)
            assert await asyncio.wait_for(client.reader.readexactly(len(sent)), 5.0) == sent
        go.put_nowait(b"")
        assert await asyncio.wait_for(client.reader.readexactly(5), 5.0) == b"0\r\n\r\n"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_body_arrives_as_it_is_sent(backend: RecordingBackend, chunked: bool) -> None:
    field = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "10")
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("POST", "/up", [HOST, field]))
        conversation = await backend.conversation()
        for part in (b"first", b"later"):
            assert part not in conversation.received
            await client.send(chunk(part) if chunked else part)
            await eventually(partial(operator.contains, conversation.received, part), what="the part")
        if chunked:
            await client.send(b"0\r\n\r\n")
        assert (await client.head()).status == 200
        head = backend.requests[0]
        assert head.all("transfer-encoding") == (["chunked"] if chunked else [])
        assert head.all("content-length") == ([] if chunked else ["10"])


async def test_both_bodies_flow_at_once(backend: RecordingBackend) -> None:
    """An answer that begins before the question has ended."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2):
            size = int(await reader.readline(), 16)
            writer.write(chunk((await reader.readexactly(size)).upper()))
            await reader.readexactly(2)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await reader.readexactly(5)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, House(url) as house, connect(house.port) as client:
        await client.send(wire.request("POST", "/echo", [HOST, ("Transfer-Encoding", "chunked")]))
        assert (await client.head()).status == 200
        for part in (b"one", b"two"):
            await client.send(chunk(part))
            sent = chunk(part.upper())
            assert await asyncio.wait_for(client.reader.readexactly(len(sent)), 5.0) == sent
        await client.send(b"0\r\n\r\n")
        assert await asyncio.wait_for(client.reader.readexactly(5), 5.0) == b"0\r\n\r\n"


async def test_trailers_are_dropped(backend: RecordingBackend) -> None:
    """Both ways: whoever judged the fields of the head has not seen them (RFC 9110 §6.5)."""
    backend.respond = answers.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Late: secret\r\n\r\n",
        close=False,
    )
    fields = [HOST, ("Transfer-Encoding", "chunked"), ("Trailer", "X-User"), ("TE", "trailers")]
    async with House(backend) as house, connect(house.port) as client:
        await client.send(wire.request("POST", "/up", fields) + b"2\r\nhi\r\n0\r\nX-User: root\r\n\r\n")
        head = await client.head()
        assert head.get("trailer") is None
        assert await asyncio.wait_for(client.reader.readexactly(12), 5.0) == b"2\r\nok\r\n0\r\n\r\n"
        (conversation,) = backend.conversations
        assert b"X-User" not in conversation.received
        assert b"trailers" not in conversation.received


def head_only(text: str) -> Answer:
    """An answer that is all head."""

    async def respond(conversation: Conversation, head: Head) -> None:
        await conversation.send(text.encode())

    return respond


@pytest.mark.parametrize("field", [("Content-Length", "12345"), ("Transfer-Encoding", "chunked")])
async def test_head_has_fields_and_no_body(backend: RecordingBackend, field: tuple[str, str]) -> None:
    """A length that a GET would have had is passed on; and the connection goes on."""
    backend.respond = head_only(f"HTTP/1.1 200 OK\r\n{field[0]}: {field[1]}\r\nETag: x\r\n\r\n")
    async with House(backend) as house, connect(house.port) as client:
        await client.send(get(method="HEAD"))
        head = await client.head()
        assert (head.status, head.get("etag")) == (200, "x")
        assert head.get("content-length") == (field[1] if field[0] == "Content-Length" else None)
        assert backend.requests[0].start == "HEAD /page HTTP/1.1"
        backend.respond = answers.reply(200, b"ok")
        await client.send(get("/again"))
        assert await client.body(await client.head()) == b"ok"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body(backend: RecordingBackend, status: int) -> None:
    backend.respond = head_only(f"HTTP/1.1 {status} X\r\nETag: x\r\n\r\n")
    async with House(backend) as house, connect(house.port) as client:
        for _ in range(2):
            await client.send(get())
            head = await client.head()
            assert (head.status, head.get("etag"), head.get("transfer-encoding")) == (status, "x", None)


async def test_a_body_that_is_expected_with_100_continue(backend: RecordingBackend) -> None:
    """The backend says yes; the client is told so once, and the field goes on as it came."""
    async with House(backend) as house, connect(house.port) as client:
        await client.send(UPLOAD)
        assert (await client.head()).raw == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        head = await client.head()
        assert (head.status, await client.body(head)) == (200, b"ok")
        assert backend.requests[0].all("expect") == ["100-continue"]


@pytest.mark.parametrize("status", [401, 417])
async def test_a_body_that_the_backend_does_not_want(backend: RecordingBackend, status: int) -> None:
    """Its answer comes without a `100 Continue`, and the client may keep its body."""
    backend.says_continue = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno".encode())
        await writer.drain()
        await reader.read()

    async with uploading(serve) as client:
        head = await client.head()
        assert (head.status, await client.body(head)) == (status, b"no")


# Fields and targets.


async def test_what_belongs_to_one_connection_stays_here(backend: RecordingBackend) -> None:
    """In requests; a client cannot have dropped what the guard judges or adds."""
    fields = [
        ("Connection", "keep-alive, X-Drop, X-Forwarded-For, Cookie, Host"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eA=="),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABk"),
        ("X-Drop", "1"),
        ("X-Keep", "1"),
        ("Cookie", "a=b"),
        ("X-Wsguard-Subject", "root"),
        ("x_wsguard_subject", "root"),
    ]
    async with House(backend) as house:
        await ask(house, get("/page", *fields))
    (head,) = backend.requests
    assert head.fields == (
        ("Host", "localhost"),
        ("X-Keep", "1"),
        ("Cookie", "a=b"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "localhost"),
    )


async def test_fields_of_an_answer_pass_as_sent(backend: RecordingBackend) -> None:
    """Order, spelling and repetition; only what belongs to the connection does not."""
    fields = [
        ("Set-Cookie", "a=1; Path=/"),
        ("X-oDD", "1"),
        ("Set-Cookie", "b=2"),
        ("Content-Encoding", "gzip"),
        ("Keep-Alive", "timeout=5"),
        ("Upgrade", "h2c"),
        ("Connection", "X-Hop, Set-Cookie"),
        ("X-Hop", "1"),
    ]
    backend.respond = answers.reply(418, b"\x1f\x8b not really gzip", fields)
    async with House(backend) as house:
        head, body = await ask(house, get())
        assert (head.start, body) == ("HTTP/1.1 418 Status", b"\x1f\x8b not really gzip")
        assert head.all("x-odd") == ["1"]
        assert ("X-oDD", "1") in head.fields
        assert head.get("content-encoding") == "gzip"
        assert not {"upgrade", "keep-alive", "x-hop", "server", "date"} & {name.lower() for name, _ in head.fields}


async def test_every_set_cookie_is_kept(backend: RecordingBackend) -> None:
    backend.respond = answers.reply(200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", "a=2"), ("Set-Cookie", "b=3")])
    async with House(backend) as house:
        head, _ = await ask(house, get())
    assert head.all("set-cookie") == ["a=1", "a=2", "b=3"]


@pytest.mark.parametrize("trusted", [False, True])
async def test_forwarded_fields_are_the_guards_own(backend: RecordingBackend, trusted: bool) -> None:
    """Set afresh, or appended to what a trusted peer says."""
    detection = ClientIPDetection(x_forwarded_for=TrustedProxies(trusted_cidrs=("127.0.0.0/8",)))
    guard = GuardSpec(client_ip_detection=detection if trusted else None)
    fields = [
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "127.0.0.9:444"),
        ("Forwarded", "for=6.6.6.6"),
    ]
    async with House(backend, guard=guard) as house:
        await ask(house, get("/page", *fields))
    (head,) = backend.requests
    assert head.fields[1:] == (
        (
            ("X-Forwarded-For", "198.51.100.1, 203.0.113.7, 127.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "127.0.0.9:444"),
        )
        if trusted
        else (
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "localhost"),
        )
    )


TARGETS = [
    "/a%2Fb/%41%e2%82%ac?x=%2f&y=a+b&%00",
    "/page??a=b?",
    "//evil.test/x",
    "/a//b/../c/./d;v=1",
    "/~user/!$&'()*+,;=:@",
    "/%",
    '/"<>`{|}',
]


@pytest.mark.parametrize("target", TARGETS)
async def test_a_target_passes_byte_for_byte(backend: RecordingBackend, target: str) -> None:
    async with House(backend) as house:
        await ask(house, get(target))
    assert [head.start for head in backend.requests] == [f"GET {target} HTTP/1.1"]


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH"])
async def test_any_method_passes(backend: RecordingBackend, method: str) -> None:
    async with House(backend) as house:
        head, _ = await ask(house, get(method=method))
    assert head.status == 200
    assert backend.requests[0].start == f"{method} /page HTTP/1.1"


# Ends.


async def test_a_dead_backend_is_a_502() -> None:
    async with House("http://127.0.0.1:9") as house:
        head, body = await ask(house, get())
        assert (head.status, body) == (502, b"the backend gave no usable answer\n")
        assert [status for status, _ in house.notebook.turned] == [502]


BROKEN: dict[str, Answer] = {
    "an unasked 101": answers.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nsecret", close=False),
    "an end at once": answers.raw(b""),
    "half a head": answers.raw(b"HTTP/1.1 200 OK\r\nX-Secret: se"),
    "garbage": answers.raw(b"\x00\xffsecret\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_502(backend: RecordingBackend, name: str) -> None:
    """Its connection is not used again, and nothing of it is passed on."""
    backend.respond = BROKEN[name]
    async with House(backend) as house:
        head, body = await ask(house, get())
        assert head.status == 502
        assert b"secret" not in head.raw.lower() + body.lower()
        for conversation in backend.conversations:
            await conversation.until_ended()
        backend.respond = answers.reply(200, b"ok")
        assert (await ask(house, get()))[1] == b"ok"


@pytest.mark.parametrize("kind", ["TCP", "Unix"])
async def test_what_nobody_asked_for_is_nobodys_answer(tmp_path: Path, kind: str) -> None:
    """A second answer on a connection that is kept alive: it may be of another client, so it goes to none."""
    path = str(tmp_path / "app.sock") if kind == "Unix" else None
    begins = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", close=False)
    async with RecordingBackend(respond=begins, path=path) as backend, House(backend) as house:
        async with connect(house.port) as client:
            await client.send(get())
            await client.head()
            assert await client.reader.readexactly(1) == b"o"
            conversation = await backend.conversation()
            await conversation.send(b"kHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
            assert await client.reader.readexactly(1) == b"k"
        backend.respond = answers.reply(200, b"ok")
        assert (await ask(house, get("/next")))[1] == b"ok"
        await conversation.until_ended()


async def test_an_answer_without_bounds_is_the_last_to_http_1_0(backend: RecordingBackend) -> None:
    """Its body ends with the connection: an answer to the next request would be a part of it."""
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"whole") + chunk(b"")
    backend.respond = answers.raw(chunks, close=False)
    old = get("/page", ("Connection", "keep-alive")).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with House(backend) as house, connect(house.port) as client:
        await client.send(old + old)
        head = await client.head()
        assert head.get("connection") is None
        assert await client.rest() == b"whole"


CUT = {
    "a length": b"Content-Length: 100\r\n\r\nhalf",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "in a chunk": b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("name", CUT)
async def test_half_a_body_does_not_look_like_a_whole_one(backend: RecordingBackend, name: str, version: str) -> None:
    """To a client of HTTP/1.0 a plain end would mean just that: it sees an RST."""
    backend.respond = answers.raw(b"HTTP/1.1 200 OK\r\n" + CUT[name])
    async with House(backend) as house, connect(house.port) as client:
        await client.send(get().replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        head = await client.head()
        assert head.status == 200
        try:
            body = await client.rest()
        except ConnectionResetError:
            return
        assert b"\r\n0\r\n" not in body
        assert head.get("content-length") == "100" or head.get("transfer-encoding") == "chunked"


@pytest.mark.parametrize("when", ["before the answer", "in its own body", "in the answer's body"])
async def test_a_client_that_leaves_ends_the_backends_request(backend: RecordingBackend, when: str) -> None:
    """Nobody works on for nobody, and nobody was turned away."""

    async def respond(conversation: Conversation, head: Head) -> None:
        if when == "in the answer's body":
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
        while await conversation.receive():
            pass

    backend.respond = respond
    async with House(backend) as house:
        async with connect(house.port) as client:
            if when == "in its own body":
                await client.send(wire.request("POST", "/up", [HOST, ("Content-Length", "1000000")]) + b"some")
            else:
                await client.send(get())
            conversation = await backend.conversation()
            if when == "in the answer's body":
                await client.head()
        await conversation.until_ended()
        assert house.notebook.turned == []


async def test_a_slow_client_holds_the_backend_back(backend: RecordingBackend) -> None:
    """A download is not kept in memory for whoever does not fetch it."""
    sent = 0

    async def respond(conversation: Conversation, head: Head) -> None:
        nonlocal sent
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            await conversation.send(b"x" * 100_000)
            sent += 100_000

    backend.respond = respond
    async with House(backend) as house, connect(house.port, receive_buffer=4096) as client:
        await client.send(get("/down"))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 60_000_000  # the kernel's buffers; the guard's own are nothing beside them
        client.reset()
