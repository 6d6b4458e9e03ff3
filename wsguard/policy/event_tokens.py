"""Tokens in which an identity provider tells that a session has ended: what they must be, and what they mean.

OpenID Connect Back-Channel Logout 1.0 (logout tokens) and RFC 8417 with OpenID's Shared Signals and CAEP (security
event tokens). Both are signed by the issuer of the sessions themselves and mean sessions of that issuer only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsguard.policy import members
from wsguard.policy.keys import KeySet
from wsguard.policy.members import BadMember
from wsguard.policy.model import JwtProvider
from wsguard.policy.tokens import TokenProblem, UnverifiedToken, check_event
from wsguard.sessions.events import next_second
from wsguard.sessions.logout import Logout

MAX_AGE = 600.0
"""Seconds since `iat` for which a logout token is believed: so long its `jti` is remembered."""

CLOCK_SKEW = 60.0
"""Seconds by which the issuer's clock may be ahead."""

BACKCHANNEL_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


@dataclass(frozen=True, slots=True)
class Told:
    """What a good token says: `logouts` may be empty, where it tells of something else."""

    token_id: str
    logouts: tuple[Logout, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BadToken:
    """Why a token is refused, in a sentence that quotes neither subject nor session.

    `code` is RFC 8935's (§2.4); `unknown_key`: a key fetched anew might change the answer.
    """

    code: str
    detail: str
    unknown_key: bool = False


class _Refused(Exception):
    """Ends a check inside this module."""


def read_logout_token(token: UnverifiedToken, provider: JwtProvider, keys: KeySet, now: float) -> Told | BadToken:
    """A logout token (Back-Channel Logout 1.0 §2.4, §2.6). `now` is in seconds since the epoch."""
    return _problem(token, provider, keys) or _read(_logout, token, provider, now)


def read_security_event(token: UnverifiedToken, provider: JwtProvider, keys: KeySet, now: float) -> Told | BadToken:
    """A security event token (RFC 8417 §2.2, CAEP 1.0 §3.1). Events of types that are not known mean nothing."""
    return _problem(token, provider, keys) or _read(_security_event, token, provider, now)


def _problem(token: UnverifiedToken, provider: JwtProvider, keys: KeySet) -> BadToken | None:
    problem = check_event(token, provider, keys)
    return None if problem is None else BadToken(_code(problem), problem.detail, problem.unknown_key)


def _code(problem: TokenProblem) -> str:
    if problem.detail.startswith("aud "):
        return "invalid_audience"
    return "invalid_issuer" if problem.detail.startswith("iss ") else "invalid_key"


def _read(reader: Any, token: UnverifiedToken, provider: JwtProvider, now: float) -> Told | BadToken:
    try:
        told: Told = reader(token, provider, now)
    except (_Refused, BadMember) as refused:
        return BadToken("invalid_request", str(refused))
    return told


def _logout(token: UnverifiedToken, provider: JwtProvider, now: float) -> Told:
    claims, issuer = token.claims, provider.issuer
    if token.kind not in (None, "jwt", "logout+jwt"):
        raise _Refused("typ is not logout+jwt")
    if "nonce" in claims:  # §2.4: an ID token must not pass for a logout token
        raise _Refused("nonce is forbidden in a logout token")
    issued_at = _time(claims, "iat")
    if not now - MAX_AGE <= issued_at <= now + CLOCK_SKEW:
        raise _Refused("iat is not of the last ten minutes")
    if "exp" in claims and now >= _time(claims, "exp") + CLOCK_SKEW:
        raise _Refused("the token has expired")
    if not isinstance(_events(claims).get(BACKCHANNEL_LOGOUT), dict):
        raise _Refused(f"events has no object {BACKCHANNEL_LOGOUT}")
    token_id = _text(claims, "jti")
    if "sid" in claims:
        return Told(token_id, (Logout("sid", _text(claims, "sid"), issuer, 0.0),))
    if "sub" not in claims:
        raise _Refused("there is neither sub nor sid")
    # §2.7: without a sid every session of the subject, as it was when the provider said so.
    return Told(token_id, (Logout("subject", _text(claims, "sub"), issuer, next_second(issued_at)),))


def _security_event(token: UnverifiedToken, provider: JwtProvider, now: float) -> Told:
    claims = token.claims
    if token.kind != "secevent+jwt":  # RFC 8417 §2.3, and Shared Signals demands it
        raise _Refused("typ is not secevent+jwt")
    token_id, issued_at = _text(claims, "jti"), _time(claims, "iat")
    if issued_at > now + CLOCK_SKEW:
        raise _Refused("iat is in the future")
    event = _events(claims).get(SESSION_REVOKED)
    if event is None:
        return Told(token_id, ())
    if not isinstance(event, dict):
        raise _Refused(f"{SESSION_REVOKED} is not an object")
    happened_at = min(_time(event, "event_timestamp"), issued_at) if "event_timestamp" in event else issued_at
    subject = claims.get("sub_id")
    if not isinstance(subject, dict):
        raise _Refused("there is no top-level sub_id")
    return Told(token_id, (_revoked(subject, provider, next_second(happened_at)),))


def _revoked(subject: Mapping[str, Any], provider: JwtProvider, issued_before: float) -> Logout:
    """The session, or else the user, that a subject identifier names (RFC 9493, Shared Signals 1.0 §3)."""
    if subject.get("format") == "complex":
        session, user = subject.get("session"), subject.get("user")
        inner = session if session is not None else user
        if not isinstance(inner, dict):
            raise _Refused("sub_id has neither a session nor a user")
        subject = inner
    match subject.get("format"):
        case "opaque":
            return Logout("sid", _text(subject, "id"), provider.issuer, 0.0)
        case "iss_sub":
            if _text(subject, "iss") != provider.issuer:
                raise _Refused("sub_id is of another issuer than the token")
            return Logout("subject", _text(subject, "sub"), provider.issuer, issued_before)
    raise _Refused("sub_id is neither iss_sub, nor opaque, nor complex of these")


def _events(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    events = claims.get("events")
    if not isinstance(events, dict) or not events:
        raise _Refused("events is not an object with an event in it")
    return events


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = members.text(claims, name)
    if value is None:
        raise _Refused(f"there is no {name}")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = members.time(claims, name)
    if value is None:
        raise _Refused(f"there is no {name}")
    return value
