from __future__ import annotations

from dataclasses import replace

from tests.sessions.fakes import FakeLink, connection, identity, link_of
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout, log_out, log_out_everyone
from wsguard.sessions.registry import Registry

NOW = 10_000.0


def test_a_logout_is_remembered_before_the_first_cut() -> None:
    """A client that comes back at once, or a handshake that registers right now, must find the entry."""
    registry, denylist = Registry(), DenyList()
    who = identity("alice", sid="s1")
    denied_at_the_cut: list[bool] = []

    class Watching(FakeLink):
        def cut(self, reason: CloseReason, detail: str = "") -> None:
            denied_at_the_cut.append(denylist.denies(who, NOW))

    registry.add(connection("c1", who, link=Watching()))
    assert log_out(Logout("sid", "s1", None, 0.0), registry, denylist, NOW) == 1
    assert denied_at_the_cut == [True]


def test_live_connections_and_later_tokens_are_judged_alike() -> None:
    registry, denylist = Registry(), DenyList()
    people = [
        identity("alice", issuer, sid=sid, jti=jti, issued_at=issued_at)
        for issuer in ("https://idp.test", "https://other.test")
        for sid, jti in (("s1", "j1"), ("s2", "j2"), (None, None))
        for issued_at in (None, 100.0, 200.0, 300.0)
    ]
    logouts = [
        Logout("sid", "s1", "https://idp.test", 0.0),
        Logout("jti", "j2", None, 0.0),
        Logout("subject", "alice", "https://other.test", 200.0),
    ]
    for number, who in enumerate(people):
        registry.add(connection(f"{number:02}", who))
    for logout in logouts:
        log_out(logout, registry, denylist, NOW)
    for one in registry:
        assert one.identity is not None
        assert (link_of(one).reason is CloseReason.LOGGED_OUT) == denylist.denies(one.identity, NOW)


def test_an_anonymous_connection_is_nobodys() -> None:
    registry = Registry()
    one = connection("c1")
    registry.add(one)
    assert log_out(Logout("subject", "alice", None, NOW), registry, DenyList(), NOW) == 0
    assert link_of(one).reason is None


def test_a_cookie_is_logged_out_by_its_digest() -> None:
    registry, denylist = Registry(), DenyList()
    alice, bob = (replace(identity(name), cookie=cookie_digest(name)) for name in ("alice", "bob"))
    for number, who in enumerate((alice, bob)):
        registry.add(connection(f"{number}", who))
    assert log_out(Logout("cookie", cookie_digest("alice"), None, 0.0), registry, denylist, NOW) == 1
    assert denylist.denies(alice, NOW)
    assert not denylist.denies(bob, NOW)


def test_everyone_is_whoever_was_issued_something_before() -> None:
    registry, denylist = Registry(), DenyList()
    old, new = identity("alice", issued_at=NOW - 1), identity("bob", issued_at=NOW)
    for number, who in enumerate((old, new, None)):
        registry.add(connection(f"{number}", who))
    assert log_out_everyone(NOW, registry, denylist, NOW) == 1
    assert denylist.denies(old, NOW)
    assert not denylist.denies(new, NOW)


def test_each_session_that_a_connection_was_admitted_by_ends_it() -> None:
    """The door refuses a handshake if any of its credentials was logged out: so a live one is cut by any."""
    first, second = identity("alice", sid="s1", issued_at=300.0), identity("alice", "https://app.test", issued_at=100.0)
    second = replace(second, sid="s2", cookie=cookie_digest("c2"))
    for logout in (
        Logout("sid", "s1", None, 0.0),
        Logout("sid", "s2", None, 0.0),
        Logout("cookie", cookie_digest("c2"), None, 0.0),
        Logout("subject", "alice", "https://app.test", 200.0),
        Logout("subject", "alice", "https://idp.test", 301.0),
    ):
        registry, denylist = Registry(), DenyList()
        one = connection("c1", first, others=(second,))
        registry.add(one)
        assert log_out(logout, registry, denylist, NOW) == 1, logout
        assert link_of(one).reason is CloseReason.LOGGED_OUT
        assert denylist.denies(first, NOW) or denylist.denies(second, NOW)
        registry.remove(one.id)
        assert not registry.find(sid="s1")
        assert not registry.find(sid="s2")
    registry = Registry()
    registry.add(connection("c1", first, others=(second,)))
    assert log_out(Logout("subject", "alice", "https://idp.test", 200.0), registry, DenyList(), NOW) == 0, (
        "300 is later"
    )
    assert log_out_everyone(200.0, registry, DenyList(), NOW) == 1


def test_a_cookie_that_is_no_credential_of_ours_finds_its_connections_too() -> None:
    """Somebody else vouched for it, perhaps without a name."""
    registry, denylist = Registry(), DenyList()
    anonymous = connection("0", watched=("sha256:a", "sha256:x"))
    named = connection("1", replace(identity("bob"), cookie="sha256:a"), watched=("sha256:a",))
    other = connection("2", identity("ann"), watched=("sha256:b",))
    for one in (anonymous, named, other):
        registry.add(one)
    assert len(registry.find(cookie="sha256:a")) == 2
    assert registry.find(cookie="sha256:a", issuer="https://idp.test") == [named]
    assert log_out(Logout("cookie", "sha256:a", None, 0.0), registry, denylist, NOW) == 2
    assert denylist.denies_cookie("sha256:a", (), NOW)
    assert not denylist.denies_cookie("sha256:x", ("https://idp.test",), NOW)
    assert link_of(other).reason is None
    for one in (anonymous, named, other):
        registry.remove(one.id)
    assert registry.find(cookie="sha256:a") == []


def test_a_cookie_of_one_issuer_leaves_the_others() -> None:
    denylist = DenyList()
    denylist.deny_cookie("https://idp.test", "sha256:a", NOW)
    assert denylist.denies_cookie("sha256:a", ("https://x.test", "https://idp.test"), NOW)
    assert not denylist.denies_cookie("sha256:a", ("https://x.test",), NOW)


def test_with_a_cookie_end_the_values_it_replaced_and_not_those_that_replaced_it() -> None:
    registry, denylist = Registry(), DenyList()
    old, now, later = (connection(word, watched=(f"sha256:{word}",)) for word in ("old", "now", "later"))
    for one in (old, now, later):
        registry.add(one)
    registry.successions.replace("sha256:old", "sha256:now")
    registry.successions.replace("sha256:now", "sha256:later")
    assert log_out(Logout("cookie", "sha256:now", None, 0.0), registry, denylist, NOW) == 2
    assert [link_of(one).reason for one in (old, now, later)] == [CloseReason.LOGGED_OUT] * 2 + [None]
    assert denylist.denies_cookie("sha256:old", (), NOW)
    assert not denylist.denies_cookie("sha256:later", (), NOW)


def test_everyone_is_also_who_has_nothing_but_a_session_cookie() -> None:
    registry = Registry()
    registry.add(connection("0", watched=("sha256:a",)))
    registry.add(connection("1"))
    assert log_out_everyone(NOW, registry, DenyList(), NOW) == 1
