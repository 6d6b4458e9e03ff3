"""The registry against the obvious model: a dict, searched from end to end."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.sessions.fakes import connection, identity
from wsguard.sessions.connection import Connection
from wsguard.sessions.registry import Filters, Registry

FEW = st.sampled_from(["a", "b", "c"])
MAYBE = st.none() | FEW
FILTERS = st.builds(Filters, issuer=MAYBE, subject=MAYBE, sid=MAYBE, jti=MAYBE, policy=MAYBE)


def is_wanted(connection: Connection, filters: Filters) -> bool:
    if filters.policy is not None and connection.policy != filters.policy:
        return False
    named = {name: getattr(filters, name) for name in ("issuer", "subject", "sid", "jti")}
    wanted = {name: word for name, word in named.items() if word is not None}
    return not wanted or any(
        all(getattr(who, name) == word for name, word in wanted.items()) for who in connection.identities
    )


class RegistryMachine(RuleBasedStateMachine):
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.model: dict[str, Connection] = {}

    @rule(
        target=ids,
        number=st.integers(0, 999),
        policy=FEW,
        words=st.lists(st.tuples(FEW, FEW, MAYBE, MAYBE), max_size=3),
    )
    def add(self, number: int, policy: str, words: list[tuple[str, str, str | None, str | None]]) -> str:
        people = [identity(subject, issuer, sid=sid, jti=jti) for subject, issuer, sid, jti in words]
        new = connection(f"{number:03}", people[0] if people else None, policy=policy, others=tuple(people[1:]))
        if new.id in self.model:
            with pytest.raises(ValueError, match=new.id):
                self.registry.add(new)
        else:
            self.registry.add(new)
            self.model[new.id] = new
        return new.id

    @rule(connection_id=consumes(ids))
    def remove(self, connection_id: str) -> None:
        assert self.registry.remove(connection_id) is self.model.pop(connection_id, None)

    @rule(filters=FILTERS)
    def find(self, filters: Filters) -> None:
        found = self.registry.find(
            issuer=filters.issuer,
            subject=filters.subject,
            sid=filters.sid,
            jti=filters.jti,
            policy=filters.policy,
        )
        wanted = {c.id for c in self.model.values() if is_wanted(c, filters)}
        assert len(found) == len(wanted)
        assert {c.id for c in found} == wanted

    @rule(filters=FILTERS, limit=st.integers(1, 5))
    def page_through(self, filters: Filters, limit: int) -> None:
        seen: list[str] = []
        cursor = None
        while True:
            page = self.registry.page(filters, limit, cursor)
            assert len(page.connections) <= limit
            seen += [c.id for c in page.connections]
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == sorted(c.id for c in self.model.values() if is_wanted(c, filters))

    @invariant()
    def agrees(self) -> None:
        assert len(self.registry) == len(self.model)
        assert set(self.registry) == set(self.model.values())
        policies = [c.policy for c in self.model.values()]
        assert self.registry.count_by_policy() == {name: policies.count(name) for name in set(policies)}
        for connection_id in self.model:
            assert self.registry.get(connection_id) is self.model[connection_id]


TestRegistry = RegistryMachine.TestCase


def test_a_connection_that_stays_is_listed_once_while_others_come_and_go() -> None:
    registry = Registry()
    for number in range(10, 20):
        registry.add(connection(str(number)))
    first = registry.page(Filters(), 4)
    assert [c.id for c in first.connections] == ["10", "11", "12", "13"]
    registry.remove("13")  # what the cursor names may itself be gone
    registry.remove("15")
    registry.add(connection("12a"))
    registry.add(connection("14a"))
    second = registry.page(Filters(), 100, first.cursor)
    assert [c.id for c in second.connections] == ["14", "14a", "16", "17", "18", "19"]
    assert second.cursor is None


def test_cutting_while_walking_may_remove() -> None:
    registry = Registry()
    for number in range(5):
        registry.add(connection(str(number)))
    for one in registry:
        registry.remove(one.id)
    assert len(registry) == 0


def test_what_was_never_here_is_not_removed() -> None:
    assert Registry().remove("nobody") is None
    assert Registry().get("nobody") is None
