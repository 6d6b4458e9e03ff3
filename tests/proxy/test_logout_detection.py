"""Log-outs seen in passing: the application's answer ends its session's sockets before the client reads it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.events.fakes import Notebook
from tests.policy.minting import provider
from tests.proxy.house import House
from tests.proxy.login import ANN
from tests.proxy.tunnel import QUICK
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Answer, Conversation, RecordingBackend
from tests.support.client import RawClient, connect, fetch
from tests.support.garbage import nothing_is_left
from tests.support.waiting import eventually, stays
from tests.support.wire import Head
from wsguard.events.bus import Bus
from wsguard.events.detection import LogoutDetector
from wsguard.policy.credentials import Credential
from wsguard.policy.effective import Effective
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.model import Enforcement, Jwt, MissingOrigin, OriginSpec, PolicySpec, Session, WebSocketPolicy
from wsguard.policy.tokens import TokenFact
from wsguard.protocol.http import RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy import forward, leaving
from wsguard.sessions.events import next_second
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout, log_out, log_out_everyone

LOOPS = ["uvloop"]
WATCHING = Session.model_validate(
    {"logoutDetection": {"cookies": ["session"], "requests": [{"method": "POST", "path": "/logout"}]}}
)
SPEC = PolicySpec(session=WATCHING, origin=OriginSpec(missing=MissingOrigin.ALLOW), rejection=QUICK)
CLEARED, REPLACED = ("Set-Cookie", "session=; Max-Age=0; Path=/"), ("Set-Cookie", "session=new; Path=/")
LOGGED_OUT = (4441, "logged-out")


def nobody(policy: WebSocketPolicy, credential: Credential) -> None:
    """No cookie here is good by itself."""


@asynccontextmanager
async def watched(backend: RecordingBackend, spec: PolicySpec = SPEC) -> AsyncIterator[House]:
    """A house with a detector that has no replicas."""
    async with nothing_is_left(), House(backend, spec) as house:
        bus = Bus(house.registry, house.deny_list, house.clock, Notebook(), list)
        house.env.session_watch = LogoutDetector(
            bus, house.registry, house.deny_list, house.clock, Notebook(), lambda: house.policies, nobody
        )
        yield house


@asynccontextmanager
async def socket(house: House, cookie: str = "session=old") -> AsyncIterator[RawClient]:
    async with connect(house.port) as client:
        await client.open(wire.upgrade("/ws", fields=[("Cookie", cookie)]))
        yield client


async def ask(house: House, *fields: tuple[str, str], target: str = "/", method: str = "GET") -> Head:
    """A plain request with the old cookie, through the guard."""
    sent = fields or (("Cookie", "session=old"),)
    head, _ = await fetch(house.port, target, *sent, method=method)
    return head


def accepting(field: tuple[str, str]) -> Answer:
    """Answer a handshake with 101 and `field`."""

    async def answer(conversation: Conversation, head: Head) -> None:
        switching = answers.switching(head, None, None)
        await conversation.send(switching.replace(b"\r\n\r\n", f"\r\n{': '.join(field)}\r\n\r\n".encode()))
        while await conversation.receive():
            pass

    return answer


async def test_an_answer_that_clears_the_cookie_ends_its_sockets_and_keeps_it_out(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house) as mine, socket(house, "session=other") as other:
        backend.respond = answers.reply(200, b"bye", [CLEARED])
        assert (await ask(house)).get("set-cookie") == CLEARED[1]
        assert await mine.close_frame() == LOGGED_OUT
        async with socket(house) as again:
            assert await again.close_frame() == LOGGED_OUT
        await other.send(wire.frame(wire.TEXT, b"still here"))
        async with socket(house, "session=third"):
            await eventually(lambda: len(house.registry) == 2)


async def test_a_listed_request_ends_them_and_a_link_to_it_does_not(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house) as mine:
        await ask(house, target="/logout")
        await ask(house, ("Cookie", "session=old"), ("Origin", "https://evil.test"), target="/logout", method="POST")
        await stays(lambda: len(house.registry) == 1, 0.1)
        assert (await ask(house, target="/logout", method="POST")).status == 200
        assert await mine.close_frame() == LOGGED_OUT


async def test_when_the_client_reads_the_answer_the_old_cookie_is_out(backend: RecordingBackend) -> None:
    """Though its body is not even there: no page can dial again in between."""

    async def slowly(conversation: Conversation, _: Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=; Max-Age=0\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(0.3)
        await conversation.send(b"hello")

    async with watched(backend) as house, socket(house):
        backend.respond = slowly
        async with connect(house.port) as client:
            await client.send(wire.request("GET", "/", [("Host", "localhost"), ("Cookie", "session=old")]))
            await client.head()
            assert house.deny_list.denies_cookie(cookie_digest("old"), (), house.clock.wall())


async def test_a_cookie_that_is_replaced_keeps_its_sockets_until_the_new_one_is_cleared(
    backend: RecordingBackend,
) -> None:
    async with watched(backend) as house, socket(house) as mine:
        backend.respond = answers.reply(200, b"", [REPLACED])
        await ask(house)
        async with socket(house, "session=new") as later:
            await stays(lambda: len(house.registry) == 2, 0.1)
            backend.respond = answers.reply(200, b"", [CLEARED])
            await ask(house, ("Cookie", "session=new"))
            assert await mine.close_frame() == LOGGED_OUT
            assert await later.close_frame() == LOGGED_OUT


async def test_the_answer_to_a_handshake_counts_as_any_other(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house) as mine:
        backend.answer = answers.reply(403, b"", [CLEARED])
        async with connect(house.port) as client:
            await client.open(wire.upgrade("/ws", fields=[("Cookie", "session=old")]))
            assert (await client.close_frame())[0] == 4403
        assert await mine.close_frame() == LOGGED_OUT


async def test_a_handshake_may_bring_a_new_cookie(backend: RecordingBackend) -> None:
    backend.answer = accepting(REPLACED)
    async with watched(backend) as house, socket(house) as mine:
        backend.respond = answers.reply(200, b"", [CLEARED])
        await ask(house, ("Cookie", "session=new"))
        assert await mine.close_frame() == LOGGED_OUT


async def test_a_backend_that_accepts_and_clears_at_once_ends_what_it_accepted(backend: RecordingBackend) -> None:
    backend.answer = accepting(CLEARED)
    async with watched(backend) as house, socket(house) as mine:
        assert await mine.close_frame() == LOGGED_OUT


async def test_a_policy_that_audits_records_it_and_cuts_nobody(backend: RecordingBackend) -> None:
    audit = SPEC.model_copy(update={"enforcement": Enforcement.AUDIT})
    async with watched(backend, audit) as house, socket(house):
        backend.respond = answers.reply(200, b"", [CLEARED])
        await ask(house)
        await eventually(lambda: house.notebook.spares)
        assert [reason for _, reason in house.notebook.spares] == [CloseReason.LOGGED_OUT]
        async with socket(house):
            await eventually(lambda: len(house.registry) == 2)
        assert house.notebook.decisions[-1].result == "audited"


async def test_who_is_only_let_in_by_an_audit_vouches_for_no_cookie(backend: RecordingBackend) -> None:
    audit = SPEC.model_copy(update={"enforcement": Enforcement.AUDIT, "origin": OriginSpec()})
    async with watched(backend, audit) as house, socket(house):
        assert house.notebook.decisions[-1].result == "audited"
        assert not house.registry.successions.knows(cookie_digest("old"))


async def test_a_jar_with_two_values_is_refused_at_the_door(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house, "session=a; session=b") as client:
        assert await client.close_frame() == (4401, "credential-invalid")


async def test_a_logout_between_the_verdict_and_the_registry_is_seen(backend: RecordingBackend) -> None:
    async with watched(backend) as house:

        async def accept(conversation: Conversation, request: Head) -> None:
            log_out(
                Logout("cookie", cookie_digest("old"), None, 0.0), house.registry, house.deny_list, house.clock.wall()
            )
            await answers.accept()(conversation, request)

        backend.answer = accept
        async with socket(house) as client:
            assert await client.close_frame() == LOGGED_OUT


async def test_a_gap_between_the_verdict_and_the_registry_closes_whom_nobody_named(backend: RecordingBackend) -> None:
    async with watched(backend) as house:

        async def accept(conversation: Conversation, request: Head) -> None:
            now = house.clock.wall()
            assert log_out_everyone(next_second(now), house.registry, house.deny_list, now) == 0
            await answers.accept()(conversation, request)

        backend.answer = accept
        async with socket(house) as client:
            assert await client.close_frame() == LOGGED_OUT
        backend.answer = answers.accept()
        house.clock.wall_offset += 1.0
        async with socket(house):
            await stays(lambda: len(house.registry) == 1, 0.2, "who comes later is another's affair")


async def test_a_logout_while_a_handshake_is_judged_is_held_against_it(backend: RecordingBackend) -> None:
    """Nobody knows the cookie yet, and the word that it is good was given before."""
    jwt = Jwt(providers=(provider("HS256", extract_from={"cookies": ["session"]}),))
    async with watched(backend, SPEC.model_copy(update={"jwt": jwt})) as house, connect(house.port) as client:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def gather(_: object, credentials: Sequence[Credential]) -> tuple[TokenFact, ...]:
            asked.set()
            await may_answer.wait()
            return tuple(TokenFact(credential, ANN) for credential in credentials)

        house.facts.gather = gather  # type: ignore[method-assign, assignment]
        await client.send(wire.upgrade("/ws", fields=[("Cookie", "session=old")]))
        await asked.wait()
        backend.respond = answers.reply(200, b"", [CLEARED])
        await ask(house)
        assert len(house.deny_list) == 0, "it may be invented"
        may_answer.set()
        assert (await client.head()).status == 101
        assert await client.close_frame() == LOGGED_OUT


async def test_a_good_cookie_is_known_though_the_backend_refused_the_socket(backend: RecordingBackend) -> None:
    async with watched(backend) as house:
        backend.answer = answers.reply(503)
        async with socket(house) as client:
            assert (await client.close_frame())[0] == 4503
        backend.respond = answers.reply(200, b"", [CLEARED])
        await ask(house)
        assert house.deny_list.denies_cookie(cookie_digest("old"), (), house.clock.wall())


class Stuck:
    """A watch whose streams never answer."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []
        self.published: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def concerns(self, request: RequestHead, effective: Effective) -> bool:
        return False

    def notice(self, exchange: Exchange) -> asyncio.Future[object]:
        self.seen.append(exchange)
        return self.published


async def test_streams_that_do_not_answer_hold_an_answer_up_for_a_moment_only(
    backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House(backend, SPEC) as house:
        house.env.session_watch = stuck = Stuck()
        began = time.monotonic()
        assert (await ask(house, target="/x?y")).status == 200
        assert 0.2 < time.monotonic() - began < 5.0
        (exchange,) = stuck.seen
        assert (exchange.request.target, exchange.status) == ("/x?y", 200)
        stuck.published.set_result(None)
        monkeypatch.setattr(forward, "_HELD_UP", 60.0)
        async with asyncio.timeout(10):
            await ask(house)


async def test_a_client_that_leaves_its_answer_does_not_take_the_logout_back(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house) as mine:
        backend.respond = answers.reply(200, b"x" * 10_000_000, [CLEARED])
        async with connect(house.port) as client:
            await client.send(wire.request("GET", "/", [("Host", "localhost"), ("Cookie", "session=old")]))
            await client.head()
            client.reset()
        assert await mine.close_frame() == LOGGED_OUT


def clearing_once(gate: asyncio.Event) -> Answer:
    """Clear the cookie in an answer that is sent once `gate` is open; and notice meanwhile who hangs up."""

    async def answer(conversation: Conversation, head: Head) -> None:
        reading = asyncio.ensure_future(conversation.receive())
        await gate.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await answers.reply(302, b"", [CLEARED])(conversation, head)

    return answer


MINE = ("Cookie", "session=old")


@pytest.mark.parametrize(
    ("method", "fields", "is_seen"),
    [
        ("POST", [MINE], True),
        ("GET", [MINE, ("Sec-Fetch-Mode", "navigate")], True),
        ("GET", [MINE, ("Sec-Fetch-Mode", "cors")], False),  # a long poll is not held open for nobody
        ("POST", [("Cookie", "other=1")], False),
    ],
)
async def test_who_leaves_before_the_answer_that_logs_him_out_is_logged_out(
    backend: RecordingBackend, method: str, fields: list[tuple[str, str]], is_seen: bool
) -> None:
    gate = asyncio.Event()
    async with watched(backend) as house, socket(house) as mine:
        backend.respond = clearing_once(gate)
        async with connect(house.port) as client:
            await client.send(wire.request(method, "/logout", [("Host", "localhost"), *fields]))
            await eventually(lambda: len(backend.requests) == 2, what="the backend has the request")
            client.reset()
        await eventually(lambda: not house.door.connections, what="the guard knows that the client has left")
        if is_seen:
            gate.set()
            assert await mine.close_frame() == LOGGED_OUT
            await eventually(lambda: not house.forwarder.seeing_out, what="nothing is left behind")
        else:
            await backend.conversations[1].until_ended()
            assert len(house.registry) == 1


async def test_an_answer_that_never_comes_is_waited_for_so_long(
    backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "PATIENCE", 0.2)
    async with watched(backend) as house:
        backend.respond = clearing_once(asyncio.Event())
        async with connect(house.port) as client:
            await client.send(wire.request("POST", "/logout", [("Host", "localhost"), MINE]))
            await eventually(lambda: len(backend.requests) == 1, what="the backend has the request")
        await eventually(lambda: house.forwarder.seeing_out, what="the request goes on")
        await backend.conversations[0].until_ended()
        await eventually(lambda: not house.forwarder.seeing_out, what="nothing is left behind")


async def test_only_so_many_are_waited_for(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "MOST", 2)
    async with watched(backend) as house, AsyncExitStack() as clients:
        backend.respond = clearing_once(asyncio.Event())
        for _ in range(3):
            client = await clients.enter_async_context(connect(house.port))
            await client.send(wire.request("POST", "/logout", [("Host", "localhost"), MINE]))
        await eventually(lambda: len(backend.requests) == 3, what="the backend has the requests")
        await clients.aclose()
        await eventually(lambda: sum(c.ended is not None for c in backend.conversations) == 1, what="one was given up")
        assert house.forwarder.seeing_out == 2


async def test_a_body_that_never_came_whole_logs_nobody_out(backend: RecordingBackend) -> None:
    async with watched(backend) as house, socket(house):
        backend.respond = answers.reply(302, b"", [CLEARED])
        async with connect(house.port) as client:
            head = [("Host", "localhost"), MINE, ("Content-Length", "10")]
            await client.send(wire.request("POST", "/logout", head) + b"half")
            await eventually(lambda: len(backend.requests) == 2, what="the backend has the request")
            client.reset()
        await backend.conversations[1].until_ended()
        await eventually(lambda: not house.forwarder.seeing_out, what="nothing is left behind")
        assert len(house.registry) == 1
