"""Whose doing an end was, and what became of the guard's Close: by hand, without a splice."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tests.proxy.fakes import FakeLoop, FakeOwner, FakeTransport
from tests.support import wire
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.scanner import NO_STATUS, FrameScanner, Sender
from wsguard.proxy.endings import Close
from wsguard.proxy.half import Half
from wsguard.proxy.pair import Pair
from wsguard.proxy.teardown import PATIENCE, Teardown
from wsguard.sessions.lifecycle import Event, Phase
from wsguard.sessions.records import Delivery

GRACE = 2.0
EXPIRED = Close(4440, "session-expired")


class _NoSplice:
    """Whom the halves tell, who does nothing about it."""

    def other(self, half: Half) -> Half | None:
        return None

    def touch(self) -> None: ...

    def halted(self, half: Half) -> None: ...

    def injected(self, half: Half) -> None: ...

    def eof(self, half: Half) -> None: ...

    def lost(self, half: Half, exc: Exception | None) -> None: ...


class _End:
    """A pair, and its teardown. `events` is what its timer told."""

    def __init__(self) -> None:
        self.loop, self.owner = FakeLoop(), FakeOwner()
        self.to_client, self.to_backend = FakeTransport(), FakeTransport()
        self.client, self.backend = self._half(self.to_client), self._half(self.to_backend)
        pair = Pair()
        pair.join(self.client, self.backend)
        self.teardown = Teardown(self.owner, pair, cast("asyncio.AbstractEventLoop", self.loop), GRACE)
        self.events: list[Event] = []

    def _half(self, transport: FakeTransport) -> Half:
        is_client = transport is self.to_client
        half = Half(_NoSplice(), FrameScanner(Sender.CLIENT if is_client else Sender.BACKEND), is_client)
        half.transport, transport.half = cast("asyncio.Transport", transport), half
        return half

    def record(self) -> tuple[str, str, int, str, str, Delivery]:
        """Initiator, reason, code, detail, phase and delivery of the one end."""
        self.teardown.record()
        ((cause, delivery, _),) = self.owner.ends
        return cause.initiator, cause.reason.token, cause.code, cause.detail, cause.phase.value, delivery

    def cut(self, reason: CloseReason = CloseReason.SESSION_EXPIRED) -> bool:
        """A cut of an open connection."""
        return self.teardown.cut(Phase.OPEN, reason, "", None)

    def deliver(self) -> None:
        """The Close of the cut is put in, and both halves say so."""
        self.teardown.close_client()
        self.teardown.injected(self.backend)


def test_the_first_cause_is_kept() -> None:
    end = _End()
    end.teardown.left(Phase.OPEN, end.client, "was lost")
    assert end.cut()
    end.teardown.closed(Phase.CLOSING, end.backend, 1000)
    assert end.record()[:5] == ("client", "client-lost", 0, "the client was lost", "open")


def test_a_second_cut_is_none() -> None:
    end = _End()
    assert end.cut()
    assert not end.cut(CloseReason.LOGGED_OUT)
    end.teardown.close_client()
    assert bytes(end.to_client.written) == wire.close_frame(EXPIRED.code, EXPIRED.text, masked=False)


def test_where_the_policy_only_audits_there_is_no_cut() -> None:
    end = _End()
    end.owner.audits = True
    assert not end.cut()
    assert not end.teardown.has_close
    end.teardown.record()
    assert end.owner.ends == [], "nothing has ended it"


@pytest.mark.parametrize("phase", [Phase.CLIENT_CLOSING, Phase.BACKEND_CLOSING, Phase.HALF_CLOSED, Phase.CLOSING])
def test_who_leaves_an_end_that_is_under_way_has_not_caused_it(phase: Phase) -> None:
    end = _End()
    end.teardown.left(phase, end.backend, "was lost")
    end.teardown.record()
    assert end.owner.ends == []


def test_a_lost_backend_is_told_to_the_client_by_a_name_and_recorded_by_its_own() -> None:
    end = _End()
    end.teardown.left(Phase.OPEN, end.backend, "answered no ping", CloseReason.KEEPALIVE_TIMEOUT)
    end.deliver()
    assert bytes(end.to_client.written) == wire.close_frame(1014, "backend-lost", masked=False)
    assert end.record() == ("backend", "keepalive-timeout", 1014, "the backend answered no ping", "open", "sent")


@pytest.mark.parametrize(
    ("happens", "delivery"),
    [
        ("nothing", "undelivered"),
        ("delivered", "sent"),
        ("stalled", "undelivered"),
        ("answered", "acknowledged"),
        ("reset", "undelivered"),
        ("answered, then reset", "acknowledged"),
    ],
)
def test_what_became_of_the_close(happens: str, delivery: Delivery) -> None:
    end = _End()
    end.cut()
    if happens == "stalled":
        end.to_client.stalled = True
    if happens != "nothing":
        end.deliver()
    if "answered" in happens:
        end.teardown.closed(Phase.CLOSING, end.client, 4440)
    if "reset" in happens:
        end.teardown.client_was_reset()
    assert end.record()[5] == delivery


def test_a_peers_own_close_wants_none_of_the_guards() -> None:
    end = _End()
    end.teardown.closed(Phase.OPEN, end.client, 1000)
    end.teardown.close_client()
    assert not end.to_client.written
    assert end.record() == ("client", "client-closed", 1000, "", "open", "none")


@pytest.mark.parametrize(("code", "answer"), [(3001, 3001), (NO_STATUS, 1000)])
def test_the_close_of_a_client_that_is_held_is_answered_here(code: int, answer: int) -> None:
    end = _End()
    end.teardown.closed(Phase.HELD, end.client, code)
    end.teardown.close_client()
    assert bytes(end.to_client.written) == wire.close_frame(answer, "", masked=False)


def test_a_refusal_goes_out_with_the_answer_and_once() -> None:
    end = _End()
    frame = end.teardown.refused(Phase.DOOR, CloseReason.SESSION_EXPIRED, EXPIRED)
    assert frame == wire.close_frame(EXPIRED.code, EXPIRED.text, masked=False)
    end.teardown.close_client()
    assert not end.to_client.written
    assert end.record() == ("guard", "session-expired", 4440, "", "door", "sent")


def test_the_backend_learns_why_but_no_code_of_the_policys() -> None:
    end = _End()
    end.cut()
    end.teardown.close_backend()
    told = wire.take_frame(end.to_backend.written)
    assert told is not None
    assert told.mask is not None
    assert told.close == (1001, "session-expired")


def test_there_is_one_timer_which_ends_with_the_record() -> None:
    end = _End()
    end.cut()
    end.teardown.arm_patience(end.events.append)
    end.teardown.arm_grace(end.events.append)
    assert [timer.when for timer in end.loop.timers] == [PATIENCE, GRACE]
    end.loop.fire()
    assert end.events == [Event.TIMER]
    end.teardown.arm_grace(end.events.append)
    end.record()
    assert end.loop.armed is None
