"""When overload begins and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.overload import SAMPLES, Cause, Change, Limits, Overload, Sample

CALM = Sample(connections=0, memory=0, lag=0.0)


def limited(connections: int | None = None, memory: int | None = None, loop_lag: float | None = None) -> Overload:
    overload = Overload()
    overload.limits = Limits(connections, memory, loop_lag)
    return overload


def test_without_limits_nothing_is_too_much() -> None:
    overload = limited()
    for _ in range(10):
        assert overload.measure(Sample(10**9, 10**15, 1000.0)) == ()
    assert not overload.is_shedding


def test_memory_that_comes_and_goes() -> None:
    """It is told once, with what was refused meanwhile, and ends a little below where it began."""
    overload = limited(memory=1000)
    assert overload.measure(Sample(0, 999, 0.0)) == ()
    assert overload.measure(Sample(0, 1000, 0.0)) == (Change(Cause.MEMORY, is_over=False),)
    assert overload.is_shedding
    overload.refuse()
    overload.refuse()
    assert overload.measure(Sample(0, 960, 0.0)) == ()
    assert overload.is_shedding
    assert overload.measure(Sample(0, 949, 0.0)) == (Change(Cause.MEMORY, is_over=True, refused=2),)
    assert not overload.is_shedding
    overload.measure(Sample(0, 2000, 0.0))
    assert overload.measure(CALM) == (Change(Cause.MEMORY, is_over=True, refused=0),)
    assert overload.refused[Cause.MEMORY] == 2


def test_one_long_callback_is_no_overload() -> None:
    overload = limited(loop_lag=0.5)
    for lag in (0.0, 5.0, 0.0, 5.0, 5.0, 5.0, 0.4):
        assert overload.measure(Sample(0, 0, lag)) == ()
    for lag in (0.6,) * (SAMPLES - 1):
        assert overload.measure(Sample(0, 0, lag)) == ()
    assert overload.measure(Sample(0, 0, 0.6)) == (Change(Cause.LOOP_LAG, is_over=False),)
    for _ in range(SAMPLES - 1):
        assert overload.measure(CALM) == ()
    assert overload.measure(CALM) == (Change(Cause.LOOP_LAG, is_over=True),)


def test_a_full_house_sheds_no_requests_of_those_inside() -> None:
    overload = limited(connections=100)
    overload.refuse_connection()
    assert overload.measure(Sample(100, 0, 0.0)) == (Change(Cause.CONNECTIONS, is_over=False),)
    assert (overload.causes, overload.is_shedding) == ((Cause.CONNECTIONS,), False)
    assert overload.measure(Sample(96, 0, 0.0)) == ()
    assert overload.measure(Sample(94, 0, 0.0)) == (Change(Cause.CONNECTIONS, is_over=True, refused=1),)


def test_without_descriptors() -> None:
    overload = limited()
    assert overload.measure(Sample(0, 0, 0.0, has_descriptors=False)) == (Change(Cause.DESCRIPTORS, is_over=False),)
    overload.refuse()
    assert overload.refused[Cause.DESCRIPTORS] == 1
    assert overload.measure(CALM) == (Change(Cause.DESCRIPTORS, is_over=True, refused=1),)


SAMPLE = st.builds(
    Sample, st.integers(0, 200), st.integers(0, 200), st.floats(0, 2), has_descriptors=st.booleans()
)  # fmt: skip


@given(st.lists(SAMPLE, max_size=40))
def test_every_beginning_has_its_end(samples: list[Sample]) -> None:
    """Changes alternate by cause, and peace brings every cause to its end."""
    overload = limited(100, 100, 1.0)
    under_way: set[Cause] = set()
    for sample in [*samples, *[CALM] * SAMPLES]:
        for change in overload.measure(sample):
            assert (change.cause in under_way) is change.is_over
            under_way ^= {change.cause}
        assert set(overload.causes) == under_way
        assert overload.is_shedding is bool(under_way - {Cause.CONNECTIONS})
        if overload.is_shedding:
            overload.refuse()
    assert not under_way
