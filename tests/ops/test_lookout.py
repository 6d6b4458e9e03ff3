"""When a migration's target is dialled, and when it is lost: on a clock that the test sets."""

from __future__ import annotations

from tests.ops.rig import FakeBackends
from wsguard.ops.lookout import LOOK, PATIENCE, Lookout

AWAY = "green cannot be dialled: refused"


class _Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def wall(self) -> float:
        return 1_000_000.0

    def monotonic(self) -> float:
        return self.now


class _Watch:
    """A look-out from `default` to `green`, which has everything new already."""

    def __init__(self, source: str = "default") -> None:
        self.clock, self.backends = _Clock(), FakeBackends("default", "green")
        self.backends.activate("green")
        self.lookout = Lookout(self.backends, self.clock, source, "green")

    async def after(self, seconds: float) -> str | None:
        """What it finds then."""
        self.clock.now += seconds
        return await self.lookout.problem()


async def test_the_target_is_dialled_now_and_then() -> None:
    at = _Watch()
    for _ in range(10):
        assert await at.after(LOOK / 4) is None
    assert at.backends.dialled == ["green"] * 2


async def test_one_that_serves_is_not_dialled() -> None:
    """To be connected to and left is a line in many an application's log."""
    at = _Watch()
    at.backends.serving.add("green")
    assert await at.after(LOOK) is None
    assert not at.backends.dialled


async def test_one_that_a_handshake_could_not_reach_is_dialled_at_once_and_not_again_and_again() -> None:
    at = _Watch()
    at.backends.serving.add("green")
    at.backends.suspects.add("green")
    at.backends.away["green"] = AWAY
    for _ in range(3):
        assert await at.after(LOOK / 4) == AWAY
    assert at.backends.dialled == ["green"]


async def test_one_whose_handshakes_fail_is_not_dialled_either() -> None:
    at = _Watch()
    at.backends.doubts["green"] = "green has failed 5 handshakes in a row"
    assert await at.after(LOOK) == "green has failed 5 handshakes in a row"
    assert not at.backends.dialled


async def test_what_is_new_goes_back_at_once_and_everybody_when_the_target_stays_away() -> None:
    at = _Watch()
    at.backends.away["green"] = AWAY
    assert not await at.lookout.is_lost(), "nothing is known against it yet"
    assert await at.after(LOOK) == AWAY
    assert not await at.lookout.is_lost()
    assert at.backends.active_name == "default"
    assert await at.after(PATIENCE) == AWAY
    assert await at.lookout.is_lost()


async def test_one_that_comes_back_has_its_time_anew() -> None:
    at = _Watch()
    at.backends.away["green"] = AWAY
    await at.after(LOOK)
    del at.backends.away["green"]
    assert await at.after(PATIENCE) is None
    at.backends.away["green"] = AWAY
    assert await at.after(LOOK) == AWAY
    assert not await at.lookout.is_lost()


async def test_where_both_are_away_none_is_lost_and_the_source_is_dialled_now_and_then() -> None:
    at = _Watch()
    at.backends.away |= {"green": AWAY, "default": "gone as well"}
    await at.after(LOOK)
    for _ in range(8):
        assert await at.after(PATIENCE / 4) == AWAY
        assert not await at.lookout.is_lost()
        assert not await at.lookout.is_lost()
    assert at.backends.dialled.count("default") == 8
    assert at.backends.active_name == "green"


async def test_one_that_is_its_own_source_cannot_be_lost() -> None:
    at = _Watch(source="green")
    at.backends.away["green"] = AWAY
    await at.after(LOOK)
    await at.after(PATIENCE)
    assert not await at.lookout.is_lost()
