"""By how much a cap over replicas may be missed: by what is admitted elsewhere before it is told, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sessions.fakes import connection
from wsguard.sessions.census import Census, Claim, Key
from wsguard.sessions.counts import digest
from wsguard.sessions.elsewhere import Elsewhere
from wsguard.sessions.telling import Telling

CAP = 10
TOTAL: Key = ("chat", "total", "")
CLAIMS = [Claim(TOTAL, CAP)]


class Replica:
    """A census that judges with what it has heard."""

    def __init__(self, name: str) -> None:
        self.census, self.others = Census(), Elsewhere()
        self.telling = Telling(self.census, name, "events")
        self.census.elsewhere = lambda key: self.others.count(digest(key, "events"))
        self.census.on_change = self.telling.change
        self._ids = (f"{name}{i}" for i in range(10_000))
        self.open: list[str] = []

    def knock(self, *, replaces: bool = False) -> bool:
        who = next(self._ids)
        if self.census.reserve(who, CLAIMS, replaces=replaces) is not None:
            return False
        self.census.open(connection(who), [TOTAL])
        self.open.append(who)
        if replaces:
            for _, oldest in self.census.surplus(CLAIMS):
                self.census.leave(oldest.id)
                self.open.remove(oldest.id)
        return True

    def leave(self) -> None:
        if self.open:
            self.census.leave(self.open.pop())


class Replicas:
    def __init__(self, count: int) -> None:
        self.all = [Replica(f"{i:032x}") for i in range(count)]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.all)

    @property
    def total(self) -> int:
        return sum(len(each.open) for each in self.all)

    def tell(self) -> None:
        """What happens once an interval."""
        for one in self.all:
            for told in one.telling.batch(is_beat=True):
                for other in self.all:
                    if other is not one:
                        other.others.take(told, 0.0)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_all_at_once_within_one_interval_is_the_worst(count: int) -> None:
    replicas = Replicas(count)
    for one in replicas:
        assert [one.knock() for _ in range(2 * CAP)].count(True) == CAP, "never more than its own cap each"
    assert replicas.total == count * CAP
    replicas.tell()
    for one in replicas:
        while replicas.total > CAP:
            assert not one.knock()
            one.leave()
            replicas.tell()
            if not one.open:
                break
    assert replicas.total == CAP
    assert not any(one.knock() for one in replicas)
    replicas.all[-1].leave()
    replicas.tell()
    assert replicas.all[0].knock()


def test_one_after_the_other_is_exact() -> None:
    replicas = Replicas(3)
    for _ in range(2 * CAP):
        for one in replicas:
            one.knock()
            replicas.tell()
    assert replicas.total == CAP


def test_nobody_elsewhere_can_be_closed_from_here() -> None:
    """CloseOldest lets every newcomer in, so each replica keeps its newest: one beyond the cap for each but one."""
    replicas = Replicas(3)
    first, second, third = replicas.all
    for _ in range(CAP):
        first.knock(replaces=True)
    for one in (second, third, second, third):
        replicas.tell()
        assert one.knock(replaces=True)
    assert [len(each.open) for each in replicas] == [CAP, 1, 1]
    replicas.tell()
    assert first.knock(replaces=True), "who comes to where the old ones are closes as many as are too many"
    assert replicas.total == CAP


@given(st.lists(st.tuples(st.sampled_from(["knock", "leave", "tell"]), st.integers(0, 2)), max_size=80))
def test_the_cap_is_missed_by_what_was_not_told_yet(steps: list[tuple[str, int]]) -> None:
    replicas, untold, gone = Replicas(3), [0, 0, 0], [0, 0, 0]
    for what, which in steps:
        one = replicas.all[which]
        if what == "tell":
            replicas.tell()
            untold, gone = [0, 0, 0], [0, 0, 0]
        elif what == "leave":
            gone[which] += bool(one.open)
            one.leave()
        else:
            before = replicas.total
            others = sum(untold) - untold[which]
            if one.knock():
                untold[which] += 1
                assert before - others < CAP, "it was full, and all of that had been told"
            else:
                assert before + sum(gone) - gone[which] >= CAP, "nobody is refused but for places just given back"
