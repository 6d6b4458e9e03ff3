"""A bucket never gives more than its burst and its rate, whatever is asked of it."""

from __future__ import annotations

import math
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.token_bucket import TokenBucket


def test_a_burst_at_once_then_so_many_a_second() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(100.0) == pytest.approx(0.1)
    assert not bucket.take(100.05)
    assert bucket.take(100.11)
    assert bucket.wait(200.0, 3) == 0.0
    assert bucket.wait(200.0, 4) == math.inf
    assert bucket.level(10_000.0) == 3


def test_what_is_not_there_is_not_taken() -> None:
    bucket = TokenBucket(rate=1, burst=5)
    assert not bucket.take(0.0, 6)
    assert (bucket.level(0.0), bucket.whole(0.0)) == (5, 5)


def test_tenths_add_up() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    now = 0.0
    for _ in range(1000):
        assert bucket.take(now)
        for _ in range(10):
            now += 0.1
        assert bucket.whole(now) == 1


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5), (math.nan, 1), (1, math.nan)])
def test_one_that_gives_nothing_is_a_mistake(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        TokenBucket(rate, burst)


@given(
    rate=st.floats(0.01, 1000),
    burst=st.floats(1, 1000),
    asks=st.lists(st.tuples(st.floats(-5, 10), st.floats(0, 50)), max_size=40),
)
def test_over_any_time_no_more_than_burst_and_rate(rate: float, burst: float, asks: list[tuple[float, float]]) -> None:
    """Also by a clock that steps back."""
    bucket, now, latest, taken = TokenBucket(rate, burst), 50.0, 50.0, 0.0
    bucket.level(now)
    for step, n in asks:
        now += step
        latest = max(latest, now)
        wait = bucket.wait(now, n)
        got = bucket.take(now, n)
        assert got == (wait == 0.0)
        taken += n if got else 0.0
        assert taken <= burst + (latest - 50.0) * rate + 1e-4
        if not got and wait < math.inf:
            assert copy(bucket).level(max(now, latest) + wait) >= n - 1e-6
