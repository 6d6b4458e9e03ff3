"""A connection does not outlive its session: expiry, age, idleness, logout, an operator's word."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.guard import JWT, Guard, policy
from tests.support.relay import FaultyRelay
from tests.support.waiting import eventually, stays
from tests.support.wire import Head

NO_SKEW = JWT + "session: {clockSkew: 0s}\n"


def _cookie(token: str) -> bytes:
    return wire.upgrade(origin="http://localhost", fields=[("Cookie", f"session={token}")])


@asynccontextmanager
async def admitted(guard: Guard, token: str) -> AsyncIterator[RawClient]:
    """A client that came in with `token`."""
    async with connect(guard.port) as client:
        await client.open(_cookie(token))
        yield client


async def _refused(guard: Guard, token: str) -> tuple[int, str]:
    async with connect(guard.port) as client:
        await client.open(_cookie(token))
        return await client.close_frame()


@pytest.mark.parametrize("skew", [0, 2])
async def test_expiry_cuts_at_exp_plus_skew(backend: RecordingBackend, skew: int) -> None:
    """Both ends are told; the record says that the client has acknowledged."""
    spec = JWT + f"session: {{clockSkew: {skew}s}}\n"
    async with Guard(backend, policy(spec)) as guard:
        due = math.ceil(time.time()) + 2
        async with admitted(guard, guard.issuer.token(exp=due, jti="j-1", sid="s-1")) as client:
            (listed,) = await guard.connections()
            assert listed["expiresAt"]
            assert await client.close_frame(20) == (4440, "session-expired")
            assert due + skew <= time.time() <= due + skew + 5
        assert (await (await backend.conversation()).frame()).close == (1001, "session-expired")
        line = await guard.ended()
        assert (line["reason"], line["code"], line["delivery"]) == ("session-expired", 4440, "acknowledged")
        assert (line["subject"], line["source"]) == ("ann", "cookie:session")
        assert "s-1" not in str(line)
        assert "j-1" not in str(line)


async def test_expiry_cuts_through_a_flood(backend: RecordingBackend) -> None:
    """Every frame before the Close is whole, in both directions at once."""
    flooding: list[asyncio.Task[None]] = []

    async def answer(conversation: Conversation, head: Head) -> None:
        async def flood() -> None:
            with suppress(ConnectionError):
                while True:
                    await conversation.send(wire.frame(wire.BINARY, b"x" * 30_000, masked=False))

        await conversation.send(answers.switching(head))
        flooding.append(asyncio.create_task(flood()))
        while await conversation.receive():
            del conversation.received[:]
            while wire.take_frame(conversation.tail):
                pass

    backend.answer = answer
    async with Guard(
        backend, policy(NO_SKEW + "rejection: {closeTimeout: 30s}\n")
    ) as guard:  # megabytes stand before it
        async with admitted(guard, guard.issuer.token(lives=2.5)) as client:
            sending = asyncio.create_task(_flood(client))
            frame = await client.frame()
            while frame.opcode != wire.CLOSE:
                assert frame.payload == b"x" * 30_000
                frame = await client.frame()
                client.received.clear()
            assert frame.close == (4440, "session-expired")
            sending.cancel()
        flooding[0].cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        assert (await guard.ended())["reason"] == "session-expired"


async def _flood(client: RawClient) -> None:
    with suppress(ConnectionError):
        while True:
            await client.send(wire.frame(wire.BINARY, b"y" * 30_000))
            await asyncio.sleep(0.001)


async def test_a_client_that_does_not_read_is_gone_after_the_grace(backend: RecordingBackend) -> None:
    """Expired and stalled, with megabytes for it under way: the transport is aborted, and the record says so."""
    spec = NO_SKEW + "rejection: {closeTimeout: 1s}\n"
    backend.answer = _flooding(wire.frame(wire.BINARY, b"x" * 10_000_000, masked=False) * 3)
    async with Guard(backend, policy(spec)) as guard:
        expires = time.time() + 2
        async with connect(guard.port, receive_buffer=4096) as client:
            await client.open(_cookie(guard.issuer.token(exp=expires)))
            line = await guard.ended()
            assert time.time() <= expires + 5 + 1 + 1
        assert (line["reason"], line["delivery"]) == ("session-expired", "undelivered")
        await (await backend.conversation()).until_ended()


async def test_a_client_that_resumes_within_the_grace_reads_the_code(backend: RecordingBackend) -> None:
    """The rest of its frame, then the Close."""
    spec = NO_SKEW + "rejection: {closeTimeout: 8s}\n"
    payload = b"x" * 3_000_000
    backend.answer = _flooding(wire.frame(wire.BINARY, payload, masked=False))
    async with (
        Guard(backend, policy(spec)) as guard,
        FaultyRelay(guard.port) as relay,
        connect(relay.port) as client,
    ):
        await client.open(_cookie(guard.issuer.token(lives=2)))
        relay.stall(down=100_000)
        conversation = await backend.conversation()
        await conversation.frame()  # the guard's own Close: the cut has struck
        conversation.close()
        relay.release()
        assert (await client.frame()).payload == payload
        assert await client.close_frame() == (4440, "session-expired")
        await client.close()
        assert (await guard.ended())["delivery"] == "acknowledged"


def _flooding(data: bytes) -> answers.Answer:
    async def answer(conversation: Conversation, head: Head) -> None:
        conversation.writer.write(answers.switching(head) + data)
        while await conversation.receive():
            pass

    return answer


async def test_a_jump_of_the_wall_clock_expires_at_once(backend: RecordingBackend, tmp_path: Path) -> None:
    """Forward by an hour: within 5 seconds no connection is left whose token that hour was for."""
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    python = ("-m", "tests.support.jumpy")
    env = {"WSGUARD_TEST_JUMP": str(ahead)}
    async with (
        Guard(backend, policy(NO_SKEW), env=env, python=python) as guard,
        admitted(guard, guard.issuer.token(lives=1800)) as short,
        admitted(guard, guard.issuer.token(lives=7200)) as long,
    ):
        await stays(lambda: not any(line["event"] == "connection_closed" for line in guard.logs), 0.5)
        ahead.write_text("3600")
        assert await short.close_frame(5.0) == (4440, "session-expired")
        await long.send(wire.frame(wire.TEXT, b"still here"))
        assert (await (await backend.conversation(1)).frame()).payload == b"still here"


async def test_a_token_that_expires_during_the_dial_opens_nothing_lasting(backend: RecordingBackend) -> None:
    """Whether refused or cut, the client reads that its session is over."""

    async def answer(conversation: Conversation, head: Head) -> None:
        await asyncio.sleep(2.0)
        await conversation.send(answers.switching(head))
        while await conversation.receive():
            pass

    backend.answer = answer
    async with Guard(backend, policy(NO_SKEW)) as guard, connect(guard.port) as client:
        await client.open(_cookie(guard.issuer.token(lives=1)))
        assert await client.close_frame() in [(4440, "session-expired"), (4401, "credential-expired")]


async def test_max_connection_duration(backend: RecordingBackend) -> None:
    """1012, with a time to come back."""
    async with Guard(backend, policy("session: {maxConnectionDuration: 1s}")) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        code, reason = await client.close_frame(10)
        assert (code, reason.split()[0]) == (1012, "max-duration")
        assert float(reason.split("retry-after=")[1]) >= 0


async def test_idle_timeout_counts_data_only(backend: RecordingBackend) -> None:
    """Pings keep nothing alive; messages of either side do."""
    async with Guard(backend, policy("session: {idleTimeout: 3s}")) as guard, connect(guard.port) as client:
        await client.open(wire.upgrade())
        conversation = await backend.conversation()
        for _ in range(4):
            await asyncio.sleep(1)
            await conversation.send(wire.frame(wire.TEXT, b"news", masked=False))
            await client.frame()
        began = time.monotonic()
        pinging = asyncio.create_task(_ping(client))
        code, reason = await client.close_frame(10)
        assert (code, reason) == (4408, "idle-timeout")
        assert 2.5 <= time.monotonic() - began <= 9
        pinging.cancel()


async def _ping(client: RawClient) -> None:
    while True:
        await client.send(wire.frame(wire.PING))
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("by", ["subject", "sid", "jti"])
async def test_logout_cuts_and_remembers(backend: RecordingBackend, by: str) -> None:
    """Those it names go and cannot come back with the same token; everybody else stays."""
    async with Guard(backend, policy(NO_SKEW)) as guard:
        ann = guard.issuer.token("ann", sid="s-1", jti="j-1")
        bob = guard.issuer.token("bob", sid="s-2", jti="j-2")
        async with admitted(guard, ann) as first, admitted(guard, ann) as second, admitted(guard, bob) as other:
            word = {"subject": "ann", "sid": "s-1", "jti": "j-1"}[by]
            status, printed = await guard.command("logout", f"--{by}", word)
            assert status == 0
            assert "2" in printed
            for client in (first, second):
                assert await client.close_frame() == (4441, "logged-out")
            assert await _refused(guard, ann) == (4441, "logged-out")
            await other.send(wire.frame(wire.TEXT, b"still here"))
            assert (await (await backend.conversation(2)).frame()).payload == b"still here"
        assert not any(word in line for line in guard.program.lines if by != "subject")


async def test_a_subject_may_come_back_with_a_newer_token(backend: RecordingBackend) -> None:
    """Logging out a subject denies what was issued before, not the person."""
    async with Guard(backend, policy(NO_SKEW)) as guard:
        await guard.ask("POST", "/v1/logout", {"subject": "ann"})
        assert await _refused(guard, guard.issuer.token()) == (4441, "logged-out")
        later = math.ceil(time.time()) + 1
        await eventually(lambda: time.time() > later)
        async with admitted(guard, guard.issuer.token()):
            assert len(await guard.connections()) == 1


async def test_a_logout_during_the_dial_is_not_missed(backend: RecordingBackend) -> None:
    """It lands between the check and the registration."""
    go = asyncio.Event()
    backend.answer = answers.accept(gate=go)
    async with Guard(backend, policy(NO_SKEW)) as guard, connect(guard.port) as client:
        await client.send(_cookie(guard.issuer.token(sid="s-1")))
        await backend.conversation()
        assert (await guard.ask("POST", "/v1/logout", {"sid": "s-1"}))[1] == {"closed": 0}
        go.set()
        assert (await client.head()).status == 101
        assert await client.close_frame() == (4441, "logged-out")


async def test_an_operator_lists_and_terminates(backend: RecordingBackend) -> None:
    """By id; the client is told to give up."""
    async with (
        Guard(backend, policy(NO_SKEW)) as guard,
        admitted(guard, guard.issuer.token("ann", sid="s-1")) as client,
    ):
        status, printed = await guard.command("connections")
        assert status == 0
        assert "ann" in printed
        assert "s-1" not in printed
        (listed,) = await guard.connections()
        assert (listed["subject"], listed["policy"], listed["origin"]) == ("ann", "chat", "http://localhost")
        assert (await guard.ask("DELETE", f"/v1/connections/{listed['id']}?reason=spam"))[0] == 200
        assert await client.close_frame() == (4410, "terminated")
        await guard.ended(reason="terminated", detail="spam")
        assert await guard.connections() == []
        assert (await guard.ask("DELETE", f"/v1/connections/{listed['id']}"))[0] == 404


async def test_a_logout_of_any_of_two_sessions_ends_the_socket_of_both(backend: RecordingBackend) -> None:
    """Two good credentials of one subject, each of a session of its own."""
    spec = JWT.replace("{cookies: [session]}", "{cookies: [session, other]}")
    async with Guard(backend, policy(spec)) as guard:
        both = [guard.issuer.token(sid=sid, exp=int(time.time()) + 60) for sid in ("s-1", "s-2")]
        handshake = wire.upgrade(origin="http://localhost", fields=[("Cookie", f"session={both[0]}; other={both[1]}")])
        async with connect(guard.port) as client:
            await client.open(handshake)
            await eventually(guard.connections)
            assert await guard.ask("POST", "/v1/logout", {"sid": "s-2"}) == (200, {"closed": 1})
            assert await client.close_frame() == (4441, "logged-out")
