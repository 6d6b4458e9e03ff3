"""The credential in a first message: when it is awaited, and which token is read from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.cases import case as make_case
from tests.policy.minting import provider
from wsguard.policy.credentials import Credential, CredentialConflict, Kind, erase, read_credentials, readers
from wsguard.policy.decision import Refuse
from wsguard.policy.first_message import awaited, first_message_of, is_forwarded, read_first_message
from wsguard.policy.model import (
    Enforcement,
    ExtractFrom,
    FirstMessage,
    Jwt,
    Limits,
    Metadata,
    PolicySpec,
    SubprotocolSource,
    WebSocketPolicy,
)
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason

TOKEN = "aaa.bbb.ccc"
BEARER = SubprotocolSource(prefix="bearer.")


def message(path: str = "token", forward: bool = False) -> FirstMessage:
    return FirstMessage(json_path=path, forward=forward)


def policy(*messages: FirstMessage | None, **spec: Any) -> WebSocketPolicy:
    """One provider for each of `messages`; None: one that looks for a subprotocol."""
    providers = tuple(
        provider(
            "HS256",
            name=f"p{number}",
            extract_from=ExtractFrom(subprotocols=(BEARER,)) if each is None else ExtractFrom(first_message=each),
        )
        for number, each in enumerate(messages, 1)
    )
    jwt = Jwt(providers=providers) if providers else None
    return WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec(**{"jwt": jwt, **spec}))


def read(which: WebSocketPolicy, said: object) -> tuple[Credential, ...]:
    found = read_first_message(which, json.dumps(said).encode())
    assert isinstance(found, tuple), found
    return found


def refusal(which: WebSocketPolicy, said: bytes | None) -> tuple[CloseReason, str]:
    found = read_first_message(which, said)
    assert isinstance(found, Refuse), found
    assert TOKEN not in found.detail
    return found.reason, found.detail


# When it is awaited.


def shake(*offered: str) -> Handshake:
    return Handshake(RequestHead("GET", "/ws", (1, 1), Headers()), "/ws", b"", None, offered, None)


AUDIT = Enforcement.AUDIT
CHAT = Limits(subprotocols=("chat",))
COOKIE = Credential(Kind.COOKIE, "session", ("p1",), True, TOKEN)


@pytest.mark.parametrize(
    ("speaks", "offered", "credentials", "expected"),
    [
        (None, (), (), False),
        (policy(), (), (), False),
        (policy(None), (), (), False),
        (policy(message()), (), (), True),
        (policy(None, message()), (), (), True),
        (policy(None, message()), (), (COOKIE,), False),
        (policy(message()), (), CredentialConflict("two"), False),
        (policy(message()), ("other",), (), True),
        (policy(message(), enforcement=AUDIT), (), (), True),
        (policy(message(), enforcement=AUDIT), ("other",), (), False),
        (policy(message(), enforcement=AUDIT, limits=CHAT), ("other",), (), False),
        (policy(message(), enforcement=AUDIT, limits=CHAT), ("chat",), (), True),
    ],
)
def test_it_is_awaited_where_no_other_credential_came(
    speaks: WebSocketPolicy | None,
    offered: tuple[str, ...],
    credentials: tuple[Credential, ...] | CredentialConflict,
    expected: bool,
) -> None:
    """And, of a policy that only audits, where the client will put up with it."""
    judged = make_case(speaks=speaks, handshake=shake(*offered), credentials=credentials)
    assert (awaited(judged) is not None) is expected


def test_the_bounds_are_those_of_whoever_reads_it() -> None:
    bounds = FirstMessage(json_path="token", timeout=7.0, max_size=99)
    assert first_message_of(policy(None, bounds)) == bounds
    assert first_message_of(policy(None)) is None


# What is read from it.


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("token", {"token": TOKEN}),
        ("token", {"a": 1, "token": TOKEN, "z": [None, {}]}),
        ("payload.token", {"type": "connection_init", "payload": {"token": TOKEN}}),
        ("a.b.c", {"a": {"b": {"c": TOKEN}}}),
    ],
)
def test_a_token_is_read_where_the_policy_says(path: str, said: dict[str, Any]) -> None:
    (found,) = read(policy(message(path)), said)
    assert (found.kind, found.name, found.token) == (Kind.FIRST_MESSAGE, path, TOKEN)
    assert found.source == f"first-message:{path}"
    assert found.providers == ("p1",)
    assert TOKEN not in repr(found)


def test_providers_that_read_the_same_place_share_a_credential() -> None:
    """Hidden where any of them hides it; and of several places each is read."""
    which = policy(message("a", forward=True), message("a"), message("b.c", forward=True))
    found = read(which, {"a": TOKEN, "b": {"c": "other"}})
    assert [(each.name, each.providers, each.forward) for each in found] == [
        ("a", ("p1", "p2"), False),
        ("b.c", ("p3",), True),
    ]
    assert not is_forwarded(found)
    (only,) = read(which, {"b": {"c": "other"}})
    assert is_forwarded((only,))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"token": None},
        {"token": ""},
        {"Token": TOKEN},
        {"payload.token": TOKEN},
        {"payload": TOKEN},
        {"payload": []},
    ],
)
def test_nothing_is_missing(said: dict[str, Any]) -> None:
    """Names have their case, and a name with a dot in it is no path: a reader behind the guard sees it otherwise."""
    path = "token" if "token" in said else "payload.token"
    reason, detail = refusal(policy(message(path)), json.dumps(said).encode())
    assert (reason, detail) == (CloseReason.CREDENTIAL_MISSING, f"the first message has nothing at {path}")


@pytest.mark.parametrize("value", [7, 1.5, True, False, [TOKEN], {"token": TOKEN}])
def test_what_is_no_string_is_no_token(value: object) -> None:
    reason, detail = refusal(policy(message()), json.dumps({"token": value}).encode())
    assert (reason, detail) == (CloseReason.CREDENTIAL_INVALID, "the first message: token is not a string")


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"",
        b"token",
        b'"token"',
        b"[]",
        b"null",
        b'{"token": "a", "token": "b"}',
        b'{"token": "\\ud800"}',
        b'{"token": "\xff"}',
        b'\xef\xbb\xbf{"token": "a"}',
        b'{"token": "a"} {"token": "b"}',
        b'{"token": NaN}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(said: bytes | None) -> None:
    reason, _ = refusal(policy(message()), said)
    assert reason is CloseReason.CREDENTIAL_INVALID


@given(
    st.binary(max_size=100) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_whatever_is_said_is_an_answer(said: bytes) -> None:
    assert read_first_message(policy(message("a.b"), message("c")), said)


# Where handshakes are read, it is no place.


def test_a_handshake_has_no_first_message() -> None:
    which = policy(message(), None)
    assert read_credentials(shake(), which) == ()
    (found,) = read(which, {"token": TOKEN})
    head = RequestHead("GET", "/ws?token=x", (1, 1), Headers(((b"token", b"x"),)))
    assert erase(head, (found,)) == head
    assert [each.name for each in readers(which, found)] == ["p1"]
    assert readers(policy(message("other")), found) == ()
