"""Logout tokens and security event tokens, from anybody: truly signed claims of any kind, and any other text.

The first byte chooses: even, the rest is a token as it came; odd, the rest is claims that the provider has signed. The
shared secret here stands for the public keys that are asked for outside: it is quick, and claims are read alike.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jwt
from jwt.types import Options

from tests.policy.minting import ISSUER, NOW, SECRET, forge
from wsguard.policy.event_tokens import (
    BACKCHANNEL_LOGOUT,
    SESSION_REVOKED,
    BadToken,
    Told,
    read_logout_token,
    read_security_event,
)
from wsguard.policy.keys import KeySet
from wsguard.policy.model import JwtProvider
from wsguard.policy.tokens import TokenProblem, peek_event

_KEYS = KeySet.from_secret(SECRET)
_PROVIDER = JwtProvider(
    name="idp", issuer=ISSUER, audiences=("web",), algorithms=("HS256",), local_secret_file="secret"
)
_COMMON = {"iss": ISSUER, "aud": "web", "iat": NOW - 1, "jti": "t1"}
_LOGOUT = {**_COMMON, "exp": NOW + 120, "events": {BACKCHANNEL_LOGOUT: {}}, "sid": "the-session", "sub": "the-subject"}
_REVOKED = {
    **_COMMON,
    "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "the-subject"},
    "events": {SESSION_REVOKED: {"event_timestamp": NOW - 10}},
}
_COMPLEX = {
    **_REVOKED,
    "sub_id": {"format": "complex", "session": {"format": "opaque", "id": "the-session"}, "user": _REVOKED["sub_id"]},
}
_ONLY_SIGNED = Options(verify_exp=False, verify_iat=False, verify_nbf=False, verify_aud=False)

SEEDS = [
    *(b"\x01" + json.dumps(claims).encode() for claims in (_LOGOUT, _REVOKED, _COMPLEX)),
    b"\x00" + forge(_LOGOUT, {"alg": "HS256", "typ": "logout+jwt"}).encode(),
    b"\x00" + forge(_LOGOUT, {"alg": "none"}).encode(),
    b"\x00a.b.c",
    b"\x01" + b"[" * 400,
    b'\x01{"iss": "https://idp.example.test", "aud": "' + b"\x7f" * 100 + b'"}',
    b'\x01{"iss": "https://idp.example.test", "iat": 1e400, "jti": {}, "events": []}',
]


def check(data: bytes) -> None:
    """Each reader gives a verdict; it believes nothing that is not the provider's, and quotes nobody."""
    is_signed, rest = bool(data[:1] and data[0] & 1), data[1:]
    for typ, read in (("logout+jwt", read_logout_token), ("secevent+jwt", read_security_event)):
        header = {"alg": "HS256", "typ": typ}
        text = forge(rest, header) if is_signed else rest.decode("utf-8", "surrogateescape")
        token = peek_event(text)
        if isinstance(token, TokenProblem):
            _quotes_nobody(token.detail, rest)
            continue
        outcome = read(token, _PROVIDER, _KEYS, NOW)
        if isinstance(outcome, BadToken):
            _quotes_nobody(outcome.detail, rest)
        else:
            _is_the_providers(text, outcome)


def _quotes_nobody(detail: str, claims: bytes) -> None:
    assert len(detail) < 300, detail
    with suppress(ValueError, RecursionError):
        read = json.loads(claims)
        if isinstance(read, dict):
            shown = json.dumps([ISSUER, *(read.get(name) for name in ("iss", "aud", "typ", "alg"))])  # it is expected
            for name in ("sub", "sid"):
                value = read.get(name)
                assert not isinstance(value, str) or len(value) < 8 or value not in detail or value in shown, detail


def _is_the_providers(text: str, told: Told) -> None:
    claims: dict[str, Any] = {}
    with suppress(jwt.PyJWTError):
        claims = jwt.decode(text, SECRET, ["HS256"], options=_ONLY_SIGNED)
    assert claims.get("iss") == ISSUER, claims
    for logout in told.logouts:
        assert logout.issuer == ISSUER, "an event ends sessions of its own issuer only"
        assert logout.word
        assert logout.issued_before <= NOW + 61
