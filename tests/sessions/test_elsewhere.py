"""The sum of what the others told last, whatever they say in whatever order, and never more than fits."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsguard.sessions import elsewhere
from wsguard.sessions.counts import Counts
from wsguard.sessions.elsewhere import LIFETIME, SILENCE, Elsewhere


def test_a_room_is_the_sum_of_what_was_said_last() -> None:
    others = Elsewhere()
    others.take(Counts("a", {"x": 2, "y": 1}), 0.0)
    others.take(Counts("b", {"x": 3}), 0.0)
    others.take(Counts("a", {"x": 1}), 0.5)
    assert (others.count("x"), others.count("y"), others.count("z")) == (4, 1, 0)
    others.take(Counts("a", {}, leaves=True), 0.6)
    assert (others.count("x"), others.count("y"), len(others)) == (3, 0, 1)


def test_who_is_silent_is_gone_and_may_come_back() -> None:
    others = Elsewhere()
    others.take(Counts("a", {"x": 2}), 0.0)
    others.expire(SILENCE)
    assert others.count("x") == 2
    others.take(Counts("a", {}), SILENCE)
    others.expire(2 * SILENCE)
    assert others.count("x") == 2
    others.expire(2 * SILENCE + 0.1)
    assert (others.count("x"), len(others), others.remembered) == (0, 0, 0)
    others.take(Counts("a", {"x": 1}), 9.0)
    assert others.count("x") == 1


def test_what_is_not_said_again_is_forgotten() -> None:
    """The message that took it back was lost, but its replica speaks on."""
    others = Elsewhere()
    others.take(Counts("a", {"x": 2, "y": 2}), 0.0)
    for second in range(1, int(LIFETIME) + 2):
        others.take(Counts("a", {"y": 2}), float(second))
        others.expire(float(second))
    assert (others.count("x"), others.count("y")) == (0, 2)


def test_more_than_fits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "MAX_COUNTS", 3)
    monkeypatch.setattr(elsewhere, "MAX_REPLICAS", 2)
    others = Elsewhere()
    assert others.take(Counts("a", {"x": 1, "y": 1}), 0.0)
    assert not others.take(Counts("b", {"x": 1, "y": 1}), 0.0)
    assert not others.take(Counts("c", {"x": 1}), 0.0)
    assert (others.count("x"), others.count("y"), others.remembered) == (2, 1, 3)
    assert others.take(Counts("a", {"x": 0}), 0.0)
    assert others.take(Counts("b", {"y": 4}), 0.0)
    assert (others.count("x"), others.count("y")) == (1, 5)


NAMES = st.sampled_from("abcd")
SAID = st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3))


class Listening(RuleBasedStateMachine):
    """Every order of messages and silences, beside a model that keeps all that was ever said."""

    def __init__(self) -> None:
        super().__init__()
        self.others = Elsewhere()
        self.now = 0.0
        self.heard: dict[str, float] = {}
        self.said: dict[tuple[str, str], tuple[int, float]] = {}

    @rule(name=NAMES, counts=SAID)
    def speak(self, name: str, counts: dict[str, int]) -> None:
        assert self.others.take(Counts(name, counts), self.now)
        self.heard[name] = self.now
        self.said |= {(name, digest): (count, self.now) for digest, count in counts.items()}

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        self.others.take(Counts(name, {}, leaves=True), self.now)
        self.drop(name)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 4.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.others.expire(self.now)
        for name in [name for name, at in self.heard.items() if self.now - at > SILENCE]:
            self.drop(name)
        self.said = {key: value for key, value in self.said.items() if self.now - value[1] <= LIFETIME}

    def drop(self, name: str) -> None:
        self.heard.pop(name, None)
        self.said = {key: value for key, value in self.said.items() if key[0] != name}

    @invariant()
    def sums_are_right(self) -> None:
        for digest in "xyz":
            assert self.others.count(digest) == sum(n for (_, word), (n, _) in self.said.items() if word == digest)
        assert len(self.others) == len(self.heard)
        assert self.others.remembered == sum(1 for count, _ in self.said.values() if count)


TestListening = Listening.TestCase
TestListening.settings = settings(max_examples=30, stateful_step_count=30)
