"""Parting with a backend that is lost, and what is recorded of the time without one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.proxy.fakes import Bench, FakeTransport
from tests.support import wire
from wsguard.proxy.absence import Absence, part

GRACE = 2.0
RESTART = wire.close_frame(1012, "back soon", masked=False)


def leave(bench: Bench) -> FakeTransport:
    """Part with the backend; returns its transport, once it has been seen that nobody stands for it."""
    gone = bench.splice._pair.backend
    assert gone is not None
    vacant = part(bench.splice._pair, cast("asyncio.AbstractEventLoop", bench.loop), GRACE)
    assert bench.splice._pair.backend is vacant
    assert gone.lost
    assert vacant.lost
    return bench.backend


def withholding(bench: Bench, close: bytes) -> Bench:
    """The backend has said so, and the client has not been told."""
    half = bench.splice._pair.backend
    assert half is not None
    half.scanner.withheld = close
    return bench


def test_a_close_is_answered_with_its_code() -> None:
    transport = leave(withholding(Bench(), RESTART))
    told = wire.take_frame(transport.written)
    assert told is not None
    assert told.mask is not None
    assert told.close == (1012, "")
    assert transport.closing
    assert not transport.aborted


def test_but_not_within_a_frame_of_the_clients() -> None:
    bench = withholding(Bench(), RESTART)
    bench.client.arrive(wire.frame(wire.TEXT, b"x" * 100)[:50])
    before = bench.to_backend
    assert bytes(leave(bench).written) == before


@pytest.mark.parametrize("is_closing", [False, True])
def test_one_that_has_said_nothing_is_told_nothing(is_closing: bool) -> None:
    bench = Bench()
    bench.backend.closing = is_closing
    assert not leave(bench).written
    assert len(bench.loop.timers) == (0 if is_closing else 1), "one that is closing already goes by itself"


def test_one_that_does_not_go_is_made_to() -> None:
    bench = Bench()
    transport = leave(bench)
    bench.loop.fire()
    assert transport.aborted


def test_what_passed_counts_on() -> None:
    bench = Bench()
    bench.backend.arrive(wire.frame(wire.TEXT, b"hello", masked=False))
    before = bench.splice.traffic()
    leave(bench)
    assert bench.splice.traffic() == before


def test_the_record_of_an_absence() -> None:
    held: Any = SimpleNamespace(mailbox=SimpleNamespace(has_lost=True))
    absence = Absence(10.0, held, cast("asyncio.TimerHandle", None))
    assert absence.why == "0 redials: none was dialled"
    absence.attempts, absence.last_problem = 1, "refused"
    assert absence.why == "one redial: refused"
    connection: Any = SimpleNamespace(id="c", policy="p", backend="green")
    record = absence.over(connection, 12.5, repeated=2, kept=3)
    assert (record.connection_id, record.policy, record.backend) == ("c", "p", "green")
    assert (record.duration, record.attempts, record.repeated, record.kept, record.lost) == (2.5, 1, 2, 3, 1)
