"""What a server says of an opaque token (RFC 7662 §2.2), read once and believed only whole.

An answer that is not what the RFC describes leaves open whom the token speaks for: that is `identity-unavailable`,
which admits nobody. Details quote names of members and the issuer; never the token, its subject or its session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsguard.policy import members
from wsguard.policy.members import BadMember
from wsguard.policy.tokens import MAX_TOKEN, TokenProblem, still_valid
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.policy.model import IntrospectionProvider

MAX_ANSWER = 64 * 1024
"""Bytes of an answer."""


def askable(token: str) -> TokenProblem | None:
    """Why nobody is asked about `token`: it is none (RFC 6749 A.12: printable ASCII), or too long."""
    if not token or not token.isascii() or not token.isprintable():
        return _bad("the token has characters that no access token has")
    if len(token) > MAX_TOKEN:
        return _bad(f"the token has more than {MAX_TOKEN} characters")
    return None


def read_answer(
    document: bytes, provider: IntrospectionProvider, now: float, clock_skew: float, *, source: str = ""
) -> Identity | TokenProblem:
    """Whom the token speaks for, as `provider` has it. `now` is seconds since the epoch, `clock_skew` seconds."""
    try:
        answer = parse_object(document)
        if not isinstance(answer.get("active"), bool):
            raise BadMember("active is not true or false")
        return _identity(answer, provider, now, clock_skew, source) if answer["active"] else _bad("it is not active")
    except ValueError as error:
        return TokenProblem(CloseReason.IDENTITY_UNAVAILABLE, f"the answer of provider {provider.name}: {error}")


def accept_again(identity: Identity, provider: IntrospectionProvider) -> Identity | TokenProblem:
    """Whom the answer behind `identity` speaks for as `provider` has it; nobody is asked, nor are times."""
    return _named(identity.claims, provider, identity.source)


def _identity(
    answer: Mapping[str, Any], provider: IntrospectionProvider, now: float, clock_skew: float, source: str
) -> Identity | TokenProblem:
    identity = _named(answer, provider, source)
    members.time(answer, "nbf")
    if isinstance(identity, TokenProblem) or still_valid(identity, now, clock_skew):
        return identity
    if identity.expires_at is not None and now >= identity.expires_at + clock_skew:
        return TokenProblem(CloseReason.CREDENTIAL_EXPIRED, "the token has expired")
    return _bad("the token is not valid yet")


def _named(answer: Mapping[str, Any], provider: IntrospectionProvider, source: str) -> Identity | TokenProblem:
    issuer, subject = members.text(answer, "iss"), members.text(answer, "sub")
    if provider.issuer is not None and issuer not in (None, provider.issuer):
        found, wanted = members.quoted(issuer or ""), members.quoted(provider.issuer)
        return _bad(f"iss is {found}, provider {provider.name} expects {wanted}")
    if provider.audiences and not set(provider.audiences).intersection(members.audiences(answer)):
        return _bad(f"aud names none of provider {provider.name}'s audiences")
    if subject is None:
        return _bad("the answer names no sub: nobody is who it speaks for")
    return Identity(
        provider=provider.name,
        issuer=provider.issuer or issuer or provider.name,
        subject=subject,
        source=source,
        sid=members.text(answer, "sid"),
        jti=members.text(answer, "jti"),
        issued_at=members.time(answer, "iat"),
        expires_at=members.time(answer, "exp"),
        claims=answer,
    )


def _bad(detail: str) -> TokenProblem:
    return TokenProblem(CloseReason.CREDENTIAL_INVALID, detail)
