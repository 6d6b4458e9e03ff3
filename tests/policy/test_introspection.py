from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.parties import opaque
from tests.policy.minting import NOW
from wsguard.policy.introspection import askable, read_answer
from wsguard.policy.tokens import TokenProblem, still_valid
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity

ENDPOINT = "https://idp.example.test/introspect"


def read(members: dict[str, Any] | bytes, **fields: Any) -> Identity | TokenProblem:
    document = members if isinstance(members, bytes) else json.dumps(members).encode()
    return read_answer(document, opaque(ENDPOINT, **fields), NOW, 30.0, source="cookie:session")


def identity(members: dict[str, Any], **fields: Any) -> Identity:
    outcome = read(members, **fields)
    assert isinstance(outcome, Identity), outcome
    return outcome


def problem(members: dict[str, Any] | bytes, **fields: Any) -> CloseReason:
    outcome = read(members, **fields)
    assert isinstance(outcome, TokenProblem), outcome
    return outcome.reason


def test_reads_who_the_token_speaks_for() -> None:
    who = identity(
        {
            "active": True, "iss": "https://idp.example.test", "sub": "ann", "sid": "s1", "jti": "j1",
            "iat": NOW - 5, "exp": NOW + 60, "scope": "chat",
        }
    )  # fmt: skip
    assert (who.provider, who.issuer, who.subject, who.sid, who.jti) == (
        "opaque", "https://idp.example.test", "ann", "s1", "j1",
    )  # fmt: skip
    assert (who.issued_at, who.expires_at, who.source) == (NOW - 5, NOW + 60, "cookie:session")
    assert who.claims["scope"] == "chat"


def test_the_issuer_is_the_policys_else_the_answers_else_the_providers_name() -> None:
    assert identity({"active": True, "sub": "a"}).issuer == "opaque"
    assert identity({"active": True, "sub": "a", "iss": "x"}).issuer == "x"
    assert identity({"active": True, "sub": "a"}, issuer="x").issuer == "x"
    assert problem({"active": True, "sub": "a", "iss": "y"}, issuer="x") is CloseReason.CREDENTIAL_INVALID


def test_an_answer_without_exp_never_ends_of_itself() -> None:
    who = identity({"active": True, "sub": "a"})
    assert who.expires_at is None
    assert still_valid(who, NOW + 1e6, 0.0)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"active": False}, CloseReason.CREDENTIAL_INVALID),
        ({"active": False, "sub": "a"}, CloseReason.CREDENTIAL_INVALID),
        ({"active": True}, CloseReason.CREDENTIAL_INVALID),
        ({"active": True, "username": "a", "client_id": "b"}, CloseReason.CREDENTIAL_INVALID),
        ({"active": True, "sub": "a", "exp": NOW - 31}, CloseReason.CREDENTIAL_EXPIRED),
        ({"active": True, "sub": "a", "nbf": NOW + 31}, CloseReason.CREDENTIAL_INVALID),
        ({"active": True, "sub": "a", "iat": NOW + 31}, CloseReason.CREDENTIAL_INVALID),
        ({"sub": "a"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": 1, "sub": "a"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": "true", "sub": "a"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": 7}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": "a\r\nb"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": "a", "exp": "tomorrow"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": "a", "exp": 1e300}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": "a", "nbf": "x"}, CloseReason.IDENTITY_UNAVAILABLE),
        ({"active": True, "sub": "a", "sid": []}, CloseReason.IDENTITY_UNAVAILABLE),
        (b"[]", CloseReason.IDENTITY_UNAVAILABLE),
        (b"", CloseReason.IDENTITY_UNAVAILABLE),
    ],
)
def test_refuses_everything_else(members: dict[str, Any] | bytes, reason: CloseReason) -> None:
    assert problem(members) is reason


def test_the_audience_is_checked_where_the_policy_names_one() -> None:
    assert identity({"active": True, "sub": "a", "aud": ["x", "chat"]}, audiences=("chat",))
    assert identity({"active": True, "sub": "a", "aud": "chat"}, audiences=("chat",))
    answers: list[dict[str, Any]] = [{}, {"aud": "x"}, {"aud": []}]
    for aud in answers:
        assert problem({"active": True, "sub": "a", **aud}, audiences=("chat",)) is CloseReason.CREDENTIAL_INVALID
    assert problem({"active": True, "sub": "a", "aud": 7}, audiences=("chat",)) is CloseReason.IDENTITY_UNAVAILABLE


def test_what_is_no_token_is_not_asked_about() -> None:
    for token in ("", "a\nb", "ä", "a\x00", "\ud800", "a" * 8193):
        assert askable(token) is not None
    for token in ("a", "a b~", "a" * 8192):
        assert askable(token) is None


def test_details_tell_no_secret() -> None:
    for members in ({"active": False, "sub": "s3cret"}, {"active": True, "sub": "s3cret\n"}, b'{"s3cret":'):
        outcome = read(members)
        assert isinstance(outcome, TokenProblem)
        assert "s3cret" not in outcome.detail


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists)
_MEMBERS = st.dictionaries(
    st.sampled_from(["active", "sub", "iss", "sid", "jti", "exp", "iat", "nbf", "aud", "x"]), _JSON
)


@given(_MEMBERS | st.binary(max_size=60))
def test_nothing_but_an_active_answer_with_a_subject_is_an_identity(members: dict[str, Any] | bytes) -> None:
    outcome = read(members)
    if isinstance(outcome, Identity):
        assert isinstance(members, dict)
        assert members["active"] is True
        assert outcome.subject == members["sub"]
        assert outcome.subject.isprintable()
    else:
        assert outcome.reason in (
            CloseReason.CREDENTIAL_INVALID, CloseReason.CREDENTIAL_EXPIRED, CloseReason.IDENTITY_UNAVAILABLE
        )  # fmt: skip
