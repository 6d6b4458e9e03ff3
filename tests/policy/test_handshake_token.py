"""Tokens of a page: sealed, opened again, and worth nothing to anybody else."""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.policy.minting import provider
from wsguard.policy.case import Case, Passed
from wsguard.policy.checks import check_handshake_token, check_token_binding
from wsguard.policy.credentials import Credential, CredentialConflict, Kind, read_credentials
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.forward_auth import Approval, question_for
from wsguard.policy.handshake_token import (
    NONCE,
    PARAM,
    PREFIX,
    TokenContent,
    TokenKeys,
    issue,
    read_token,
    shown,
)
from wsguard.policy.model import (
    ForwardAuth,
    HandshakeToken,
    Jwt,
    Metadata,
    OriginSpec,
    PolicySpec,
    SubjectFrom,
    WebSocketPolicy,
)
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import TOKEN, Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity

NOW = 1_800_000_000.0
KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
KEYS = TokenKeys(KEY)
CONTENT = TokenContent(NOW, NOW + 60, b"p" * 32, b"o" * 32, b"c" * 32, b"a" * 32)
SEALED = KEYS.seal(CONTENT, bytes(NONCE))
PAGE = b"https://app.example"
JWT = Jwt(
    providers=(
        provider("HS256", extract_from={"cookies": [{"name": "session"}], "headers": [{"name": "authorization"}]}),
    )
)


def policy(name: str = "chat", *, required: bool = False, max_age: float = 60.0, **spec: Any) -> WebSocketPolicy:
    origin = OriginSpec(handshake_token=HandshakeToken(required=required, secret_file="keys", max_age=max_age))
    fields = {"origin": origin, "jwt": JWT, **spec}
    return WebSocketPolicy(metadata=Metadata(name=name), spec=PolicySpec(**fields))


def handshake(
    *fields: tuple[bytes, bytes], target: str = "/ws", origin: bytes | None = PAGE, offers: tuple[str, ...] = ()
) -> Handshake:
    return Handshake(RequestHead("GET", target, (1, 1), Headers(fields)), "/ws", b"", origin, offers, None)


def case(speaks: WebSocketPolicy, sent: Handshake, now: float = NOW, **fields: Any) -> Case:
    """A handshake with all that is gathered of it, but for facts, which are nothing to tokens."""
    effective = Effective(None, None, Authority("app.example"), trusted_peer=False)
    made = Case(sent, effective, speaks, PolicySet((speaks,)), now, DenyList())
    found = read_credentials(sent, speaks)
    if speaks.spec.forward_auth is not None:
        question = question_for(speaks, sent, effective, frozenset())
        assert not isinstance(question, Refuse)
        made.question = question
    return replace(made, credentials=found, **fields)


COOKIE = (b"Cookie", b"session=mine; theme=dark")


def fetched(speaks: WebSocketPolicy | None = None, *fields: tuple[bytes, bytes], **known: Any) -> TokenContent:
    """A token that a page of ours was given."""
    speaks = speaks or policy()
    return issue(case(speaks, handshake(*(fields or (COOKIE,))), **known), speaks, max_age=60.0)


def verdict(judged: Case) -> str | None:
    """What the two checks have against it."""
    for check in (check_handshake_token, check_token_binding):
        said = check(judged)
        if isinstance(said, Refuse):
            assert said.reason is CloseReason.HANDSHAKE_TOKEN_INVALID
            return said.detail
        assert isinstance(said, Passed)
    return None


# Sealing and opening.


def test_what_is_sealed_is_opened() -> None:
    assert KEYS.open(SEALED) == CONTENT
    assert SEALED not in repr(CONTENT)


def test_the_text_can_stand_in_a_query_and_in_a_subprotocol() -> None:
    text = KEYS.seal(CONTENT, os.urandom(NONCE))
    assert TOKEN.fullmatch((PREFIX + text).encode())
    assert not set(text) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(text) < 256


def test_the_first_key_seals_and_all_open() -> None:
    both = TokenKeys(OTHER, KEY)
    assert both.open(SEALED) == CONTENT
    fresh = both.seal(CONTENT, bytes(NONCE))
    assert TokenKeys(OTHER).open(fresh) == CONTENT
    assert KEYS.open(fresh) is None


@given(st.text() | st.text(alphabet=SEALED, min_size=len(SEALED), max_size=len(SEALED)))
@example("")
@example(SEALED + "=")
@example(SEALED + "\n")
def test_any_text_gets_an_answer(text: str) -> None:
    assert KEYS.open(text) is None or text == SEALED


@given(st.integers(0, len(SEALED) * 6 - 1))
def test_no_bit_of_it_may_change(at: int) -> None:
    """In the text as in the bytes that it spells."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place, bit = divmod(at, 6)
    changed = alphabet[alphabet.index(SEALED[place]) ^ (1 << bit)]
    assert KEYS.open(SEALED[:place] + changed + SEALED[place + 1 :]) is None


# Key files.


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(KEY), base64.b64encode(KEY) + b"\n", base64.urlsafe_b64encode(KEY).rstrip(b"="),
        b"\n" + base64.b64encode(OTHER) + b"\r\n\r\n  " + base64.b64encode(KEY) + b"\n",
    ],
)  # fmt: skip
def test_keys_are_base64_a_line(text: bytes) -> None:
    assert TokenKeys.parse(text).open(SEALED) == CONTENT


RANDOM = base64.b64encode(hashlib.sha256(b"as good as random").digest())  # the same in every worker


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it has no key"),
        (b"\n \n", "it has no key"),
        (b"not a key", "line 1 is not base64"),
        (b"\xff" * 43, "line 1 is not base64"),
        (RANDOM + b"\n" + base64.b64encode(KEY[:31]), "line 2 has 31 bytes, not 32"),
        (RANDOM + b"\n\n" + base64.b64encode(bytes(32)), "line 3 is not random"),
        (b"\n".join([RANDOM] * 11), "it has more than 10 keys"),
    ],
)
def test_what_is_no_key_file_is_told_by_its_line_and_not_quoted(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        TokenKeys.parse(text)


@given(st.binary())
def test_any_file_is_read_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        TokenKeys.parse(data)


# Where a token stands.


@pytest.mark.parametrize("target", [f"/ws?{PARAM}={SEALED}", f"/ws?a=b&%77sguard_token={SEALED}&c", "/ws?a"])
@pytest.mark.parametrize("offers", [(), ("chat",), ("chat", PREFIX + SEALED), (PREFIX.upper() + SEALED,)])
def test_it_is_read_from_either_place(target: str, offers: tuple[str, ...]) -> None:
    sent = handshake(target=target, offers=offers)
    is_there = SEALED in target or any(SEALED in offer for offer in offers)
    assert read_token(sent, policy(), {"keys": KEYS}) == (CONTENT if is_there else None)
    assert all(credential.token == SEALED and not credential.forward for credential in shown(sent))
    assert SEALED not in repr(shown(sent))


@pytest.mark.parametrize(
    ("target", "offers"),
    [
        (f"/ws?{PARAM}={SEALED}&{PARAM}={SEALED}", ()),
        (f"/ws?{PARAM}={SEALED}&WSGUARD.TOKEN={SEALED}", ()),
        (f"/ws?{PARAM}={SEALED}", (f"{PREFIX}x",)),
        ("/ws", (PREFIX + SEALED, PREFIX.upper() + SEALED)),
        (f"/ws?{PARAM}=", ()),
        (f"/ws?{PARAM}", ()),
        ("/ws", (PREFIX,)),
        (f"/ws?{PARAM}={SEALED[:-1]}", ()),
        (f"/ws?{PARAM}={'A' * 100_000}", ()),
    ],
)
def test_two_of_them_and_a_bad_one_are_refused(target: str, offers: tuple[str, ...]) -> None:
    refusal = read_token(handshake(target=target, offers=offers), policy(), {"keys": KEYS})
    assert isinstance(refusal, Refuse)
    assert refusal.reason is CloseReason.HANDSHAKE_TOKEN_INVALID
    assert SEALED not in refusal.detail


def test_where_no_policy_looks_for_one_nobody_reads_it_but_it_is_known() -> None:
    sent = handshake(target=f"/ws?{PARAM}=x")
    assert read_token(sent, None, {}) is None
    assert read_token(sent, WebSocketPolicy(metadata=Metadata(name="x"), spec=PolicySpec()), {}) is None
    assert len(shown(sent)) == 1


# What it is bound to.


def test_it_is_good_for_the_page_and_the_login_that_it_was_given_for() -> None:
    assert verdict(case(policy(), handshake(COOKIE), handshake_token=fetched())) is None
    other_jar = (b"Cookie", b"_ga=1; session=mine")
    assert verdict(case(policy(), handshake(other_jar), NOW + 60, handshake_token=fetched())) is None


def test_who_shows_none_is_refused_where_it_is_required() -> None:
    assert verdict(case(policy(), handshake(COOKIE))) is None
    assert verdict(case(policy(required=True), handshake(COOKIE))) == "there is none, and it is required"


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        (case(policy("other"), handshake(COOKIE)), "it was given for another policy"),
        (case(policy(), handshake(COOKIE, origin=b"https://evil.example")), "it was given to another Origin"),
        (case(policy(), handshake(COOKIE, origin=None)), "it was given to another Origin"),
        (case(policy(), handshake(COOKIE), NOW + 60.1), "it has expired"),
        (case(policy(max_age=5.0), handshake(COOKIE), NOW + 6), "it has expired"),
        (case(policy(), handshake(COOKIE), NOW - 31), "it is from the future: the clocks of the replicas differ"),
        (case(policy(), handshake((b"Cookie", b"session=yours"))), "it was given for other credentials"),
        (case(policy(), handshake()), "it was given for other credentials"),
        (case(policy(), handshake(COOKIE, (b"Authorization", b"x"))), "it was given for other credentials"),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_to_anybody_else_it_is_worse_than_none(judged: Case, why: str, required: bool) -> None:
    """Also where none is required."""
    assert judged.policy is not None
    origin = judged.policy.spec.origin
    assert origin.handshake_token is not None
    stricter = origin.handshake_token.model_copy(update={"required": required})
    spec = judged.policy.spec.model_copy(update={"origin": origin.model_copy(update={"handshake_token": stricter})})
    speaks = judged.policy.model_copy(update={"spec": spec})
    assert verdict(replace(judged, policy=speaks, handshake_token=fetched())) == why


def test_credentials_that_contradict_each_other_are_others() -> None:
    judged = case(policy(), handshake(COOKIE), handshake_token=fetched())
    judged.credentials = CredentialConflict("two")
    assert verdict(judged) is not None


def test_a_credential_is_bound_with_its_place() -> None:
    """Else one could be moved to where another reader would take it for something else."""
    cookie = Credential(Kind.COOKIE, "a", ("corp",), True, "x")
    header = Credential(Kind.HEADER, "a", ("corp",), True, "x")
    one = issue(replace(case(policy(), handshake()), credentials=(cookie,)), policy(), 60.0)
    assert verdict(replace(case(policy(), handshake()), credentials=(header,), handshake_token=one)) is not None


# Where another service is asked.


def asked(*, names: bool) -> WebSocketPolicy:
    subject = SubjectFrom(json_path="user.id") if names else None
    service = ForwardAuth(url="http://127.0.0.1:3000/me", headers_to_ext_auth=("cookie",), subject_from=subject)
    return policy(jwt=None, forward_auth=service)


def yes(subject: str | None) -> Approval:
    return Approval(None if subject is None else Identity("forwardAuth", "http://app", subject, "forwardAuth"))


def test_whom_the_service_names_is_who_it_is_bound_to() -> None:
    """The cookie jar may change meanwhile, and a session cookie may rotate."""
    token = fetched(asked(names=True), approval=yes("ann"))
    jar = (b"Cookie", b"sid=another; _ga=2")
    assert verdict(case(asked(names=True), handshake(jar), approval=yes("ann"), handshake_token=token)) is None
    refused = case(asked(names=True), handshake(jar), approval=yes("bob"), handshake_token=token)
    assert verdict(refused) == "it was given for somebody else, by another service's word"


def test_where_it_names_nobody_what_it_is_sent_must_be_the_same() -> None:
    token = fetched(asked(names=False), approval=yes(None))
    same = case(asked(names=False), handshake(COOKIE), approval=yes(None), handshake_token=token)
    assert verdict(same) is None
    moved = replace(same, effective=replace(same.effective, scheme="https"))
    assert verdict(moved) is None
    other = case(asked(names=False), handshake((b"Cookie", b"session=x")), approval=yes(None), handshake_token=token)
    assert verdict(other) is not None


@pytest.mark.parametrize(
    ("approval", "is_refused"),
    [
        (Refuse(CloseReason.CREDENTIAL_MISSING, "x"), True),
        (Refuse(CloseReason.NOT_AUTHORIZED, "x"), True),
        (Refuse(CloseReason.IDENTITY_UNAVAILABLE, "x"), False),
        (None, False),
    ],
)
def test_a_no_tells_a_page_with_a_foreign_token_nothing_and_silence_stays_silence(
    approval: Refuse | None, is_refused: bool
) -> None:
    """Whether its visitor is logged in is what it would learn."""
    token = fetched(asked(names=True), approval=yes("ann"))
    judged = case(asked(names=True), handshake(), approval=approval, handshake_token=token)
    assert (verdict(judged) is not None) is is_refused
