"""Which backend a handshake and a request go to, what is counted, and what is held against one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.proxy.house import House, TurnableClock
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.certificates import Authority
from tests.support.client import connect, fetch
from tests.support.ports import free_port
from tests.support.waiting import eventually
from wsguard.config.tls import backend_context
from wsguard.policy.model import Backend, PolicySpec
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.backends import FAILURES, SILENCE, Backends
from wsguard.proxy.forward import Forwarder
from wsguard.sessions.connection import Stream


@asynccontextmanager
async def house_with_two() -> AsyncIterator[tuple[House, RecordingBackend, RecordingBackend]]:
    """A house with `blue` and `green` behind it."""
    echo = answers.accept(echo=True)
    async with RecordingBackend(echo) as blue, RecordingBackend(echo) as green, House(blue) as house:
        pair = (Backend(name="blue", url=blue.url), Backend(name="green", url=green.url))
        house.env.backends = Backends(pair, house.clock)
        await house.forwarder.close()
        house.forwarder = house.door._router._forwarder = Forwarder(house.env)
        yield house, blue, green


async def test_what_is_new_goes_to_the_active_one_and_what_is_open_stays() -> None:
    async with house_with_two() as (house, blue, green), connect(house.port) as old, connect(house.port) as new:
        await old.open(wire.upgrade())
        assert (await fetch(house.port, "/page"))[0].status == 200
        house.env.backends.activate("green")
        await new.open(wire.upgrade())
        assert (await fetch(house.port, "/page"))[0].status == 200
        assert [len(each.upgrades) for each in (blue, green)] == [1, 1]
        assert [len(each.requests) for each in (blue, green)] == [2, 2]
        assert sorted(connection.backend for connection in house.registry) == ["blue", "green"]
        await old.send(wire.frame(wire.TEXT, b"still blue"))
        assert (await old.frame()).payload == b"still blue"


async def test_handshakes_and_requests_are_counted_while_they_are_under_way() -> None:
    go = asyncio.Event()

    async def slowly(conversation: answers.Conversation, head: wire.Head) -> None:
        await go.wait()
        await answers.accept()(conversation, head)

    async def streaming(conversation: answers.Conversation, head: wire.Head) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        while await conversation.receive():
            pass

    async with house_with_two() as (house, blue, _), connect(house.port) as client, connect(house.port) as reader:
        blue.answer, blue.respond, backends = slowly, streaming, house.env.backends
        await client.send(wire.upgrade())
        await reader.send(wire.request("GET", "/events", [("Host", "localhost")]))
        await eventually(lambda: (backends.handshakes("blue"), backends.requests("blue")) == (1, 1))
        backends.activate("green")
        go.set()
        await client.head()
        await eventually(lambda: not backends.handshakes("blue"))
        assert next(iter(house.registry)).backend == "blue", "what has begun does not change its backend"
        await reader.head()
        await reader.close()
        await eventually(lambda: not backends.requests("blue"))
        assert (backends.handshakes("green"), backends.requests("green")) == (0, 0)


async def test_counts_are_right_after_failures() -> None:
    async with RecordingBackend(answers.reply(503)) as refusing, House(refusing) as house:
        for _ in range(FAILURES):
            async with connect(house.port) as client:
                await client.open(wire.upgrade())
                await client.close_frame()
        assert house.env.backends.handshakes("default") == 0
        assert house.env.backends.doubt("default") == (
            f"default has failed {FAILURES} handshakes in a row: the backend answered 503"
        )


STREAMS = PolicySpec(streams=(Stream.WEB_SOCKET, Stream.SERVER_SENT_EVENTS, Stream.LONG_POLLING))
KINDS = [("event streams", ("Accept", "text/event-stream")), ("long polls", ("Accept", "*/*"))]


@pytest.mark.parametrize(("kind", "accept"), KINDS)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (answers.reply(503), "the backend answered 503"),
        (answers.raw(b"\x00\xffgarbage\r\n\r\n"), "no usable answer"),
        (answers.raw(b""), "no usable answer"),
    ],
    ids=["503", "garbage", "an end"],
)
async def test_streams_without_a_usable_answer_count_as_well(
    backend: RecordingBackend, kind: str, accept: tuple[str, str], answer: answers.Answer, why: str
) -> None:
    backend.respond = answer
    async with House(backend, STREAMS) as house:
        for _ in range(FAILURES):
            assert house.env.backends.doubt("default") is None
            await fetch(house.port, "/poll", accept)
        assert house.env.backends.doubt("default") == f"default has failed {FAILURES} {kind} in a row: {why}"
        async with connect(house.port) as client:
            backend.answer = answers.accept()
            await client.open(wire.upgrade())
        assert house.env.backends.doubt("default") is not None, "a handshake says nothing of streams"
        backend.respond = answers.reply(200, b"ok")
        await fetch(house.port, "/poll", accept)
        assert house.env.backends.doubt("default") is None
        assert house.env.backends.has_served("default", 60.0)


@pytest.mark.parametrize("status", [404, 500])
async def test_a_stream_that_is_refused_is_not_held_against_a_backend(backend: RecordingBackend, status: int) -> None:
    backend.respond = answers.reply(status)
    async with House(backend, STREAMS) as house:
        for _ in range(FAILURES):
            await fetch(house.port, "/poll")
        assert house.env.backends.doubt("default") is None
        assert not house.env.backends.has_served("default", 60.0)


async def test_a_stream_that_gets_no_connection_makes_a_backend_suspect() -> None:
    async with House(f"http://127.0.0.1:{free_port()}", STREAMS) as house:
        assert not house.env.backends.is_unreachable("default")
        await fetch(house.port, "/poll")
        assert house.env.backends.is_unreachable("default")


async def test_clients_that_leave_in_the_middle_of_their_body_are_not_held_against_a_backend(
    backend: RecordingBackend,
) -> None:
    backend.respond = answers.silence()
    async with House(backend, STREAMS) as house:
        fields = [("Host", "localhost"), ("Origin", "http://localhost"), ("Content-Length", "100")]
        for _ in range(FAILURES):
            async with connect(house.port) as client:
                await client.send(wire.request("POST", "/poll", fields) + b"half")
                await eventually(lambda: house.env.backends.requests("default") == 1)
            await eventually(lambda: house.env.backends.requests("default") == 0)
        assert house.env.backends.doubt("default") is None
        assert not house.env.backends.is_unreachable("default")
        assert {ended.reason for ended in house.notebook.ends} == {CloseReason.CLIENT_LOST}


async def test_requests_that_nobody_judges_count_for_nothing(backend: RecordingBackend) -> None:
    """Each may fail in a way of its own, and nobody waits for them as for a connection."""
    backend.respond = answers.reply(503)
    async with House(backend) as house:
        for _ in range(FAILURES):
            await fetch(house.port, "/page")
        assert house.env.backends.doubt("default") is None


def backends(*urls: str, **more: object) -> Backends:
    made = tuple(Backend.model_validate({"name": f"b{i}", "url": url, **more}) for i, url in enumerate(urls))
    return Backends(made, TurnableClock())


async def test_one_good_handshake_clears_a_backend() -> None:
    here = backends("http://127.0.0.1:1")
    for reason in (CloseReason.BACKEND_INVALID, CloseReason.BACKEND_TIMEOUT) * 3:
        here.answered(here.active, reason, detail="why")
    assert here.doubt("b0") == "b0 has failed 6 handshakes in a row: why"
    assert not here.has_served("b0", 60.0)
    here.answered(here.active, None)
    assert here.doubt("b0") is None
    assert here.has_served("b0", 60.0)


async def test_one_that_hangs_is_noticed_before_its_handshakes_time_out() -> None:
    clock = TurnableClock()
    here = Backends((Backend(url="http://127.0.0.1:1"),), clock)
    with ExitStack() as waiting:
        for _ in range(FAILURES):
            waiting.enter_context(here.handshake())
        assert here.doubt("default") is None
        clock.monotonic_offset += SILENCE
        assert here.doubt("default") == "default leaves 5 handshakes without an answer"
        here.answered(here.active, CloseReason.BACKEND_REFUSED, 403)
        assert here.doubt("default") is None, "it lives"
        clock.monotonic_offset += SILENCE
        assert here.doubt("default") is not None
    assert here.doubt("default") is None
    with here.handshake():
        assert here.doubt("default") is None


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (CloseReason.BACKEND_REFUSED, 403),
        (CloseReason.BACKEND_REFUSED, 500),
        (CloseReason.SUBPROTOCOL_DENIED, 101),
        (CloseReason.BACKEND_UNREACHABLE, 0),
    ],
)
async def test_what_a_client_can_bring_about_is_not_held_against_it(reason: CloseReason, status: int) -> None:
    """That it cannot be dialled is found by dialling it."""
    here = backends("http://127.0.0.1:1")
    for _ in range(FAILURES):
        here.answered(here.active, reason, status)
    assert here.doubt("b0") is None
    assert here.is_unreachable("b0") is (reason is CloseReason.BACKEND_UNREACHABLE)


async def test_to_make_it_the_active_one_is_to_trust_it_again() -> None:
    here = backends("http://127.0.0.1:1", "http://127.0.0.1:2")
    for _ in range(FAILURES):
        here.answered(here.by_name["b1"], CloseReason.BACKEND_INVALID)
    here.activate("b1")
    assert here.doubt("b1") is None


async def test_dialling_says_what_is_wrong(backend: RecordingBackend, tmp_path: Path) -> None:
    here = backends(
        backend.url, f"http://127.0.0.1:{free_port()}", f"unix://{tmp_path}/none.sock", "http://a.invalid:1"
    )
    assert await here.dial_problem("b0") is None
    for name in ("b1", "b2", "b3"):
        problem = await here.dial_problem(name)
        assert problem is not None
        assert problem.startswith(f"{name} cannot be dialled: ")
    await eventually(lambda: backend.conversations and backend.conversations[0].ended)
    assert not backend.requests


async def test_dialling_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("wsguard.proxy.backends.connect", never)
    here = backends("http://127.0.0.1:1", connectTimeout="50ms")
    assert await here.dial_problem("b0") == "b0 cannot be dialled: it takes longer than 0.05s"


async def test_each_has_its_own_tls(tmp_path: Path) -> None:
    """Each is verified by its own authority, and by no other's."""
    one, other = Authority(tmp_path, "one"), Authority(tmp_path, "other")
    async with (
        RecordingBackend(tls=one.serving("127.0.0.1")) as blue,
        RecordingBackend(tls=other.serving("127.0.0.1")) as green,
    ):
        spelt = (("blue", blue.url, one), ("green", green.url, other), ("wrong", green.url, one))
        tls = {}
        pairs = []
        for name, url, authority in spelt:
            backend = Backend.model_validate({"name": name, "url": url, "tls": {"caFile": str(authority.file)}})
            tls[name] = backend_context(backend, {str(authority.file): authority.pem})
            pairs.append(backend)
        here = Backends(tuple(pairs), TurnableClock(), lambda: tls)
        assert await here.dial_problem("blue") is None
        assert await here.dial_problem("green") is None
        assert "certificate verify failed" in str(await here.dial_problem("wrong"))
