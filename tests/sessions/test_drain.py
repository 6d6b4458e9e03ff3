from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.protocol.reasons import Advice, CloseReason
from wsguard.sessions.drain import BACK_OFF, FIRST_RETURN, RETURNS_PER_SECOND, retry_after, schedule


@given(count=st.integers(0, 300), window=st.just(0.0) | st.floats(0.001, 3_600), seed=st.integers())
def test_each_connection_has_its_own_slot_of_the_window(count: int, window: float, seed: int) -> None:
    ids = [str(number) for number in range(count)]
    plan = schedule(ids, window, Random(seed))
    assert sorted(one for _, one in plan) == sorted(ids)
    for place, (offset, _) in enumerate(plan):
        assert place * window / count <= offset <= (place + 1) * window / count + 1e-9
        assert offset <= window + 1e-9


def test_the_order_is_not_the_order_of_connecting() -> None:
    ids = [f"{number:03}" for number in range(100)]
    order = [one for _, one in schedule(ids, 10.0, Random(1))]
    assert order != ids
    assert order != [one for _, one in schedule(ids, 10.0, Random(2))]


def test_no_two_drains_keep_step() -> None:
    """Jitter inside the slot: replicas that drain together do not close on the same beat."""
    first, second = (schedule("abc", 30.0, Random(seed)) for seed in (1, 2))
    assert all(a != b for (a, _), (b, _) in zip(first, second, strict=True))


def test_a_window_of_zero_closes_all_at_once() -> None:
    assert [offset for offset, _ in schedule("abc", 0.0, Random(1))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("reason", list(CloseReason))
def test_only_who_is_asked_back_is_told_when(reason: CloseReason) -> None:
    seconds = retry_after(Random(1), reason.advice)
    assert (seconds is not None) == reason.advice.wants_return


def test_returns_are_spread_over_what_the_crowd_needs() -> None:
    rng = Random(1)
    alone = [retry_after(rng, Advice.RECONNECT) or 0.0 for _ in range(1_000)]
    assert 0.0 <= min(alone) < 0.1
    assert FIRST_RETURN - 0.1 < max(alone) <= FIRST_RETURN
    crowd = [retry_after(rng, Advice.RECONNECT, 5_000) or 0.0 for _ in range(5_000)]
    per_second = [sum(second <= at < second + 1 for at in crowd) for second in range(25)]
    assert max(per_second) < 1.35 * RETURNS_PER_SECOND


def test_backing_off_is_never_shorter_than_its_least() -> None:
    assert all((retry_after(Random(seed), Advice.BACK_OFF) or 0.0) >= BACK_OFF for seed in range(100))
