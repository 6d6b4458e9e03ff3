"""Who makes room, and who does not."""

from __future__ import annotations

from wsguard.proxy.crowd import Crowd
from wsguard.sessions.overload import Cause, Limits, Overload


class Somebody:
    def __init__(self) -> None:
        self.has_left = False

    def make_room(self) -> None:
        self.has_left = True


def crowd(limit: int | None, elsewhere: int = 0) -> tuple[Crowd, Overload]:
    overload = Overload()
    overload.limits = Limits(connections=limit)
    return Crowd(overload, lambda: elsewhere), overload


def test_without_a_limit_everybody_is_admitted() -> None:
    here, _ = crowd(None)
    for _ in range(100):
        assert here.admits()
        here.enter(Somebody())
    assert len(here) == 100


def test_whoever_has_been_idle_for_longest_makes_room() -> None:
    """A stalled handshake, or a connection kept alive after its answer; not one with a request under way."""
    here, overload = crowd(4, elsewhere=1)
    busy, answered, stalled = Somebody(), Somebody(), Somebody()
    for guest in (busy, answered, stalled):
        here.enter(guest)
    here.busy(busy)
    here.busy(answered)
    here.idle(answered)
    assert here.admits()
    assert (stalled.has_left, answered.has_left) == (True, False)
    here.enter(newcomer := Somebody())
    here.busy(newcomer)
    assert here.admits()
    assert answered.has_left
    here.enter(last := Somebody())
    here.busy(last)
    assert not here.admits()
    assert not busy.has_left
    assert overload.refused[Cause.CONNECTIONS] == 3
    here.leave(last)
    assert here.admits()


def test_who_has_left_is_not_idle_again() -> None:
    """A handler ends after its connection was handed over."""
    here, _ = crowd(1)
    gone = Somebody()
    here.enter(gone)
    here.busy(gone)
    here.leave(gone)
    here.idle(gone)
    assert len(here) == 0
    assert here.admits()
    assert not gone.has_left
