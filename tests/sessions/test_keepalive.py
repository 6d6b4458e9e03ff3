"""Who is pinged when, and who is dead: without a socket, on a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.keepalive import MOST_UNREAD, READ_IN_TIME, Act, Pulse, Sight, Wire

CALM = Wire(0.0, waits=False)
WAITS = Wire(0.0, waits=True)
INTERVAL, TIMEOUT = 30.0, 20.0


class Side:
    """One side, and a pulse that is looked at whenever it asks for it."""

    def __init__(self, *, interval: float = INTERVAL, timeout: float = TIMEOUT, phase: float = 0.5) -> None:
        self.pulse = Pulse(interval, timeout, 0.0, phase)
        self.heard = self.told = self.pings = 0
        self.is_read = True
        self.wire, self.has_place = CALM, True
        self.asked: list[float] = []
        self.died: list[float] = []
        self.now = 0.0

    def run(self, until: float) -> None:
        while self.pulse.next_look <= until:
            assert self.pulse.next_look >= self.now
            self.now = self.pulse.next_look
            self.look()
            assert self.pulse.next_look > self.now, "it would be looked at for ever"
        self.now = until

    def look(self) -> None:
        match self.pulse.look(Sight(self.heard, self.told, self.pings, self.is_read), self.now):
            case Act.ASK:
                self.pulse.asked(self.now, is_pinged=self.has_place, waits=self.wire.waits)
                if self.has_place:
                    self.asked.append(self.now)
            case Act.JUDGE:
                if self.pulse.is_dead(self.wire, self.now):
                    self.died.append(self.now)


@pytest.mark.parametrize("phase", [0.0, 0.3, 1.0])
def test_a_silent_peer_is_pinged_within_an_interval_and_dead_a_timeout_later(phase: float) -> None:
    side = Side(phase=phase)
    side.run(100.0)
    assert len(side.asked) == 1
    assert INTERVAL / 2 <= side.asked[0] <= INTERVAL
    assert side.died == [side.asked[0] + TIMEOUT]


@pytest.mark.parametrize("timeout", [1.0, 14.0, 20.0, 29.0])
def test_one_that_answers_is_pinged_once_an_interval(timeout: float) -> None:
    side = Side(timeout=timeout)
    for second in range(1, 2000):
        answered = len(side.asked)
        side.run(second / 2)
        side.heard += len(side.asked) - answered
    gaps = {round(b - a, 3) for a, b in zip(side.asked, side.asked[1:], strict=False)}
    assert gaps == {INTERVAL}
    assert side.died == []


def test_one_that_speaks_is_never_pinged() -> None:
    side = Side()
    for second in range(0, 1000, 10):
        side.heard += 1
        side.run(float(second))
    assert side.asked == []


@given(st.lists(st.floats(0.1, 40.0), min_size=1, max_size=60), st.floats(0.0, 1.0), st.floats(1.0, 60.0))
def test_nobody_who_says_anything_in_time_dies_and_every_silence_is_asked_about(
    pauses: list[float], phase: float, timeout: float
) -> None:
    side, last = Side(phase=phase, timeout=timeout), 0.0
    for pause in pauses:
        before = len(side.asked)
        side.run(last + pause)
        for when in side.asked[before:]:
            assert when - last >= INTERVAL / 2 - 1e-6
        if pause > INTERVAL:
            assert len(side.asked) > before
        if pause < INTERVAL / 2 + timeout - 1e-6:
            assert side.died == [], "an answer was on its way"
        if side.died:
            return
        last += pause
        side.heard += 1


def test_a_ping_of_the_other_side_is_left_to_be_answered_first() -> None:
    """Of two pings a peer may answer the second only, and the application would miss its pong."""
    side = Side(phase=0.0)
    side.run(10.0)
    side.pings += 1
    side.run(20.0)
    assert side.asked == [], "not at 15"
    side.pings += 1  # and whoever pings for ever a peer that answers nothing
    side.run(31.0)
    assert side.asked == [30.0]


def test_what_is_not_read_is_not_silence() -> None:
    side = Side()
    side.is_read = False
    side.run(200.0)
    assert (side.asked, side.died) == ([], [])
    side.is_read = True
    side.run(300.0)
    assert len(side.died) == 1
    side = Side()
    side.run(31.0)
    side.is_read = False  # after the ping: its pong cannot be read
    side.run(500.0)
    assert side.died == []


def test_a_ping_behind_much_that_has_not_left_is_waited_for() -> None:
    side = Side()
    side.run(31.0)
    side.wire = WAITS
    side.run(1000.0)
    assert side.died == []
    assert len(side.asked) == 1, "pings do not pile up"
    side.wire = CALM
    side.run(1100.0)
    assert len(side.died) == 1


def test_whoever_acknowledges_nothing_is_dead_whatever_waits() -> None:
    side = Side()
    side.run(31.0)
    side.wire = Wire(TIMEOUT + 1, waits=True)
    side.run(60.0)
    assert side.died == [side.asked[0] + TIMEOUT]


@pytest.mark.parametrize("sent", [0, READ_IN_TIME - 1, READ_IN_TIME, 10 * READ_IN_TIME, 10 * MOST_UNREAD])
def test_what_stands_before_the_ping_may_be_read_first(sent: int) -> None:
    side = Side(phase=0.0)
    side.run(1.0)
    side.told += sent
    side.run(10_000.0)
    most = min(sent, MOST_UNREAD) // READ_IN_TIME
    assert side.died == [15.0 + TIMEOUT * (1 + most)]


def test_where_a_ping_has_no_place_it_is_looked_for_soon_again() -> None:
    side = Side()
    side.has_place = False
    side.run(100.0)
    assert (side.asked, side.died) == ([], []), "nothing is owed"
    side.has_place = True
    side.run(101.5)
    assert len(side.asked) == 1


def test_where_it_has_none_because_something_waits_tcp_is_asked() -> None:
    side = Side()
    side.has_place, side.wire = False, WAITS
    side.run(100.0)
    assert side.died == []
    side.wire = Wire(25.0, waits=True)
    side.run(150.0)
    assert len(side.died) == 1
    side = Side()
    side.has_place, side.wire = False, WAITS
    side.run(30.0)
    side.wire = CALM  # it took everything in, and owes no answer
    side.run(100.0)
    assert side.died == []


def test_the_dead_who_are_let_live_are_not_buried_twice() -> None:
    side = Side()
    side.run(1000.0)
    assert (len(side.asked), len(side.died)) == (1, 1)
    side.heard += 1
    side.run(2000.0)
    assert (len(side.asked), len(side.died)) == (2, 2), "risen, and silent again"
