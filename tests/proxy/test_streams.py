"""Event streams and long polls under a policy: judged, registered, and ended as cleanly as HTTP allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.proxy.house import House
from tests.proxy.login import ANN, ann, with_login
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect, fetch
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.model import (
    ClientIPDetection,
    Connections,
    Enforcement,
    GuardSpec,
    Handshakes,
    KeepAlive,
    Limits,
    MissingOrigin,
    NonWebSocket,
    OriginSpec,
    PolicySpec,
    Rate,
    Session,
    TrustedProxies,
    Unit,
)
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection, Stream
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout, log_out

SOCKET, EVENTS, POLL = Stream.WEB_SOCKET, Stream.SERVER_SENT_EVENTS, Stream.LONG_POLLING
ALL = PolicySpec(streams=(SOCKET, EVENTS, POLL))
ASKS = ("Accept", "text/event-stream")
HOST = ("Host", "localhost")
HERE = ("Sec-Fetch-Site", "same-origin")
FOREIGN = ("Origin", "https://evil.example")
OWN = ("Origin", "http://localhost")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
TOKEN = ("Authorization", "Bearer x.y.z")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Feed:
    """A backend's event stream, which the test feeds."""

    def __init__(self, backend: RecordingBackend, more: bytes = b"Transfer-Encoding: chunked\r\n") -> None:
        self._more = more
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        backend.respond = self.respond

    async def respond(self, conversation: Conversation, head: Head) -> None:
        await conversation.send(HEAD + self._more + b"\r\n")
        while (part := await self._queue.get()) is not None:
            await conversation.send(chunk(part) if b"chunked" in self._more else part)
        if b"chunked" in self._more:
            await conversation.send(b"0\r\n\r\n")
        else:
            conversation.close()

    def say(self, part: bytes | None) -> None:
        self._queue.put_nowait(part)


@asynccontextmanager
async def asking(
    house: House, *fields: tuple[str, str], target: str = "/events", method: str = "GET"
) -> AsyncIterator[RawClient]:
    async with connect(house.port) as client:
        await client.send(wire.request(method, target, [HOST, *fields]))
        yield client


async def heard(client: RawClient, text: bytes) -> bytes:
    """What has come of the body by the time that `text` has."""
    await asyncio.wait_for(client.reader.readuntil(text), 5.0)
    return bytes(client.received)


async def the_one(house: House) -> Connection:
    await eventually(lambda: len(house.registry) == 1, what="a connection")
    return next(iter(house.registry))


async def refused(house: House, *fields: tuple[str, str], target: str = "/events", method: str = "GET") -> Head:
    head, body = await fetch(house.port, target, *fields, method=method)
    assert head.get("cache-control") == "no-store"
    assert head.get("retry-after") or head.status == 400
    return head._replace(start=f"{head.status} {body.decode().split()[0]}")


async def test_a_stream_is_a_connection_until_it_ends(backend: RecordingBackend) -> None:
    feed = Feed(backend)
    async with House(backend, ALL) as house, asking(house, ASKS, OWN) as client:
        assert (await client.head()).get("content-type") == "text/event-stream"
        feed.say(b": ping\n\ndata: one\n\ndata: t")
        await heard(client, b"data: t")
        connection = await the_one(house)
        assert (connection.stream, connection.path, connection.origin) == (EVENTS, "/events", OWN[1])
        assert connection.link.traffic() == (0, 0, 1, 26)
        assert connection.link.state == "open"
        assert house.notebook.decisions[0].stream is EVENTS
        assert backend.requests[0].get("x-wsguard-connection-id") == connection.id
        feed.say(None)
        await heard(client, b"0\r\n\r\n")
        ended = await house.end()
        assert (ended.initiator, ended.reason, ended.delivery) == ("backend", CloseReason.BACKEND_CLOSED, "none")


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "found-out"])
async def test_a_cut_ends_between_two_events(backend: RecordingBackend, is_asked: bool) -> None:
    feed = Feed(backend)
    async with House(backend, ALL.model_copy(update={"streams": (EVENTS,)})) as house:
        async with asking(house, *([ASKS] if is_asked else [])) as client:
            await client.head()
            feed.say(b"data: one\n\ndata: tw")
            await heard(client, b"data: tw")
            (await the_one(house)).link.cut(CloseReason.LOGGED_OUT)
            assert (await the_one(house)).link.state == "closing"
            feed.say(b"o\n\ndata: three\n\n")
            assert await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0) == (
                b"\r\n" + chunk(b"o\n\n") + chunk(b": logged-out\n\n") + b"0\r\n\r\n"
            )
            ended = await house.end()
            assert (ended.reason, ended.delivery, ended.traffic.messages_from_backend) == (
                CloseReason.LOGGED_OUT,
                "sent",
                2,
            )
        feed.say(None)
        await eventually(lambda: backend.conversations[0].ended, what="the end at the backend")


async def test_an_event_without_end_is_cut_after_the_grace(backend: RecordingBackend) -> None:
    feed, quick = Feed(backend), ALL.rejection.model_copy(update={"close_timeout": 0.2})
    async with House(backend, ALL.model_copy(update={"rejection": quick})) as house, asking(house, ASKS) as client:
        await client.head()
        feed.say(b"data: on")
        await heard(client, b"data: on")
        (await the_one(house)).link.leave(CloseReason.DRAINING)
        assert await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0) == b"\r\n0\r\n\r\n"


async def test_a_drain_says_when_to_come_back(backend: RecordingBackend) -> None:
    Feed(backend)
    async with House(backend, ALL) as house:
        async with asking(house, ASKS) as client:
            await client.head()
            (await the_one(house)).link.leave(CloseReason.DRAINING)
            words = await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0)
            assert b": draining\nretry: " in words
        house.draining = True
        assert (await refused(house, ASKS)).start == "503 draining"


async def test_a_stalled_client_is_not_waited_for(backend: RecordingBackend) -> None:
    feed, quick = Feed(backend), ALL.rejection.model_copy(update={"close_timeout": 0.2})
    async with House(backend, ALL.model_copy(update={"rejection": quick})) as house, asking(house, ASKS) as client:
        await client.head()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(200):
            feed.say(b"data: " + b"x" * 65536 + b"\n\n")
        connection = await the_one(house)

        async def is_full() -> bool:
            before = connection.link.traffic().bytes_from_backend
            await asyncio.sleep(0.3)
            return before == connection.link.traffic().bytes_from_backend > 1_000_000

        await eventually(is_full, what="a full pipe")
        connection.link.cut(CloseReason.TERMINATED)
        ended = await house.end()
        assert (ended.reason, ended.delivery) == (CloseReason.TERMINATED, "undelivered")


async def test_an_encoded_stream_ends_where_it_stands(backend: RecordingBackend) -> None:
    feed = Feed(backend, b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n")
    async with House(backend, ALL) as house, asking(house, ASKS) as client:
        await client.head()
        feed.say(b"\x1f\x8b")
        await heard(client, b"\x1f\x8b")
        (await the_one(house)).link.cut(CloseReason.LOGGED_OUT)
        assert await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0) == b"\r\n0\r\n\r\n"


async def test_what_has_a_length_must_not_look_whole(backend: RecordingBackend) -> None:
    feed = Feed(backend, b"Content-Length: 1000\r\n")
    async with House(backend, ALL) as house, asking(house, ASKS) as client:
        await client.head()
        feed.say(b"data: one\n\n")
        await heard(client, b"data: one\n\n")
        (await the_one(house)).link.cut(CloseReason.LOGGED_OUT)
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_client_that_leaves_is_gone(backend: RecordingBackend) -> None:
    Feed(backend)
    async with House(backend, ALL) as house:
        async with asking(house, ASKS) as client:
            await client.head()
            await the_one(house)
        ended = await house.end()
        assert (ended.initiator, ended.reason) == ("client", CloseReason.CLIENT_LOST)


async def test_a_backend_that_dies_is_named(backend: RecordingBackend) -> None:
    feed = Feed(backend)
    async with House(backend, ALL) as house, asking(house, ASKS) as client:
        await client.head()
        feed.say(b"data: one\n\n")
        await heard(client, b"data: one\n\n")
        backend.conversations[0].reset()
        ended = await house.end()
        assert (ended.initiator, ended.reason) == ("backend", CloseReason.BACKEND_LOST)


# Polls.


async def test_a_poll_that_waits_is_answered_when_it_is_cut(backend: RecordingBackend) -> None:
    backend.respond = answers.silence()
    async with House(backend, ALL) as house, asking(house, target="/poll") as client:
        connection = await the_one(house)
        assert connection.stream is POLL
        await backend.conversation()
        connection.link.cut(CloseReason.LOGGED_OUT)
        head = await client.head()
        assert (head.status, await client.body(head)) == (401, b"logged-out\n")
        assert head.get("retry-after")
        assert (await house.end()).delivery == "sent"


async def test_an_answer_that_has_begun_may_become_whole(backend: RecordingBackend) -> None:
    go = asyncio.Event()

    async def respond(conversation: Conversation, head: Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await go.wait()
        await conversation.send(b"later")

    backend.respond = respond
    async with House(backend, ALL) as house, asking(house, target="/poll") as client:
        await client.head()
        await heard(client, b"first")
        (await the_one(house)).link.cut(CloseReason.LOGGED_OUT)
        go.set()
        await heard(client, b"later")
        assert (await house.end()).reason is CloseReason.LOGGED_OUT


async def test_a_drain_leaves_what_changes_something_to_its_end(backend: RecordingBackend) -> None:
    go = asyncio.Event()

    async def respond(conversation: Conversation, head: Head) -> None:
        await go.wait()
        await answers.reply(200, b"done")(conversation, head)

    backend.respond = respond
    async with House(backend, ALL) as house, asking(house, OWN, target="/poll", method="POST") as client:
        connection = await the_one(house)
        connection.link.leave(CloseReason.DRAINING)
        go.set()
        assert (await client.head()).status == 200
        assert (await house.end()).reason is CloseReason.BACKEND_CLOSED


async def test_who_logs_out_by_a_judged_request_reads_the_answer(backend: RecordingBackend) -> None:
    """The application may tell the guard before it answers; the cookie that it clears then is in its answer."""
    async with House(backend, with_login(streams=(SOCKET, POLL))) as house:
        house.facts.identity = ANN

        async def respond(conversation: Conversation, head: Head) -> None:
            log_out(Logout("sid", "s1", None, 0.0), house.registry, house.deny_list, house.clock.wall())
            await asyncio.sleep(0.1)
            await answers.reply(200, b"bye")(conversation, head)

        backend.respond = respond
        head, body = await fetch(house.port, "/logout", OWN, TOKEN, method="POST")
        assert (head.status, body) == (200, b"bye")


# The verdict.


@pytest.mark.parametrize(
    ("target", "method", "fields"),
    [("/events", "GET", [ASKS]), ("/poll", "GET", []), ("/poll", "POST", []), ("/poll", "OPTIONS", [])],
    ids=["events", "poll", "post", "options"],
)
async def test_a_foreign_page_reads_nothing(
    backend: RecordingBackend, target: str, method: str, fields: list[tuple[str, str]]
) -> None:
    async with House(backend, with_login(streams=(SOCKET, EVENTS, POLL))) as house:
        head = await refused(house, *fields, FOREIGN, ("Cookie", "session=1"), target=target, method=method)
        assert head.start == "403 origin-denied"
        assert head.get("access-control-allow-origin") is None
        assert house.notebook.decisions[0].reason is CloseReason.ORIGIN_DENIED
    assert backend.requests == []


async def test_a_foreign_page_does_not_read_what_turns_out_to_be_a_stream(backend: RecordingBackend) -> None:
    feed = Feed(backend)
    async with House(backend, PolicySpec(streams=(EVENTS,))) as house:
        assert (await refused(house, FOREIGN, ("Cookie", "session=1"))).start == "403 origin-denied"
        feed.say(None)
        await eventually(lambda: backend.conversations[0].ended, what="the end at the backend")
        head, body = await fetch(house.port, "/events//", FOREIGN)
        assert (head.status, body) == (400, b"the path has an empty segment (//)\n")


async def test_what_else_the_path_has_is_not_judged(backend: RecordingBackend) -> None:
    async with House(backend, PolicySpec(streams=(EVENTS,))) as house:
        head, body = await fetch(house.port, "/page;x", FOREIGN, ("Cookie", "session=1"))
        assert (head.status, body) == (200, b"ok")
        assert house.notebook.decisions == []


@pytest.mark.parametrize(
    "target", ["//poll", "/x/../poll", "/%2e%2e/poll", "/poll;x", "/po%6Cl%2F", "/poll%00", "/poll%"]
)
async def test_a_hostile_path_gets_nowhere(backend: RecordingBackend, target: str) -> None:
    async with House(backend, ALL) as house:
        assert (await fetch(house.port, target))[0].status == 400
        assert (await fetch(house.port, target, ASKS))[0].status == 400
    assert backend.requests == []


async def test_what_is_judged_is_forwarded_byte_for_byte(backend: RecordingBackend) -> None:
    async with House(backend, with_login(streams=(POLL,))) as house:
        house.facts.identity = ANN
        target = "/p%6Fll/%E2%82%AC?a=%2F&access_token=x.y.z&b=//"
        forged = [("X_User", "root"), ("X-Wsguard-Connection-Id", "1"), ("Connection", "x-user, authorization")]
        cookie = ("Cookie", "a=1; session=x.y.z; b=2")
        head, _ = await fetch(house.port, target, HERE, TOKEN, cookie, *forged)
        assert head.status == 200
    (seen,) = backend.requests
    assert seen.target == "/p%6Fll/%E2%82%AC?a=%2F&b=//"
    assert (seen.all("x-user"), seen.all("x_user"), seen.get("authorization")) == (["ann"], [], None)
    assert (seen.get("cookie"), len(seen.all("x-wsguard-connection-id"))) == ("a=1; b=2", 1)


async def test_nobody_is_let_in_without_a_credential(backend: RecordingBackend) -> None:
    async with House(backend, with_login(streams=(SOCKET, EVENTS, POLL))) as house:
        head = await refused(house, ASKS, OWN)
        assert head.start == "401 credential-missing"
        assert head.get("access-control-allow-origin") == OWN[1]
        assert head.get("vary") == "Origin"


async def test_expiry_ends_a_stream_and_keeps_it_out(backend: RecordingBackend) -> None:
    Feed(backend)
    async with House(backend, with_login(streams=(EVENTS,))) as house:
        house.facts.identity = ann(expires_at=house.clock.wall() + 0.3 - 30.0)
        async with asking(house, ASKS, TOKEN) as client:
            await client.head()
            assert b": session-expired\n\n" in await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0)
        assert (await refused(house, ASKS, TOKEN)).start == "401 credential-expired"


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "found-out"])
async def test_a_log_out_between_the_verdict_and_the_answer(backend: RecordingBackend, is_asked: bool) -> None:
    async with House(backend, with_login(streams=(EVENTS,))) as house:
        house.facts.identity = ANN

        async def respond(conversation: Conversation, head: Head) -> None:
            log_out(Logout("sid", "s1", None, 0.0), house.registry, house.deny_list, house.clock.wall())
            await conversation.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

        backend.respond = respond
        assert (await refused(house, TOKEN, *([ASKS] if is_asked else []))).start == "401 logged-out"
        assert (await refused(house, ASKS, TOKEN)).start == "401 logged-out"
        await house.empty()


async def test_idle_is_a_stream_without_data(backend: RecordingBackend) -> None:
    feed = Feed(backend)
    policy = PolicySpec(streams=(EVENTS,), session=Session(idle_timeout=30.0))
    async with House(backend, policy) as house, asking(house, ASKS) as client:
        await client.head()
        house.clock.monotonic_offset += 29.0
        feed.say(b"data: 1\n\n")
        await heard(client, b"data: 1\n\n")
        house.clock.monotonic_offset += 29.0
        feed.say(b": ping\n\n")
        await heard(client, b": ping\n\n")
        house.clock.monotonic_offset += 2.0
        assert (await house.end()).reason is CloseReason.IDLE_TIMEOUT


async def test_a_policy_that_audits_lets_through_and_cuts_not(backend: RecordingBackend) -> None:
    Feed(backend)
    audit = with_login(streams=(EVENTS,), enforcement=Enforcement.AUDIT, origin=OriginSpec())
    async with House(backend, audit) as house, asking(house, ASKS, FOREIGN, ("X-User", "root")) as client:
        assert (await client.head()).status == 200
        connection = await the_one(house)
        assert [(it.result, it.reason) for it in house.notebook.decisions] == [("audited", CloseReason.ORIGIN_DENIED)]
        assert backend.requests[0].get("x-user") is None
        connection.link.cut(CloseReason.SESSION_EXPIRED)
        assert connection.link.state == "open"
        assert [reason for _, reason in house.notebook.spares] == [CloseReason.SESSION_EXPIRED]


async def test_a_preflight_is_the_applications_to_answer(backend: RecordingBackend) -> None:
    origin = OriginSpec.model_validate({"allowOrigins": ["SameHost", "https://app.example"]})
    asks: list[tuple[str, str]] = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]
    carried = [TOKEN, ("Cookie", "session=x"), ("X-User", "root")]
    said = (("Access-Control-Allow-Origin", "https://app.example"), ("X-Secret", "1"), ("Vary", "Origin"))
    backend.respond = answers.reply(200, b"what a GET would say", said)
    async with House(backend, with_login(streams=(POLL,), origin=origin)) as house:
        head, body = await fetch(house.port, "/poll?access_token=x.y.z", *asks, *carried, method="OPTIONS")
        assert (head.status, body, head.get("x-secret")) == (200, b"", None)  # any program may call it a preflight
        assert (head.get("access-control-allow-origin"), head.get("vary")) == ("https://app.example", "Origin")
        assert (await refused(house, *asks, ("Content-Length", "0"), method="POST")).start == "401 credential-missing"
    (seen,) = backend.requests
    assert (seen.start.split()[0], seen.target) == ("OPTIONS", "/poll")
    assert [seen.get(name) for name in ("authorization", "cookie", "x-user")] == [None] * 3


async def test_only_what_is_judged_where_the_rest_is_denied(backend: RecordingBackend) -> None:
    guard = GuardSpec(non_web_socket=NonWebSocket.DENY)
    async with House(backend, PolicySpec(streams=(SOCKET, EVENTS)), guard) as house:
        assert (await fetch(house.port, "/page"))[0].status == 403
        assert (await fetch(house.port, "/events", ASKS))[0].status == 200


async def test_a_websocket_is_not_for_a_policy_of_streams(backend: RecordingBackend) -> None:
    async with House(backend, PolicySpec(streams=(EVENTS,))) as house, connect(house.port) as client:
        await client.open(wire.upgrade())
        assert await client.close_frame() == (4404, "no-policy")


async def test_a_head_of_a_stream_is_judged_and_is_none(backend: RecordingBackend) -> None:
    async def respond(conversation: Conversation, head: Head) -> None:
        await conversation.send(HEAD + b"Content-Length: 0\r\n\r\n")

    backend.respond = respond
    async with House(backend, PolicySpec(streams=(EVENTS,))) as house:
        assert (await fetch(house.port, "/events", method="HEAD"))[0].status == 200
        assert (await fetch(house.port, "/events", FOREIGN, method="HEAD"))[0].status == 403


async def test_a_cookie_that_logs_out_finds_the_stream(backend: RecordingBackend) -> None:
    Feed(backend)
    session: dict[str, Any] = {"logoutDetection": {"cookies": ["session"]}}
    policy = PolicySpec.model_validate({"streams": ["ServerSentEvents"], "session": session})
    open_to_all = policy.model_copy(update={"origin": OriginSpec(missing=MissingOrigin.ALLOW)})
    async with House(backend, open_to_all) as house, asking(house, ASKS, ("Cookie", "session=old")) as client:
        await client.head()
        await the_one(house)
        now = house.clock.wall()
        log_out(Logout("cookie", cookie_digest("old"), None, 0.0), house.registry, house.deny_list, now)
        assert b": logged-out\n\n" in await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), 5.0)


async def test_a_stream_has_no_pings(backend: RecordingBackend) -> None:
    feed = Feed(backend)
    spec = ALL.model_copy(update={"keep_alive": KeepAlive(client_ping_interval=0.1, timeout=0.1)})
    async with House(backend, spec) as house, asking(house, ASKS, OWN) as client:
        await client.head()
        feed.say(b"data: one\n\n")
        await heard(client, b"one\n\n")
        assert len(house.keepalive) == 0
        feed.say(None)
        await heard(client, b"0\r\n\r\n")


def capped(enforcement: Enforcement = Enforcement.ENFORCE, **caps: int) -> PolicySpec:
    return PolicySpec(streams=(EVENTS,), limits=Limits(connections=Connections(**caps)), enforcement=enforcement)


async def test_a_page_of_this_host_is_counted_by_its_origin(backend: RecordingBackend) -> None:
    """Which its GET does not name."""
    Feed(backend)
    async with House(backend, capped(per_origin=1)) as house, asking(house, ASKS, HERE) as client:
        await client.head()
        assert (await refused(house, ASKS, HERE)).start == "429 too-many-connections"
        assert (await refused(house, ASKS, OWN)).start == "429 too-many-connections"


async def test_who_is_only_audited_takes_nobodys_place(backend: RecordingBackend) -> None:
    Feed(backend)
    async with House(backend, capped(Enforcement.AUDIT, total=1)) as house, asking(house, ASKS, FOREIGN) as foreign:
        await foreign.head()
        async with asking(house, ASKS, OWN) as own:
            await own.head()
            assert [each.result for each in house.notebook.decisions] == ["audited", "admitted"]
            assert len(house.registry.census) == 1
            async with asking(house, ASKS, OWN) as one_too_many:
                await one_too_many.head()
                assert house.notebook.decisions[-1].reason is CloseReason.TOO_MANY_CONNECTIONS


async def test_who_comes_too_often_is_told_when_there_is_room_again(backend: RecordingBackend) -> None:
    rate = Handshakes(per_client_ip=Rate(requests=1, unit=Unit.HOUR))
    guard = GuardSpec(client_ip_detection=ClientIPDetection(x_forwarded_for=TrustedProxies(num_trusted_hops=1)))
    spec = PolicySpec(streams=(POLL,), limits=Limits(handshakes=rate))
    async with House(backend, spec, guard) as house:
        assert (await fetch(house.port, "/poll", OWN))[0].status == 200
        head = await refused(house, OWN)
        assert head.start == "429 handshake-rate"
        assert int(head.get("retry-after") or 0) > 3500
