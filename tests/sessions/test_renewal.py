"""Whose place a newer credential takes, and by what a connection is found after that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sessions.fakes import connection, identity, link_of
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity, earliest_end
from wsguard.sessions.logout import Logout, log_out
from wsguard.sessions.registry import Registry
from wsguard.sessions.renewal import is_newer, live_by, renewed

NOW = 10_000.0
OLD = identity(sid="s1", jti="j1", issued_at=1_000.0, expires_at=4_600.0)
NEW = identity(sid="s1", jti="j2", issued_at=2_000.0, expires_at=5_600.0)


@pytest.mark.parametrize(
    ("old", "fresh", "newer"),
    [
        (OLD, NEW, True),
        (OLD, replace(NEW, issued_at=1_000.0), False),
        (OLD, replace(NEW, issued_at=999.0), False),
        (OLD, replace(NEW, issued_at=None), False),
        (replace(OLD, issued_at=None), NEW, True),
        (OLD, replace(NEW, issuer="https://other.test"), False),
        (OLD, replace(NEW, subject="bob"), False),
        (OLD, replace(NEW, sid="s2"), False),
        (OLD, replace(NEW, sid=None), False),
        (replace(OLD, sid=None), replace(NEW, sid=None), False),
        (OLD, replace(NEW, source="header:authorization"), False),
        (OLD, replace(NEW, expires_at=2_001.0), True),
        (OLD, replace(NEW, expires_at=None, jti=None, cookie="sha256:x", provider="another"), True),
    ],
)
def test_who_takes_whose_place(old: Identity, fresh: Identity, newer: bool) -> None:
    assert is_newer(fresh, old) is newer
    assert renewed((old,), (fresh,)) == ((fresh,) if newer else None)


def test_of_two_credentials_only_that_of_the_same_source_is_replaced() -> None:
    """And the earliest end of both is still the end."""
    header = replace(OLD, source="header:authorization", expires_at=3_000.0)
    after = renewed((OLD, header), (NEW,))
    assert after == (NEW, header)
    assert earliest_end(after) == 3_000.0
    newer_header = replace(header, issued_at=1_500.0, expires_at=9_000.0)
    assert renewed((OLD, header), (newer_header, NEW)) == (NEW, newer_header)
    assert earliest_end((NEW, newer_header)) == 5_600.0


NAMES = st.sampled_from(["a", "b"])
IDENTITIES = st.builds(
    Identity,
    provider=NAMES,
    issuer=NAMES,
    subject=NAMES,
    source=NAMES,
    sid=st.none() | NAMES,
    issued_at=st.none() | st.integers(0, 5).map(float),
    expires_at=st.none() | st.integers(0, 9).map(float),
)


@given(st.lists(IDENTITIES, min_size=1, max_size=3), st.lists(IDENTITIES, max_size=3))
def test_no_other_session_is_ever_touched(identities: list[Identity], fresh: list[Identity]) -> None:
    after = renewed(identities, fresh)
    if after is None:
        return
    assert len(after) == len(identities)
    for old, new in zip(identities, after, strict=True):
        if new is not old:
            assert new in fresh
            assert new.sid is not None
            assert (new.issuer, new.subject, new.sid, new.source) == (old.issuer, old.subject, old.sid, old.source)
            assert new.issued_at is not None
            assert old.issued_at is None or new.issued_at > old.issued_at
    assert renewed(after, after) is None


def registry_with(*identities: tuple[Identity, ...]) -> Registry:
    """One connection that lives by these, one after the other."""
    one, registry = connection("c1", identities[0][0]), Registry()
    one.others = identities[0][1:]
    registry.add(one)
    for after in identities[1:]:
        registry.remove("c1")
        live_by(one, after)
        registry.add(one)
    return registry


THIRD = replace(NEW, jti="j3", issued_at=3_000.0)


@pytest.mark.parametrize(
    ("logout", "cut"),
    [
        (Logout("jti", "j3", "https://idp.test", NOW), True),  # what it lives by
        (Logout("jti", "j1", "https://idp.test", NOW), True),  # what let it in
        (Logout("jti", "j2", "https://idp.test", NOW), False),  # what has come and gone between
        (Logout("jti", "j3", "https://other.test", NOW), False),
        (Logout("sid", "s1", "https://idp.test", NOW), True),
        (Logout("subject", "alice", None, 3_000.0), False),  # it lives by a token that was issued then
        (Logout("subject", "alice", None, 3_001.0), True),
    ],
)
def test_log_outs_after_two_renewals(logout: Logout, cut: bool) -> None:
    registry = registry_with((OLD,), (NEW,), (THIRD,))
    assert log_out(logout, registry, DenyList(), NOW) == cut
    (one,) = registry
    assert (link_of(one).reason is CloseReason.LOGGED_OUT) is cut


def test_of_what_let_it_in_no_claim_is_kept() -> None:
    old = replace(OLD, claims={"secret": "x" * 1000})
    (one,) = registry_with((old,), (NEW,), (THIRD,))
    assert one.opened_with == (replace(OLD, claims={}),)
    assert one.identities == (THIRD,)


def test_each_credential_of_several_is_found() -> None:
    header = replace(OLD, source="header:authorization", jti="h1", sid="s9")
    registry = registry_with((OLD, header), (NEW, header))
    for jti in ("j1", "j2", "h1"):
        assert [one.id for one in registry.find(jti=jti)] == ["c1"]
    assert [one.id for one in registry.find(sid="s9", issuer="https://idp.test")] == ["c1"]
    assert registry.find(sid="s9", jti="j2") == []
    registry.remove("c1")
    assert len(registry) == 0
    assert registry.find(jti="j1") == registry.find(sid="s1") == registry.find(subject="alice") == []
