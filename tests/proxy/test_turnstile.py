"""Limits at the door: none overshoots, whatever ends a handshake gives its place back, and Audit counts the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.proxy.closes import close_of
from tests.proxy.house import House
from tests.proxy.login import ANN, with_login
from tests.support import backend as answers
from tests.support import wire
from tests.support.backend import Conversation, RecordingBackend
from tests.support.client import RawClient, connect
from tests.support.waiting import eventually
from tests.support.wire import Head
from wsguard.policy.model import (
    ClientIPDetection,
    Connections,
    Enforcement,
    GuardSpec,
    Handshakes,
    Limits,
    Newcomer,
    PolicySpec,
    Rate,
    Rejection,
    RejectionMode,
    TrustedProxies,
    Unit,
)
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

LOOPS = ["uvloop"]

BEHIND = GuardSpec(
    client_ip_detection=ClientIPDetection(x_forwarded_for=TrustedProxies(trusted_cidrs=(ip_network("127.0.0.0/8"),)))
)
TOKEN = [("Authorization", "Bearer abc")]
FULL = (4429, "too-many-connections")
OFTEN = (4429, "handshake-rate")


def capped(on_exceed: Newcomer = Newcomer.REFUSE_NEW, **caps: int) -> PolicySpec:
    connections = Connections(on_exceed=on_exceed, **caps)
    return PolicySpec(limits=Limits(connections=connections), rejection=Rejection(close_timeout=0.3))


def handshake(address: str = "192.0.2.1", **fields: str) -> bytes:
    return wire.upgrade(origin="http://localhost", fields=[("X-Forwarded-For", address), *fields.items()])


async def enter(house: House, stack: AsyncExitStack, request: bytes | None = None) -> RawClient:
    """A client that has got a 101."""
    client = await stack.enter_async_context(connect(house.port))
    await client.open(request or handshake())
    return client


async def refused(house: House, request: bytes | None = None) -> tuple[int, str]:
    async with AsyncExitStack() as stack:
        return await close_of(await enter(house, stack, request))


async def test_fifty_at_once_before_ten_places(backend: RecordingBackend) -> None:
    """The backend takes its time, so that all of them are under way together."""
    backend.answer = _slowly
    async with House(backend, capped(total=10), BEHIND) as house, AsyncExitStack() as stack:
        await asyncio.gather(*(enter(house, stack) for _ in range(50)))
        await eventually(lambda: len(house.notebook.decisions) == 50, what="fifty decisions")
        results = [each.result for each in house.notebook.decisions]
        assert (results.count("admitted"), results.count("refused")) == (10, 40)
        assert len(backend.conversations) == len(house.registry) == 10
        reasons = {(each.reason, each.detail) for each in house.notebook.decisions if each.result == "refused"}
        assert reasons == {(CloseReason.TOO_MANY_CONNECTIONS, "limits.connections.total is 10")}


async def _slowly(conversation: Conversation, head: Head) -> None:
    await asyncio.sleep(0.3)
    await answers.accept()(conversation, head)


async def _never(conversation: Conversation, head: Head) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("how", ["left", "reset", "refused-by-the-backend", "closed"])
async def test_whatever_ends_it_gives_the_place_back(backend: RecordingBackend, how: str) -> None:
    backend.answer = {"refused-by-the-backend": answers.reply(403, b""), "closed": answers.accept()}.get(how, _never)
    async with House(backend, capped(total=1, per_client_ip=1), BEHIND) as house:
        async with connect(house.port) as client:
            await client.send(handshake())
            await eventually(lambda: len(backend.conversations), what="a handshake at the backend")
            if how == "reset":
                client.reset()
            elif how == "refused-by-the-backend":
                await client.head()
                assert await close_of(client) == (4403, "backend-refused")
            elif how == "closed":
                await client.head()
                assert await refused(house) == FULL
                client.reset()
        await eventually(lambda: not len(house.registry.census), what="the place is free")
        backend.answer = answers.accept()
        async with AsyncExitStack() as stack:
            await enter(house, stack)
            await eventually(lambda: len(house.registry) == 1, what="the next one is in")


async def test_a_refusal_that_lingers_holds_no_place(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with House(backend, capped(total=1), BEHIND) as house, AsyncExitStack() as stack:
        first = await enter(house, stack)
        lingering = await enter(house, stack)  # it never answers the Close
        first.reset()
        await eventually(lambda: not len(house.registry.census), what="the place is free")
        assert house.notebook.lingering_now == 1
        await enter(house, stack)
        await eventually(lambda: len(house.registry) == 1, what="the next one is in")
        assert await close_of(lingering) == FULL


async def test_addresses_count_apart_and_ipv6_by_its_network(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with House(backend, capped(per_client_ip=1), BEHIND) as house, AsyncExitStack() as stack:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
            await enter(house, stack, handshake(address))
        await eventually(lambda: len(house.registry) == 4, what="four are in")
        assert await refused(house, handshake("::ffff:192.0.2.1")) == FULL
        assert await refused(house, handshake("2001:db8:0:1:ffff::9")) == FULL


async def test_without_a_word_on_addresses_private_ones_do_not_count(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    limits = Limits(
        connections=Connections(per_client_ip=1), handshakes=Handshakes(per_client_ip=Rate(requests=1, unit=Unit.HOUR))
    )
    async with House(backend, PolicySpec(limits=limits)) as house, AsyncExitStack() as stack:
        for _ in range(3):
            await enter(house, stack)
        await eventually(lambda: len(house.registry) == 3, what="three are in")


def subject(name: str, sid: str | None = None) -> Identity:
    return replace(ANN, subject=name, sid=sid)


async def test_subjects_and_sessions_count_apart(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    limits = Limits(connections=Connections(per_subject=2, per_session=1))
    async with House(backend, with_login(limits=limits)) as house, AsyncExitStack() as stack:
        request = wire.upgrade(fields=TOKEN)
        for who in (subject("ann", "1"), subject("ann", "2"), subject("bob", "3")):
            house.facts.identity = who
            await enter(house, stack, request)
        await eventually(lambda: len(house.registry) == 3, what="three are in")
        house.facts.identity = subject("ann", "4")
        assert await refused(house, request) == FULL
        house.facts.identity = subject("bob", "3")
        assert await refused(house, request) == FULL
        assert [each.detail for each in house.notebook.decisions if each.result == "refused"] == [
            "limits.connections.perSubject is 2",
            "limits.connections.perSession is 1",
        ]
        assert len(backend.conversations) == 3


async def test_the_oldest_makes_room(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with (
        House(backend, capped(Newcomer.CLOSE_OLDEST, total=2), BEHIND) as house,
        AsyncExitStack() as stack,
    ):
        first = await enter(house, stack)
        await eventually(lambda: len(house.registry) == 1, what="the first is in")
        for _ in range(2):
            await enter(house, stack)
        assert await close_of(first) == FULL
        end = await house.end()
        assert (end.reason, end.initiator) == (CloseReason.TOO_MANY_CONNECTIONS, "guard")
        assert end.detail == "limits.connections.total is 2: closed for a newer one"
        await eventually(lambda: len(house.registry) == 2, what="two are in")


async def test_a_newcomer_that_is_not_let_in_closes_nobody(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with (
        House(backend, capped(Newcomer.CLOSE_OLDEST, total=1), BEHIND) as house,
        AsyncExitStack() as stack,
    ):
        await enter(house, stack)
        await eventually(lambda: len(house.registry) == 1, what="the first is in")
        backend.answer = answers.reply(403, b"")
        assert await refused(house) == (4403, "backend-refused")
        assert len(house.registry) == 1
        assert not house.notebook.ends


async def test_who_was_told_to_go_leaves_room_for_its_successor(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with House(backend, capped(total=1), BEHIND) as house, AsyncExitStack() as stack:
        await enter(house, stack)
        (connection,) = await eventually(lambda: list(house.registry), what="the first is in")
        assert await refused(house) == FULL
        house.registry.dismiss(connection.id)
        await enter(house, stack)
        await eventually(lambda: len(house.registry) == 2, what="both are in")
        assert await refused(house) == FULL


async def test_audit_lets_in_records_and_counts_as_if_it_had_refused(backend: RecordingBackend) -> None:
    """Who would have been refused has no place, and is told to the backend as the subject that it is."""
    backend.answer = answers.accept()
    limits = Limits(connections=Connections(per_subject=1))
    async with (
        House(backend, with_login(limits=limits, enforcement=Enforcement.AUDIT)) as house,
        AsyncExitStack() as stack,
    ):
        house.facts.identity = ANN
        first = await enter(house, stack, wire.upgrade(fields=TOKEN))
        await eventually(lambda: len(house.registry) == 1, what="the first is in")
        await enter(house, stack, wire.upgrade(fields=TOKEN))
        await eventually(lambda: len(house.registry) == 2, what="the second is in")
        audited = house.notebook.decisions[1]
        assert (audited.result, audited.reason) == ("audited", CloseReason.TOO_MANY_CONNECTIONS)
        assert backend.conversations[1].requests[0].all("x-user") == [ANN.subject]
        first.reset()
        await eventually(lambda: len(house.registry) == 1, what="the first has left")
        await enter(house, stack, wire.upgrade(fields=TOKEN))
        await eventually(lambda: len(house.notebook.decisions) == 3, what="a third decision")
        assert house.notebook.decisions[2].result == "admitted"


async def test_audit_spares_the_oldest(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    audit = capped(Newcomer.CLOSE_OLDEST, total=1).model_copy(update={"enforcement": Enforcement.AUDIT})
    async with House(backend, audit, BEHIND) as house, AsyncExitStack() as stack:
        for _ in range(3):
            await enter(house, stack)
        await eventually(lambda: len(house.notebook.spares) == 2, what="two are spared")
        assert {reason for _, reason in house.notebook.spares} == {CloseReason.TOO_MANY_CONNECTIONS}
        assert len({who for who, _ in house.notebook.spares}) == 2
        assert not house.notebook.ends


async def test_new_caps_count_those_who_are_here(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with House(backend, PolicySpec(), BEHIND) as house, AsyncExitStack() as stack:
        for _ in range(2):
            await enter(house, stack)
        await eventually(lambda: len(house.registry) == 2, what="two are in")
        house.reload(test=capped(total=2))
        assert await refused(house) == FULL
        house.reload(test=PolicySpec())
        await enter(house, stack)
        await eventually(lambda: len(house.registry) == 3, what="three are in")
        assert not len(house.registry.census)


def often(requests: int, unit: Unit, burst: int | None = None, **more: object) -> PolicySpec:
    rate = Rate(requests=requests, unit=unit, burst=burst)
    return PolicySpec(limits=Limits(handshakes=Handshakes(per_client_ip=rate)), **more)


async def test_handshakes_come_no_faster_than_they_may(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    async with House(backend, often(1, Unit.SECOND, 2), BEHIND) as house, AsyncExitStack() as stack:
        for _ in range(2):
            await enter(house, stack)
        assert await refused(house) == OFTEN
        await enter(house, stack, handshake("192.0.2.2"))
        house.clock.monotonic_offset += 1.1
        await enter(house, stack)
        assert await refused(house) == OFTEN
        detail = "limits.handshakes.perClientIP: more than 1 a Second from 192.0.2.1"
        assert house.notebook.decisions[2].detail == detail


async def test_the_client_is_told_when_there_is_room_again(backend: RecordingBackend) -> None:
    plain = Rejection(mode=RejectionMode.HTTP_STATUS)
    backend.answer = answers.accept()
    async with House(backend, often(1, Unit.HOUR, rejection=plain), BEHIND) as house, AsyncExitStack() as stack:
        await enter(house, stack)
        client = await stack.enter_async_context(connect(house.port))
        await client.send(handshake())
        head = await client.head()
        assert head.status == 429
        assert 3_590 < int(head.get("retry-after") or 0) < 3_700


async def test_a_foreign_page_is_told_that_it_is_foreign(backend: RecordingBackend) -> None:
    """But it uses up what its client may."""
    async with House(backend, often(1, Unit.HOUR, 2), BEHIND) as house:
        foreign = wire.upgrade(origin="https://evil.test", fields=[("X-Forwarded-For", "192.0.2.1")])
        for _ in range(3):
            assert await refused(house, foreign) == (4403, "origin-denied")
        assert await refused(house) == OFTEN


async def test_audit_counts_handshakes_and_refuses_none(backend: RecordingBackend) -> None:
    backend.answer = answers.accept()
    audit = often(1, Unit.HOUR, enforcement=Enforcement.AUDIT)
    async with House(backend, audit, BEHIND) as house, AsyncExitStack() as stack:
        for _ in range(2):
            await enter(house, stack)
        await eventually(lambda: len(house.notebook.decisions) == 2, what="two decisions")
        results = [(each.result, each.reason) for each in house.notebook.decisions]
        assert results == [("admitted", None), ("audited", CloseReason.HANDSHAKE_RATE)]
