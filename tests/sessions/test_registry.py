"""The registry against the obvious model: a dict, searched from end to end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.sessions.fakes import connection, identity
from wsguard.sessions.connection import Connection, Stream
from wsguard.sessions.identity import Identity
from wsguard.sessions.registry import Filters, Registry
from wsguard.sessions.renewal import live_by

FEW = st.sampled_from(["a", "b", "c"])
MAYBE = st.none() | FEW
FILTERS = st.builds(
    Filters, issuer=MAYBE, subject=MAYBE, sid=MAYBE, jti=MAYBE, policy=MAYBE, cookie=MAYBE, backend=MAYBE
)
PEOPLE = st.lists(st.tuples(FEW, FEW, MAYBE, MAYBE, MAYBE, FEW), max_size=3)
Words = tuple[str, str, str | None, str | None, str | None, str]


def people(words: list[Words]) -> list[Identity]:
    return [
        replace(identity(subject, issuer, sid=sid, jti=jti), cookie=cookie, source=source)
        for subject, issuer, sid, jti, cookie, source in words
    ]


def is_wanted(connection: Connection, filters: Filters) -> bool:
    if filters.policy is not None and connection.policy != filters.policy:
        return False
    if filters.backend is not None and connection.backend != filters.backend:
        return False
    known_by = (*connection.identities, *connection.opened_with)
    if filters.cookie is not None and filters.cookie not in {*connection.watched, *(who.cookie for who in known_by)}:
        return False
    named = {name: getattr(filters, name) for name in ("issuer", "subject", "sid", "jti")}
    wanted = {name: word for name, word in named.items() if word is not None}
    return not wanted or any(all(getattr(who, name) == word for name, word in wanted.items()) for who in known_by)


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
        words=PEOPLE,
        watched=st.lists(FEW, max_size=2, unique=True),
        backend=FEW,
    )
    def add(self, number: int, policy: str, words: list[Words], watched: list[str], backend: str) -> str:
        who = people(words)
        new = connection(
            f"{number:03}",
            who[0] if who else None,
            policy=policy,
            others=tuple(who[1:]),
            watched=tuple(watched),
            backend=backend,
        )
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

    @rule(connection_id=ids, words=PEOPLE)
    def renew(self, connection_id: str, words: list[Words]) -> None:
        """As an admission does: others in the place of as many, while the registry knows nothing of it."""
        one = self.registry.remove(connection_id)
        if one is not None:
            after = [*people(words), *one.identities][: len(one.identities)]
            if after:
                live_by(one, after)
            self.registry.add(one)

    @rule(connection_id=ids, policy=FEW, words=PEOPLE)
    def move(self, connection_id: str, policy: str, words: list[Words]) -> None:
        """As a rejudgement does."""
        one = self.registry.remove(connection_id)
        if one is not None:
            one.policy = policy
            if words:
                one.identity, *others = people(words)
                one.others = tuple(others)
            self.registry.add(one)

    @rule(filters=FILTERS)
    def find(self, filters: Filters) -> None:
        found = self.registry.find(
            issuer=filters.issuer,
            subject=filters.subject,
            sid=filters.sid,
            jti=filters.jti,
            policy=filters.policy,
            cookie=filters.cookie,
            backend=filters.backend,
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
        for backend in ("a", "b", "c"):
            assert self.registry.count_at(backend) == sum(c.backend == backend for c in self.model.values())
        for connection_id in self.model:
            assert self.registry.get(connection_id) is self.model[connection_id]

    def teardown(self) -> None:
        """Nothing is left of whoever is gone."""
        for connection_id in self.model:
            self.registry.remove(connection_id)
        assert [index._buckets for index in self.registry._indexes] == [{}] * len(self.registry._indexes)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=50)  # of fifty steps each


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


def test_sockets_are_told_from_streams() -> None:
    registry = Registry()
    registry.add(connection("1"))
    stream = connection("2")
    stream.stream = Stream.SERVER_SENT_EVENTS
    registry.add(stream)
    assert (len(registry), registry.sockets) == (2, 1)
    registry.remove("2")
    registry.remove("2")
    assert registry.sockets == 1
    registry.remove("1")
    assert registry.sockets == 0
