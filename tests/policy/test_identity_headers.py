from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.minting import provider
from wsguard.policy.identity_headers import identity_headers, strip, strip_names
from wsguard.policy.model import Jwt, PolicySpec
from wsguard.protocol.http import Headers
from wsguard.sessions.identity import Identity


def fields(claims: dict[str, Any], *wanted: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    """The header fields for claims, `wanted` as pairs of claim and header."""
    by = provider("HS256", claim_to_headers=[{"claim": claim, "header": header} for claim, header in wanted])
    who = Identity("corp", "https://idp.example.test", "ann", "cookie:session", claims=claims)
    return list(identity_headers(by, who))


def value(claim: Any) -> bytes | None:
    """How `claim` is told; None where it is not."""
    found = fields({"c": claim}, ("c", "X-C"))
    return found[0][1] if found else None


def test_claims_are_told_in_the_order_and_spelling_of_the_policy() -> None:
    claims = {"sub": "ann", "realm": {"roles": ["a", "b"]}, "age": 7}
    wanted = [("sub", "X-Wsguard-Subject"), ("realm.roles", "x-roles"), ("gone", "X-Gone"), ("age", "X-Age")]
    assert fields(claims, *wanted) == [(b"X-Wsguard-Subject", b"ann"), (b"x-roles", b"a,b"), (b"X-Age", b"7")]


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("ann@example.test", b"ann@example.test"),
        ("a b", b"a b"),
        ("auth0|5f7c8ec7", b"auth0|5f7c8ec7"),
        ("a,b", b"a,b"),
        (["a,b", "c"], b"a%2Cb,c"),
        ([1, True, "x"], b"1,true,x"),
        (False, b"false"),
        (1.5, b"1.5"),
        ("", b""),
        ([""], b""),
        ("Zoë", b"Zo%C3%AB"),
        ("Zo%C3%AB", b"Zo%25C3%25AB"),
        ("a\r\nX-Admin: 1", b"a%0D%0AX-Admin: 1"),
        ("\0\x7f\x85", b"%00%7F%C2%85"),
        (" a ", b"%20a%20"),
        ("   ", b"%20%20%20"),
        ("\ta", b"%09a"),
        (None, None),
        ({}, None),
        ({"a": 1}, None),
        ([], None),
        (["a", None], None),
        (["a", ["b"]], None),
    ],
)
def test_how_a_claim_is_told(claim: object, told: bytes | None) -> None:
    assert value(claim) == told


@given(st.text())
def test_no_text_ends_the_line_and_any_can_be_had_back(text: str) -> None:
    told = value(text)
    assert told is not None
    assert all(0x20 <= byte < 0x7F for byte in told)
    assert told == told.strip(b" ")
    assert unquote(told.decode("ascii")) == text


@given(st.text(), st.text())
def test_two_texts_are_never_told_alike(one: str, other: str) -> None:
    assert (value(one) == value(other)) is (one == other)


@given(st.lists(st.text(), min_size=1))
def test_a_list_can_be_had_back(items: list[str]) -> None:
    told = value(items)
    assert told is not None
    assert [unquote(item) for item in told.decode("ascii").split(",")] == items


def test_many_spaces_take_no_long_time() -> None:
    assert value(" " * 8000 + "x") == b"%20" * 8000 + b"x"
    assert value("x" + (" " * 4000 + "y") * 2) is not None


# What a client may not say.


def spec(*wanted: dict[str, str]) -> PolicySpec:
    """A policy's spec with these `claimToHeaders`."""
    return PolicySpec(jwt=Jwt(providers=(provider("HS256", claim_to_headers=wanted),)))


NAMES = strip_names(
    [
        spec({"claim": "sub", "header": "X-User"}),
        spec({"claim": "a", "header": "Remote_User"}, {"claim": "b", "header": "Tier"}),
    ]
)


@pytest.mark.parametrize(
    "name",
    [
        b"X-Wsguard-Subject", b"x-wsguard-", b"X_WSGUARD_ANYTHING", b"x-wsguard_sid", b"X_Wsguard-Sid",
        b"X-User", b"x-user", b"X_USER", b"x_User", b"Remote-User", b"REMOTE_USER", b"remote-user", b"tier",
    ],
)  # fmt: skip
def test_what_only_the_guard_may_say_is_removed(name: bytes) -> None:
    before = Headers(((b"Host", b"a"), (name, b"root"), (b"X-Other", b"b"), (name, b"root")))
    assert strip(before, NAMES).raw == ((b"Host", b"a"), (b"X-Other", b"b"))


@pytest.mark.parametrize("name", [b"X-Users", b"X-Wsguar", b"My-X-Wsguard-Subject", b"XUser", b"Tiers", b"X--User"])
def test_what_merely_resembles_it_stays(name: bytes) -> None:
    before = Headers(((name, b"v"),))
    assert strip(before, NAMES) is before


def test_without_claims_to_tell_the_guards_own_names_are_still_removed() -> None:
    assert strip_names([spec(), PolicySpec()]) == frozenset()
    assert strip(Headers(((b"X-Wsguard-Subject", b"root"),)), frozenset()) == Headers()
