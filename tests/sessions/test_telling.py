"""What is told adds up: who hears a whole round knows every count, and no batch is larger than it may be."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.sessions.fakes import connection
from wsguard.sessions import telling
from wsguard.sessions.census import Census, Claim, Key
from wsguard.sessions.counts import MAX_KEYS, Counts, digest
from wsguard.sessions.elsewhere import Elsewhere
from wsguard.sessions.telling import ROUND, Telling

TOPIC = "events"


def room(name: object) -> Key:
    return ("chat", "perClientIP", str(name))


class Replica:
    """A census that is told, and who is in it."""

    def __init__(self, name: str = "a") -> None:
        self.census = Census()
        self.telling = Telling(self.census, name, TOPIC)
        self.census.on_change = self.telling.change

    def enter(self, who: str, *keys: Key) -> None:
        self.census.open(connection(who), keys)

    def leave(self, who: str) -> None:
        self.census.leave(who)

    def say(self, *, is_beat: bool = False) -> dict[str, int]:
        """One batch, as one mapping by the word of the room."""
        return {name: count for told in self.telling.batch(is_beat=is_beat) for name, count in told.counts.items()}


def named(*names: object) -> set[str]:
    return {digest(room(name), TOPIC) for name in names}


def test_only_what_has_changed_is_told_between_beats() -> None:
    one = Replica()
    assert one.telling.batch(is_beat=False) == []
    assert one.telling.batch(is_beat=True) == [Counts("a", {})], "a beat says that it lives"
    one.enter("1", room("x"), room("y"))
    assert one.telling.has_news
    assert one.say() == dict.fromkeys(named("x", "y"), 1)
    one.enter("2", room("y"))
    assert one.say() == dict.fromkeys(named("y"), 2)
    one.leave("1")
    assert one.say() == {digest(room("x"), TOPIC): 0, digest(room("y"), TOPIC): 1}
    assert not one.telling.has_news
    assert one.telling.batch(is_beat=False) == []


def test_who_came_and_went_is_not_told() -> None:
    one = Replica()
    one.census.reserve("1", [Claim(room("x"), 9)])
    one.census.abandon("1")
    assert one.telling.batch(is_beat=False) == []


def test_everything_is_told_again_within_a_round() -> None:
    one = Replica()
    for i in range(12):
        one.enter(str(i), room(i))
    one.say()
    said = [one.say(is_beat=True) for _ in range(ROUND)]
    assert max(map(len, said)) <= 12 // ROUND + 1
    said += [one.say(is_beat=True)]
    assert {name for each in said for name in each} == named(*range(12))


def test_a_newcomer_hears_it_all_in_the_next_beat() -> None:
    one = Replica()
    for i in range(12):
        one.enter(str(i), room(i))
    one.say(is_beat=True)
    one.say(is_beat=True)
    one.telling.start_over()
    assert one.say(is_beat=True).keys() == named(*range(12))
    one.say(is_beat=True)
    assert len(one.say(is_beat=True)) < 12


def test_newcomers_without_end_let_every_count_have_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_AGAIN", 4)
    one = Replica()
    for i in range(12):
        one.enter(str(i), room(i))
    one.say(is_beat=True)
    said: set[str] = set()
    for _ in range(4):
        one.telling.start_over()
        said |= one.say(is_beat=True).keys()
    assert said == named(*range(12))


def test_what_went_while_nobody_listened_is_taken_back() -> None:
    one = Replica()
    one.enter("1", room("x"))
    one.say()
    one.census.on_change = None
    one.leave("1")
    one.enter("2", room("y"))
    one.telling.begin()
    assert one.say() == {digest(room("x"), TOPIC): 0, digest(room("y"), TOPIC): 1}


def test_a_batch_has_a_bound_and_the_rest_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_BATCH", 1_500)
    one = Replica()
    for i in range(2_000):
        one.enter(str(i), room(i))
    first = one.telling.batch(is_beat=False)
    assert [len(told.counts) for told in first] == [MAX_KEYS, 500]
    assert one.telling.has_news
    assert len(one.say()) == 500


def test_what_is_too_much_to_be_told_waits_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MAX_TOLD", 2)
    one = Replica()
    for i in range(4):
        one.enter(str(i), room(i))
    assert one.say().keys() == named(0, 1)
    assert one.telling.left_out == 2
    one.leave("3")
    assert one.say() == {}
    assert one.telling.left_out == 1
    one.leave("0")
    assert one.say() == dict.fromkeys(named(0), 0)
    assert named(2) <= one.say(is_beat=True).keys()
    assert one.telling.left_out == 0


class Hearing(RuleBasedStateMachine):
    """Messages are lost at will; after one more round that is heard, the listener knows what is so."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.others, self.now = Replica(), Elsewhere(), 0.0
        self.present: dict[str, str] = {}

    @rule(who=st.sampled_from("12345"), where=st.sampled_from("xyz"))
    def come(self, who: str, where: str) -> None:
        self.one.enter(who, room(where))
        self.present[who] = where

    @rule(who=st.sampled_from("12345"))
    def go(self, who: str) -> None:
        self.one.leave(who)
        self.present.pop(who, None)

    @rule(is_heard=st.booleans(), is_beat=st.booleans())
    def talk(self, is_heard: bool, is_beat: bool) -> None:
        for told in self.one.telling.batch(is_beat=is_beat):
            if is_heard:
                self.others.take(told, self.now)

    @rule()
    def listen(self) -> None:
        for _ in range(16):
            self.now += 1.0
            self.talk(is_heard=True, is_beat=True)
            self.others.expire(self.now)
        for where in "xyz":
            expected = sum(1 for each in self.present.values() if each == where)
            assert self.others.count(digest(room(where), TOPIC)) == expected


TestHearing = Hearing.TestCase
TestHearing.settings = settings(max_examples=30, stateful_step_count=30)
