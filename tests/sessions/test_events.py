"""The published format of a session end: what is written is read back, and nothing else is half understood."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsguard.sessions.events import CLOCK_ALLOWANCE, MAX_EVENT, MAX_WORD, BadEvent, SessionEnd, parse, serialize
from wsguard.sessions.identity import cookie_digest
from wsguard.sessions.logout import Logout

NOW = 1_800_000_000.25
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
MOMENTS = st.floats(0, NOW + CLOCK_ALLOWANCE) | st.integers(0, int(NOW)).map(float)


def read(document: bytes | str) -> SessionEnd:
    return parse(document.encode() if isinstance(document, str) else document, "7-0", NOW)


@st.composite
def ends(draw: st.DrawFn) -> SessionEnd:
    at, event_id, issuer = draw(MOMENTS), draw(WORDS), draw(st.none() | WORDS)
    kind = draw(st.sampled_from(["sid", "jti", "subject", "cookie"]))
    word = draw(WORDS)
    before = draw(MOMENTS) if kind == "subject" else float(int(at) + 1)
    word = cookie_digest(word) if kind == "cookie" else word
    return SessionEnd(event_id, Logout(kind, word, issuer, before), at, kind == "cookie" and draw(st.booleans()))  # type: ignore[arg-type]


@given(ends())
def test_what_is_written_is_read_back(event: SessionEnd) -> None:
    assert read(serialize(event)) == event


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["sid", "subject", "jti", "cookie", "issuer", "issuedBefore", "ifAdmitted", "at", "id", "who"]),
    JSON,
)


@given(st.binary() | MEMBERS.map(lambda members: json.dumps(members).encode()))
def test_whatever_comes_is_an_event_or_a_bad_event(document: bytes) -> None:
    with suppress(BadEvent):
        event = read(document)
        assert read(serialize(event)) == event


def test_a_script_says_no_more_than_it_knows() -> None:
    assert read('{"subject": "alice"}') == SessionEnd("7-0", Logout("subject", "alice", None, 1_800_000_001.0), NOW)
    assert read('{"sid": "s1", "issuer": "https://idp.test"}').logout.issuer == "https://idp.test"


def test_a_moment_in_the_event_bounds_the_logout_when_it_says_no_other() -> None:
    assert read('{"subject": "alice", "at": 1000.5}').logout.issued_before == 1001.0
    assert read('{"subject": "alice", "at": 1000.5, "issuedBefore": 7}').logout.issued_before == 7.0


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "exactly one of"),
        ({"sid": "a", "jti": "b"}, "exactly one of"),
        ({"sid": "a", "isuer": "b"}, "a member that is none of"),
        ({"sid": ""}, "sid is not a string"),
        ({"sid": 1}, "sid is not a string"),
        ({"sid": "x" * (MAX_WORD + 1)}, "1 to 8192 characters"),
        ({"sid": "a", "issuer": None}, "issuer is not a string"),
        ({"sid": "a", "issuedBefore": 1}, "goes with subject"),
        ({"subject": "a", "issuedBefore": NOW * 1000}, "not of milliseconds"),
        ({"subject": "a", "issuedBefore": -1}, "number of seconds"),
        ({"subject": "a", "at": True}, "number of seconds"),
        ({"subject": "a", "at": NOW * 1000}, "not of milliseconds"),
        ({"cookie": "the value itself"}, "64 hex digits"),
        ({"sid": "a", "ifAdmitted": True}, "does not go with cookie"),
        ({"cookie": "sha256:" + "0" * 64, "ifAdmitted": 1}, "not true or false"),
        ({"sid": "a", "id": "x" * 129}, "1 to 128 characters"),
    ],
)
def test_what_is_not_understood_is_refused(members: dict[str, Any], why: str) -> None:
    with pytest.raises(BadEvent, match=why):
        read(json.dumps(members))


@pytest.mark.parametrize(
    "document",
    ['{"sid": "a", "sid": "b"}', "[]", "sid", b"\xff", "", '{"at": NaN, "sid": "a"}', '{"sid":"\\ud800"}'],
)
def test_json_that_two_readers_would_read_differently_is_refused(document: bytes | str) -> None:
    with pytest.raises(BadEvent):
        read(document)


def test_an_event_has_a_bound() -> None:
    with pytest.raises(BadEvent, match="more than"):
        read(b'{"sid": "a"' + b" " * MAX_EVENT + b"}")


def test_no_value_is_quoted() -> None:
    with pytest.raises(BadEvent) as caught:
        read('{"sid": "secret-session", "other": "x"}')
    assert "secret" not in str(caught.value)
