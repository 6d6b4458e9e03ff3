"""Counts never drift: whatever comes in whatever order, a room holds who is in it, and nobody when all have gone."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.sessions.fakes import connection
from wsguard.sessions.census import Census, Claim, Key

TOTAL: Key = ("chat", "total", "")
ANN: Key = ("chat", "perSubject", "ann")
BOB: Key = ("chat", "perSubject", "bob")


def test_handshakes_cannot_overshoot_together() -> None:
    census = Census()
    claims = [Claim(TOTAL, 10)]
    answers = [census.reserve(str(i), claims) for i in range(50)]
    assert (answers.count(None), census.count(TOTAL)) == (10, 10)
    assert set(answers) == {None, claims[0]}


def test_what_cannot_be_had_whole_is_not_held_in_part() -> None:
    census = Census()
    census.reserve("a", [Claim(ANN, 1)])
    assert census.reserve("b", [Claim(TOTAL, 10), Claim(ANN, 1)]) == Claim(ANN, 1)
    assert census.count(TOTAL) == 0


def test_places_are_held_beside_those_that_are_held_already() -> None:
    census = Census()
    census.reserve("a", [Claim(TOTAL, 1)])
    assert census.reserve("a", [Claim(TOTAL, 1), Claim(ANN, 1)]) is None
    assert census.reserve("b", [Claim(TOTAL, 1)]) is not None
    census.give_back("a", TOTAL)
    assert census.reserve("b", [Claim(TOTAL, 1)]) is None
    census.abandon("a")
    census.abandon("b")
    assert len(census) == 0


def test_a_connection_takes_the_place_of_its_handshake() -> None:
    census = Census()
    census.reserve("a", [Claim(TOTAL, 1)])
    census.open(connection("a"), [TOTAL])
    assert census.count(TOTAL) == 1
    census.abandon("a")
    assert census.count(TOTAL) == 1
    census.leave("a")
    assert len(census) == 0


def test_who_was_told_to_go_leaves_room_for_its_successor() -> None:
    census = Census()
    census.open(connection("a"), [TOTAL])
    assert census.reserve("b", [Claim(TOTAL, 1)]) is not None
    census.excuse("a")
    assert census.reserve("b", [Claim(TOTAL, 1)]) is None
    census.open(connection("a"), [TOTAL])  # it moves to another policy, and is still on its way out
    assert census.count(TOTAL) == 1
    census.leave("a")
    assert census.count(TOTAL) == 1


def test_who_is_to_stay_after_all_counts_again_and_is_the_oldest() -> None:
    census = Census()
    older, newer = connection("a"), connection("b")
    newer.opened_at = older.opened_at + 1
    census.open(older, [TOTAL])
    census.excuse("a")
    census.open(newer, [TOTAL])
    census.open(older, [TOTAL, ANN])  # it moves to another policy meanwhile
    census.recall([older, connection("gone")])
    assert (census.count(TOTAL), census.count(ANN)) == (2, 1)
    ((_, found),) = census.surplus([Claim(TOTAL, 1)])
    assert found is older


def test_the_oldest_make_room() -> None:
    census = Census()
    for name in "abc":
        assert census.reserve(name, [Claim(TOTAL, 2)], replaces=True) is None
        census.open(connection(name), [TOTAL])
    (found,) = census.surplus([Claim(TOTAL, 2)])
    assert (found[0], found[1].id) == (Claim(TOTAL, 2), "a")
    assert census.surplus([Claim(TOTAL, 2)]) == []
    census.leave("a")
    assert census.count(TOTAL) == 2


def test_handshakes_that_replace_are_bounded_too() -> None:
    census = Census()
    assert [census.reserve(name, [Claim(TOTAL, 2)], replaces=True) for name in "abc"][2] == Claim(TOTAL, 2)


IDS = st.sampled_from("abcdef")
KEYS = st.lists(st.sampled_from([TOTAL, ANN, BOB]), max_size=3, unique=True)
MOST = 2


class Counting(RuleBasedStateMachine):
    """Every order of events, beside a model that is only sets."""

    def __init__(self) -> None:
        super().__init__()
        self.census = Census()
        self.reserved: dict[str, set[Key]] = {}
        self.opened: dict[str, set[Key]] = {}
        self.excused: dict[str, set[Key]] = {}

    @rule(who=IDS, keys=KEYS)
    def reserve(self, who: str, keys: list[Key]) -> None:
        if who in self.opened:
            return
        had = self.reserved.get(who, set())
        full = [key for key in keys if key not in had and self.count(key) >= MOST]
        answer = self.census.reserve(who, [Claim(key, MOST) for key in keys])
        assert (answer and answer.key) == (full[0] if full else None)
        if not full and had | set(keys):
            self.reserved[who] = had | set(keys)

    @rule(who=IDS, key=st.sampled_from([TOTAL, ANN, BOB]))
    def give_back(self, who: str, key: Key) -> None:
        self.census.give_back(who, key)
        self.reserved.get(who, set()).discard(key)

    @rule(who=IDS)
    def abandon(self, who: str) -> None:
        self.census.abandon(who)
        self.reserved.pop(who, None)
        if who not in self.opened:
            self.excused.pop(who, None)

    @rule(who=IDS, keys=KEYS)
    def open(self, who: str, keys: list[Key]) -> None:
        self.census.open(connection(who), keys)
        self.reserved.pop(who, None)
        self.opened[who] = set(keys)
        if who in self.excused:
            self.excused[who], self.opened[who] = self.opened[who], set()

    @rule(who=IDS)
    def excuse(self, who: str) -> None:
        self.census.excuse(who)
        self.excused.setdefault(who, self.opened.get(who, set()))
        if who in self.opened:
            self.opened[who] = set()

    @rule(ids=st.sets(IDS))
    def recall(self, ids: set[str]) -> None:
        here = [who for who in sorted(ids) if who in self.opened]
        self.census.recall(map(connection, here))
        for who in here:
            self.opened[who] |= self.excused.pop(who, set())

    @rule(who=IDS)
    def leave(self, who: str) -> None:
        self.census.leave(who)
        self.opened.pop(who, None)
        self.excused.pop(who, None)

    @precondition(lambda self: self.opened)
    @rule()
    def surplus(self) -> None:
        for _, gone in self.census.surplus([Claim(TOTAL, MOST)]):
            self.excused.setdefault(gone.id, self.opened[gone.id])
            self.opened[gone.id] = set()
        assert sum(TOTAL in keys for keys in self.opened.values()) <= MOST

    @invariant()
    def counts_are_right(self) -> None:
        counts = {key: self.count(key) for key in (TOTAL, ANN, BOB)}
        assert {key: self.census.count(key) for key in counts} == counts
        assert len(self.census) == sum(count > 0 for count in counts.values())

    def count(self, key: Key) -> int:
        return sum(key in keys for keys in (*self.reserved.values(), *self.opened.values()))

    def teardown(self) -> None:
        for who in "abcdef":
            self.census.abandon(who)
            self.census.leave(who)
        assert len(self.census) == 0
        assert not self.census._excused
        assert not self.census._reserved
        assert not self.census._opened


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=50)  # of fifty steps each
