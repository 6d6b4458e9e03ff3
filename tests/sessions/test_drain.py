from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sessions.fakes import FakeLink, connection
from wsguard.protocol.reasons import Advice, CloseReason
from wsguard.sessions.connection import Connection
from wsguard.sessions.drain import (
    BACK_OFF,
    FIRST_RETURN,
    RETURNS_PER_SECOND,
    crowd,
    grace_in,
    retry_after,
    schedule,
)


def crowd_of(*ids: str) -> list[Connection]:
    return [connection(one) for one in ids]


def order_of(plan: tuple[tuple[float, Connection], ...]) -> list[str]:
    return [one.id for _, one in plan]


@given(count=st.integers(0, 300), window=st.just(0.0) | st.floats(0.001, 3_600), seed=st.integers())
def test_each_connection_has_its_own_slot_of_the_window(count: int, window: float, seed: int) -> None:
    ids = [str(number) for number in range(count)]
    plan = schedule(crowd_of(*ids), window, Random(seed))
    assert sorted(order_of(plan)) == sorted(ids)
    for place, (offset, _) in enumerate(plan):
        assert place * window / count <= offset <= (place + 1) * window / count + 1e-9
        assert offset <= window + 1e-9


def test_the_order_is_not_the_order_of_connecting() -> None:
    ids = [f"{number:03}" for number in range(100)]
    order = order_of(schedule(crowd_of(*ids), 10.0, Random(1)))
    assert order != ids
    assert order != order_of(schedule(crowd_of(*ids), 10.0, Random(2)))


def test_whoever_has_been_idle_longest_goes_first() -> None:
    talking, quiet, silent = (connection(name, link=FakeLink(last_message_at=at)) for name, at in
                              (("talking", 9.0), ("quiet", 5.0), ("silent", 1.0)))  # fmt: skip
    for seed in range(10):
        assert order_of(schedule([talking, quiet, silent], 3.0, Random(seed))) == ["silent", "quiet", "talking"]


def test_no_two_drains_keep_step() -> None:
    """Jitter inside the slot: replicas that drain together do not close on the same beat."""
    first, second = (schedule(crowd_of(*"abc"), 30.0, Random(seed)) for seed in (1, 2))
    assert all(a != b for (a, _), (b, _) in zip(first, second, strict=True))


def test_a_window_of_zero_closes_all_at_once() -> None:
    assert [offset for offset, _ in schedule(crowd_of(*"abc"), 0.0, Random(1))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("window", "grace", "left"), [(60.0, 10.0, 10.0), (20.0, 10.0, 10.0), (5.0, 10.0, 2.5)])
def test_a_grace_leaves_half_of_the_window_to_the_hints(window: float, grace: float, left: float) -> None:
    assert grace_in(window, grace) == left


@pytest.mark.parametrize(("total", "window"), [(9_000, 10.0), (9_000, 60.0), (9_000, 0.0), (300, 5.0)])
def test_returns_arrive_flat(total: int, window: float) -> None:
    """Closes over the window, and `retry-after` behind each of them: no second has twice the mean."""
    rng = Random(1)
    crowd_size = crowd(total, window)
    offsets = [offset for offset, _ in schedule([connection("c")] * total, window, rng)]
    returns = [offset + (retry_after(rng, Advice.RECONNECT, crowd_size) or 0.0) for offset in offsets]
    seconds = int(max(returns)) + 1
    per_second = [sum(second <= at < second + 1 for at in returns) for second in range(seconds)]
    assert max(per_second) <= 2 * total / max(returns) + 3 * (total / seconds) ** 0.5
    assert max(per_second) <= max(1.35 * RETURNS_PER_SECOND, total / max(window, FIRST_RETURN) * 1.35)


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
