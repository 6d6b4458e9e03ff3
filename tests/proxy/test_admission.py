"""An admitted connection's place: in the registry, under the timekeeper's eye, in the record when it ends."""

from __future__ import annotations

import pytest

from tests.proxy.house import House
from tests.proxy.login import ANN, BEARER, ann, with_login
from tests.proxy.tunnel import QUICK, tunnel
from tests.support import wire
from tests.support.backend import RecordingBackend
from tests.support.client import connect
from tests.support.waiting import eventually, stays
from wsguard.policy.model import Enforcement, PolicySpec, Session
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.timekeeper import TICK

LOOPS = ["uvloop"]


async def test_it_is_registered_from_its_opening_to_its_end(backend: RecordingBackend) -> None:
    """To the end of both transports: one that is closing still has descriptors, and still counts."""
    async with tunnel(backend) as opened:
        assert opened.connection.link.state == "open"
        opened.splice.cut(CloseReason.TERMINATED)
        assert opened.connection.link.state == "closing"
        await opened.client.close_frame()
        await opened.client.close()
        await eventually(lambda: opened.connection.link.state == "backend-left")
        opened.far.close()
        await eventually(lambda: not len(opened.house.registry))


async def test_the_record_of_an_end(backend: RecordingBackend) -> None:
    up, down = wire.frame(wire.TEXT, b"one"), wire.frame(wire.TEXT, b"two", masked=False)
    async with House(backend, with_login()) as house, connect(house.port) as client:
        house.facts.identity = ANN
        await client.open(BEARER)
        conversation = await backend.conversation()
        await client.send(up)
        await conversation.frame()
        await conversation.send(down * 2)
        await client.frame()
        await client.frame()
        (connection,) = house.registry
        connection.link.cut(CloseReason.TERMINATED, "an operator's DELETE")
        assert await client.close_frame() == (4410, "terminated")
        conversation.close()
        ended = await house.end()
        assert (ended.initiator, ended.reason, ended.code) == ("guard", CloseReason.TERMINATED, 4410)
        assert (ended.phase, ended.delivery, ended.detail) == ("open", "acknowledged", "an operator's DELETE")
        assert (ended.identity, ended.client_ip, ended.path) == (ANN, "127.0.0.1", "/ws")
        assert ended.traffic == (1, len(up), 2, 2 * len(down))
        assert 0.0 < ended.duration < 10.0


async def test_a_connection_without_a_credential_does_not_expire(backend: RecordingBackend) -> None:
    async with tunnel(backend) as opened:
        assert opened.connection.expires_at is None
        opened.house.clock.wall_offset += 1e9
        await stays(lambda: opened.splice.state == "open", 2 * TICK)


async def test_under_audit_the_policys_own_cuts_are_only_recorded(backend: RecordingBackend) -> None:
    audit = with_login(session=Session(max_connection_duration=100.0, idle_timeout=50.0), enforcement=Enforcement.AUDIT)
    async with House(backend, audit) as house, connect(house.port) as client:
        house.facts.identity = ann(house.clock.wall() + 10.0)
        await client.open(BEARER)
        house.clock.wall_offset += 1000.0
        await eventually(lambda: house.notebook.spares)
        house.clock.monotonic_offset += 60.0
        await eventually(lambda: len(house.notebook.spares) == 2)
        (connection,) = house.registry
        connection.link.cut(CloseReason.LOGGED_OUT)
        assert [reason for _, reason in house.notebook.spares] == [
            CloseReason.SESSION_EXPIRED,
            CloseReason.IDLE_TIMEOUT,
            CloseReason.LOGGED_OUT,
        ]
        await stays(lambda: connection.link.state == "open", 2 * TICK)
        assert len(house.notebook.spares) == 3, "each is recorded once"
        await client.send(wire.frame(wire.TEXT, b"still here"))
        assert (await (await backend.conversation()).frame()).payload == b"still here"
        (await backend.conversation()).close()
        await client.close_frame()


@pytest.mark.parametrize("reason", [CloseReason.TERMINATED, CloseReason.DRAINING])
async def test_under_audit_an_operator_is_still_obeyed(backend: RecordingBackend, reason: CloseReason) -> None:
    async with tunnel(backend, PolicySpec(enforcement=Enforcement.AUDIT, rejection=QUICK)) as opened:
        opened.splice.cut(reason)
        code, text = await opened.client.close_frame()
        assert (code, text.split()[0]) == (reason.code, reason.token)


async def test_under_audit_a_broken_frame_is_still_no_frame(backend: RecordingBackend) -> None:
    async with tunnel(backend, PolicySpec(enforcement=Enforcement.AUDIT, rejection=QUICK)) as opened:
        await opened.client.send(wire.frame(wire.TEXT, b"x", masked=False))
        assert (await opened.client.close_frame())[0] == 1002
