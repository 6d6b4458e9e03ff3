"""How long a connection may live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.bounds import Bounds

EXPIRED, OLD, IDLE = CloseReason.SESSION_EXPIRED, CloseReason.MAX_DURATION, CloseReason.IDLE_TIMEOUT
TIMES = st.integers(0, 1000).map(float)


@pytest.mark.parametrize(
    ("expires_at", "wall", "reason"),
    [(None, 1e12, None), (100.0, 99.999, None), (100.0, 100.0, EXPIRED), (100.0, 1e12, EXPIRED), (0.0, 0.0, EXPIRED)],
)
def test_expiry_is_on_the_wall_clock(expires_at: float | None, wall: float, reason: CloseReason | None) -> None:
    assert Bounds(expires_at, None, None).expired(wall) is reason
    assert Bounds(expires_at, None, None).overdue(wall, 0.0) is None
    assert Bounds(expires_at, None, None).next_look(0.0) is None


@pytest.mark.parametrize(
    ("ends_at", "idle", "now", "last", "reason"),
    [
        (None, None, 1e12, 0.0, None),
        (100.0, None, 99.0, 0.0, None),
        (100.0, None, 100.0, 99.0, OLD),
        (None, 10.0, 109.0, 100.0, None),
        (None, 10.0, 110.0, 100.0, IDLE),
        (100.0, 10.0, 100.0, 90.0, OLD),
        (100.0, 10.0, 95.0, 80.0, IDLE),
        (100.0, 10.0, 95.0, 90.0, None),
    ],
)
def test_age_and_idleness_are_on_the_monotonic_clock(
    ends_at: float | None, idle: float | None, now: float, last: float, reason: CloseReason | None
) -> None:
    bounds = Bounds(None, ends_at, idle)
    assert bounds.overdue(now, last) is reason
    assert bounds.expired(1e12) is None


@given(st.none() | TIMES, st.none() | TIMES.filter(bool), TIMES)
def test_the_next_look_is_the_first_moment_at_which_something_is_overdue(
    ends_at: float | None, idle: float | None, last: float
) -> None:
    bounds = Bounds(None, ends_at, idle)
    when = bounds.next_look(last)
    if when is None:
        assert ends_at is None
        assert idle is None
        return
    assert bounds.overdue(when, last) is not None
    assert bounds.overdue(when - 0.5, last) is None


@pytest.mark.parametrize(
    ("expires_at", "before", "now", "when"),
    [(100.0, 30.0, 0.0, 70.0), (100.0, 80.0, 0.0, 50.0), (100.0, 30.0, 90.0, 95.0), (None, 30.0, 0.0, None)],
)
def test_a_hint_comes_before_the_end_and_in_the_second_half(
    expires_at: float | None, before: float, now: float, when: float | None
) -> None:
    assert Bounds(expires_at, None, None).hint_at(before, now) == when
