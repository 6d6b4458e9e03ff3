"""Deadlines against a dict that is searched from end to end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsguard.sessions.deadlines import Deadlines

IDS = st.sampled_from("abcde")
TIMES = st.integers(0, 20).map(float)


class DeadlinesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.deadlines = Deadlines()
        self.model: dict[str, float] = {}

    @rule(one=IDS, when=TIMES)
    def set(self, one: str, when: float) -> None:
        self.deadlines.set(one, when)
        self.model[one] = when

    @rule(one=IDS)
    def discard(self, one: str) -> None:
        self.deadlines.discard(one)
        self.model.pop(one, None)

    @rule(now=TIMES)
    def pop_due(self, now: float) -> None:
        due = sorted((when, one) for one, when in self.model.items() if when <= now)
        assert self.deadlines.pop_due(now) == [one for _, one in due]
        for _, one in due:
            del self.model[one]

    @invariant()
    def agrees(self) -> None:
        assert len(self.deadlines) == len(self.model)


TestDeadlines = DeadlinesMachine.TestCase
TestDeadlines.settings = settings(max_examples=50)  # of fifty steps each


def test_a_deadline_that_is_moved_for_ever_takes_no_more_room() -> None:
    deadlines = Deadlines()
    for one in range(10):
        deadlines.set(f"still-{one}", 5.0)
    for when in range(10_000):
        deadlines.set("busy", float(when))
    assert len(deadlines._heap) < 200
    deadlines.discard("busy")
    assert deadlines.pop_due(4.9) == []
    assert len(deadlines.pop_due(5.0)) == 10


def test_the_heap_shrinks_when_a_crowd_leaves() -> None:
    deadlines = Deadlines()
    for one in range(5_000):
        deadlines.set(str(one), float(one))
    for one in range(4_990):
        deadlines.discard(str(one))
    assert len(deadlines._heap) < 200
    assert deadlines.pop_due(5_000.0) == [str(one) for one in range(4_990, 5_000)]
