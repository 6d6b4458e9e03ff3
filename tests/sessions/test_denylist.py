"""The deny-list against a model that forgets nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.sessions.fakes import identity
from wsguard.sessions.denylist import CLOCK_ALLOWANCE, SHORTEST_RETENTION, DenyList, is_issued_before
from wsguard.sessions.identity import Identity

NOW = 1_000_000.0
HOUR = 3_600.0
DAY = 86_400.0
FEW = st.sampled_from(["a", "b", "c"])
MAYBE = st.none() | FEW


class DenyListMachine(RuleBasedStateMachine):
    """A logout is not forgotten while its tokens may live: it is denied, or the list says it overflowed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.denied: list[tuple[str, str | None, str, float, float]] = []  # kind, issuer, word, issued before, at
        self.list = DenyList(max_entries=4)

    @rule(seconds=st.sampled_from([0.0, 1.0, HOUR, DAY, 3 * DAY]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(kind=st.sampled_from(["sid", "jti", "cookie"]), issuer=MAYBE, word=FEW)
    def deny(self, kind: str, issuer: str | None, word: str) -> None:
        getattr(self.list, f"deny_{kind}")(issuer, word, self.now)
        self.denied.append((kind, issuer, word, 0.0, self.now))

    @rule(issuer=MAYBE, subject=FEW, ahead=st.sampled_from([-HOUR, 0.0, 1.0]))
    def deny_subject(self, issuer: str | None, subject: str, ahead: float) -> None:
        self.list.deny_subject(issuer, subject, self.now + ahead, self.now)
        self.denied.append(("subject", issuer, subject, self.now + ahead, self.now))

    @rule(ahead=st.sampled_from([-HOUR, 0.0, 1.0]))
    def deny_everyone(self, ahead: float) -> None:
        self.list.deny_everyone(self.now + ahead, self.now)
        self.denied.append(("everyone", None, "", self.now + ahead, self.now))

    @rule(
        words=st.tuples(FEW, FEW, MAYBE, MAYBE, MAYBE),
        age=st.sampled_from([0.0, 2.0, HOUR, 20 * HOUR]),
        life=st.sampled_from([HOUR, DAY]),
    )
    def present(self, words: tuple[str, str, str | None, str | None, str | None], age: float, life: float) -> None:
        issuer, subject, sid, jti, cookie = words
        issued_at = self.now - age
        who = identity(subject, issuer, sid=sid, jti=jti, issued_at=issued_at, expires_at=issued_at + life)
        who = replace(who, cookie=cookie)
        denied = self.list.denies(who, self.now)
        if self.should_be_denied(who):
            assert denied or self.list.overflowed(self.now)
        if denied:
            assert any(self.speaks_of(entry, who) for entry in self.denied), "denied, but never logged out"

    def should_be_denied(self, who: Identity) -> bool:
        return any(self.speaks_of(entry, who) and self.now < entry[4] + SHORTEST_RETENTION for entry in self.denied)

    def speaks_of(self, entry: tuple[str, str | None, str, float, float], who: Identity) -> bool:
        kind, issuer, word, issued_before, _ = entry
        if kind == "everyone":
            return is_issued_before(who, issued_before)
        if issuer not in (None, who.issuer) or getattr(who, kind) != word:
            return False
        return kind != "subject" or is_issued_before(who, issued_before)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.list) <= 4


TestDenyList = DenyListMachine.TestCase
TestDenyList.settings = settings(max_examples=50)  # of fifty steps each


def token(subject: str = "alice", **what: float | str | None) -> Identity:
    return identity(subject, **{"issued_at": NOW - 10, "expires_at": NOW + HOUR, **what})  # type: ignore[arg-type]


def test_a_sid_and_a_jti_are_denied_whenever_the_token_was_issued() -> None:
    denied = DenyList()
    denied.deny_sid(None, "s1", NOW)
    denied.deny_jti("https://idp.test", "j1", NOW)
    assert denied.denies(token(sid="s1", issued_at=NOW + 60), NOW + 60)
    assert denied.denies(token(jti="j1"), NOW)
    assert not denied.denies(token(sid="s2", jti="j2"), NOW)


def test_a_subject_is_denied_only_for_tokens_issued_before() -> None:
    denied = DenyList()
    denied.deny_subject(None, "alice", NOW, NOW)
    assert denied.denies(token(issued_at=NOW - 0.001), NOW)
    assert not denied.denies(token(issued_at=NOW), NOW)
    assert denied.denies(token(issued_at=None), NOW), "a token that does not say when it was issued is taken to be old"
    assert not denied.denies(token("bob"), NOW)


def test_an_issuer_speaks_only_of_its_own_tokens() -> None:
    denied = DenyList()
    denied.deny_subject("https://idp.test", "alice", NOW, NOW)
    assert not denied.denies(token(issuer="https://other.test"), NOW)
    assert denied.denies(token(), NOW)


def test_the_words_of_one_kind_mean_nothing_to_another() -> None:
    denied = DenyList()
    denied.deny_sid(None, "x", NOW)
    assert not denied.denies(token("x", jti="x"), NOW)


def test_an_earlier_second_logout_does_not_weaken_a_later_first_one() -> None:
    denied = DenyList()
    denied.deny_subject(None, "alice", NOW, NOW)
    denied.deny_subject(None, "alice", NOW - HOUR, NOW)
    assert denied.denies(token(issued_at=NOW - 10), NOW)


def test_an_entry_holds_for_a_day_and_then_lets_tokens_without_iat_pass_again() -> None:
    denied = DenyList()
    denied.deny_subject(None, "alice", NOW, NOW)
    last = NOW + SHORTEST_RETENTION + CLOCK_ALLOWANCE
    assert denied.denies(token(issued_at=None, expires_at=last + HOUR), last - 1)
    assert not denied.denies(token(issued_at=None, expires_at=last + HOUR), last)


def test_a_token_that_lives_longer_finds_the_entry_that_speaks_of_it_however_late() -> None:
    denied = DenyList()
    denied.deny_sid(None, "s1", NOW)
    monthly = token(sid="s1", expires_at=NOW + 30 * DAY)
    assert denied.denies(monthly, NOW + 29 * DAY)


def test_a_full_list_makes_room_only_from_what_no_longer_holds() -> None:
    denied = DenyList(max_entries=2)
    denied.deny_sid(None, "s1", NOW)
    denied.deny_sid(None, "s2", NOW)
    later = NOW + SHORTEST_RETENTION + CLOCK_ALLOWANCE
    denied.deny_sid(None, "s3", later)
    assert len(denied) == 2
    assert not denied.overflowed(later)
    assert denied.denies(token(sid="s3"), later)


def test_a_list_full_of_what_still_holds_overflows_until_the_lost_entry_would_have_lapsed() -> None:
    denied = DenyList(max_entries=1)
    denied.deny_sid(None, "s1", NOW)
    denied.deny_sid(None, "s1", NOW)
    assert not denied.overflowed(NOW), "the same session again needs no room"
    denied.deny_sid(None, "s2", NOW + 1)
    assert denied.overflowed(NOW + 1)
    assert denied.denies(token(sid="s1"), NOW + 1)
    lapse = NOW + 1 + SHORTEST_RETENTION + CLOCK_ALLOWANCE
    assert denied.overflowed(lapse - 1)
    assert not denied.overflowed(lapse)


def test_a_list_without_room_fails_closed() -> None:
    denied = DenyList(max_entries=0)
    denied.deny_jti(None, "j", NOW)
    assert denied.overflowed(NOW)


def test_an_entry_holds_as_long_as_a_stream_is_read_back() -> None:
    denied = DenyList(retention=7 * DAY)
    denied.deny_subject(None, "alice", NOW, NOW)
    late = NOW + 7 * DAY
    assert denied.denies(token(issued_at=None, expires_at=late + HOUR), late)


def test_a_logout_of_what_is_yet_to_be_issued_holds_from_then() -> None:
    """`issuedBefore` may lie a little ahead: a token of that moment lives as long as any other."""
    ahead = DenyList()
    ahead.deny_subject(None, "alice", NOW + HOUR, NOW)
    late = NOW + SHORTEST_RETENTION + CLOCK_ALLOWANCE + HOUR - 1
    assert ahead.denies(identity("alice", issued_at=NOW + HOUR - 1, expires_at=None), late)
    assert not ahead.denies(identity("alice", issued_at=NOW + HOUR - 1, expires_at=None), late + 2)
