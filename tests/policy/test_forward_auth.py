from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.parties import EFFECTIVE, approved, handshake, question
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import Answer, Approval, Question, question_for, read_answer
from wsguard.policy.model import Metadata, SubjectFrom
from wsguard.protocol.http import Headers
from wsguard.protocol.reasons import CloseReason

URL = "http://127.0.0.1:3000/me"
COOKIE = ("Cookie", "session=abc; theme=dark")


def answered(
    status: int = 200, body: Any = None, *fields: tuple[str, str], bare: bool = False, **spec: Any
) -> Approval | Refuse:
    document = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = Headers(tuple((name.encode(), value.encode("latin-1")) for name, value in fields))
    put = question(approved(URL, **{"subject_from": None, **spec}), *([] if bare else [COOKIE]))
    return read_answer(put, Answer(status, headers, document), asked_at=1000.0)


def approval(*args: Any, **spec: Any) -> Approval:
    outcome = answered(*args, **spec)
    assert isinstance(outcome, Approval), outcome
    return outcome


def refusal(*args: Any, **spec: Any) -> CloseReason:
    outcome = answered(*args, **spec)
    assert isinstance(outcome, Refuse), outcome
    return outcome.reason


# The question.


def test_sends_what_the_policy_lists_and_four_words_on_the_request() -> None:
    policy = approved(URL, headers_to_ext_auth=("cookie", "X-Tenant"))
    put = question(policy, COOKIE, ("x-tenant", "7"), ("Authorization", "Bearer s3cret"), ("X-Other", "no"))
    assert put.fields == (
        ("cookie", "session=abc; theme=dark"),
        ("x-tenant", "7"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "app.example.test"),
        ("X-Forwarded-Uri", "/ws"),
        ("X-Forwarded-For", "192.0.2.7"),
    )
    assert not put.is_bare
    assert "abc" not in repr(put)


def test_a_client_cannot_speak_for_the_guard() -> None:
    policy = approved(URL, headers_to_ext_auth=("cookie", "x-user", "x-wsguard-subject"))
    spoofed = (("X-Forwarded-For", "10.0.0.1"), ("X_User", "admin"), ("X-Wsguard-Subject", "admin"))
    put = question_for(policy, handshake(*spoofed), EFFECTIVE, frozenset([b"x-user"]))
    assert isinstance(put, Question)
    assert put.is_bare
    assert "admin" not in str(put.fields)
    assert ("X-Forwarded-For", "192.0.2.7") in put.fields


def test_a_field_in_two_spellings_with_different_values_is_refused() -> None:
    policy = approved(URL, headers_to_ext_auth=("x-token",))
    for fields in ((("X-Token", "a"), ("X-Token", "b")), (("X-Token", "a"), ("X_Token", "b"))):
        put = question_for(policy, handshake(*fields), EFFECTIVE, frozenset())
        assert isinstance(put, Refuse)
        assert put.reason is CloseReason.CREDENTIAL_INVALID
    assert question(policy, ("X-Token", "a"), ("x_token", "a")).fields[0] == ("x-token", "a")


def test_two_cookie_fields_go_as_they_came() -> None:
    put = question(approved(URL), ("Cookie", "a=1"), ("Cookie", "b=2"))
    assert put.fields[:2] == (("cookie", "a=1"), ("cookie", "b=2"))


def test_questions_are_equal_where_policy_fields_host_and_path_are() -> None:
    policy = approved(URL)
    digest = question(policy, COOKIE).digest
    assert question(policy, COOKIE, ("X-Other", "1"), target="/ws?q=2").digest == digest
    renamed = policy.model_copy(update={"metadata": Metadata(name="other")})
    for other in (
        question(policy, ("Cookie", "session=abd")),
        question(policy, COOKIE, target="/ws/other"),
        question(renamed, COOKIE),
    ):
        assert other.digest != digest


# The answer.


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299])
def test_2xx_is_yes(status: int) -> None:
    assert approval(status).identity is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (300, CloseReason.CREDENTIAL_INVALID), (302, CloseReason.CREDENTIAL_INVALID),
        (401, CloseReason.CREDENTIAL_INVALID), (400, CloseReason.NOT_AUTHORIZED), (403, CloseReason.NOT_AUTHORIZED),
        (404, CloseReason.NOT_AUTHORIZED), (499, CloseReason.NOT_AUTHORIZED),
        (408, CloseReason.IDENTITY_UNAVAILABLE), (429, CloseReason.IDENTITY_UNAVAILABLE),
        (500, CloseReason.IDENTITY_UNAVAILABLE), (503, CloseReason.IDENTITY_UNAVAILABLE),
        (101, CloseReason.IDENTITY_UNAVAILABLE), (600, CloseReason.IDENTITY_UNAVAILABLE),
    ],
)  # fmt: skip
def test_everything_else_is_no(status: int, reason: CloseReason) -> None:
    assert refusal(status, {"user": {"id": "ann"}}, subject_from=SubjectFrom(json_path="user.id")) is reason


def test_who_sends_nothing_lacks_a_credential() -> None:
    assert refusal(401, bare=True) is CloseReason.CREDENTIAL_MISSING
    assert refusal(302, bare=True) is CloseReason.CREDENTIAL_MISSING
    subject = SubjectFrom(json_path="user")
    assert refusal(200, {"user": None}, bare=True, subject_from=subject) is CloseReason.CREDENTIAL_MISSING


def test_the_answer_names_the_subject() -> None:
    who = approval(200, {"user": {"id": "ann"}}, subject_from=SubjectFrom(json_path="user.id")).identity
    assert who is not None
    assert (who.provider, who.issuer, who.subject, who.source) == (
        "forwardAuth", "http://127.0.0.1:3000", "ann", "forwardAuth",
    )  # fmt: skip
    assert (who.issued_at, who.expires_at) == (1000.0, None)
    number = approval(200, {"id": 42}, subject_from=SubjectFrom(json_path="id")).identity
    assert number is not None
    assert number.subject == "42"


@pytest.mark.parametrize("body", [{}, {"user": None}, {"user": {}}, {"user": {"id": None}}, {"user": {"id": ""}}])
def test_a_yes_that_names_nobody_is_a_no_where_a_subject_is_wanted(body: object) -> None:
    assert refusal(200, body, subject_from=SubjectFrom(json_path="user.id")) is CloseReason.CREDENTIAL_INVALID


@pytest.mark.parametrize(
    "body", [None, b"", b"{", b"[]", {"id": True}, {"id": 1.5}, {"id": []}, {"id": "a\n"}, {"id": "a" * 1025}]
)
def test_a_body_that_cannot_be_read_leaves_it_open(body: object) -> None:
    assert refusal(200, body, subject_from=SubjectFrom(json_path="id")) is CloseReason.IDENTITY_UNAVAILABLE


def test_copies_the_fields_that_the_backend_gets() -> None:
    fields = (("X-User", "Ann"), ("x-role", "a"), ("X-Role", "b"), ("Set-Cookie", "x=1"))
    told = approval(204, None, *fields, headers_to_backend=("x-user", "X-Role", "X-Absent")).backend_headers
    assert told == ((b"x-user", b"Ann"), (b"X-Role", b"a"), (b"X-Role", b"b"))
    assert refusal(200, None, ("X-User", "a\x00b"), headers_to_backend=("x-user",)) is CloseReason.IDENTITY_UNAVAILABLE
    flood = [("X-User", "a" * 8000)] * 9
    assert refusal(200, None, *flood, headers_to_backend=("x-user",)) is CloseReason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize(
    ("directives", "seconds"),
    [
        ("", 5.0), ("private", 5.0), ("no-store", 0.0), ("No-Cache", 0.0), ("private, no-store", 0.0),
        ("max-age=2", 2.0), ("max-age=60", 5.0), ("max-age=0", 0.0), ('max-age="2"', 2.0), ("max-age=soon", 0.0),
        ("max-age", 0.0), ("max-age=-1", 0.0), ("max-age=" + "9" * 5000, 5.0),
    ],
)  # fmt: skip
def test_the_service_may_want_a_yes_remembered_for_less(directives: str, seconds: float) -> None:
    assert approval(200, None, ("Cache-Control", directives)).lasts == seconds


def test_the_issuer_is_the_services_origin() -> None:
    spec = approved("https://Auth.Example.test:8443/v1/me?x=1").spec.forward_auth
    assert spec is not None
    assert spec.issuer == "https://auth.example.test:8443"


@given(st.integers(100, 700), st.none() | st.binary(max_size=60), st.binary(max_size=20))
def test_nothing_but_a_2xx_that_names_somebody_is_a_yes(status: int, body: bytes | None, value: bytes) -> None:
    policy = approved(URL, subject_from=SubjectFrom(json_path="id"), headers_to_backend=("x-user",))
    headers = Headers(((b"X-User", value), (b"Cache-Control", value)))
    outcome = read_answer(question(policy, COOKIE), Answer(status, headers, body), 0.0)
    if isinstance(outcome, Approval):
        assert 200 <= status < 300
        assert outcome.identity is not None
        assert outcome.identity.subject
        assert 0.0 <= outcome.lasts <= 5.0
        assert all(b"\n" not in told and b"\r" not in told for _, told in outcome.backend_headers)
    else:
        assert outcome.reason.advice.value


def test_no_value_reads_as_another_field() -> None:
    """Else whoever knows a cookie could make one that is taken for it and a field that was not sent."""
    policy = approved(URL, headers_to_ext_auth=("cookie", "x-tenant"))
    both = question(policy, ("Cookie", "a=b"), ("X-Tenant", "7"))
    assert both.digest != question(policy, ("Cookie", "a=bx-tenant7")).digest
    assert both.digest == question(policy, ("Cookie", "a=b"), ("x_tenant", "7")).digest
