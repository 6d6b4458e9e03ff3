"""A JSON Web Token is read once and believed only whole (RFC 7515, RFC 7519, RFC 8725).

Every way a token can be wrong is a `TokenProblem`, never an exception. Nothing in a token chooses how it is
verified: not the key (`jku`, `x5u`, `jwk` and `x5c` are never looked at), not the algorithm, not the checks.
Details may quote header parameters, the issuer and the audience; never the token, its subject or its session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wsguard.policy import members
from wsguard.policy.credentials import Credential
from wsguard.policy.keys import KeySet
from wsguard.protocol import base64url
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.policy.model import JwtProvider

MAX_TOKEN = 8 * 1024
"""Characters of a token."""

# Tokens that tell of an event and say nothing of who presents them (RFC 8417, OpenID Connect Back-Channel
# Logout 1.0): the same issuer signs them for the same audience, and they must open no door (RFC 8725 §3.11).
_EVENT_TYPES = frozenset({"secevent+jwt", "logout+jwt"})


@dataclass(frozen=True, slots=True)
class TokenProblem:
    """Why a credential is no good. `unknown_key`: a key fetched anew might change the answer."""

    reason: CloseReason
    detail: str
    unknown_key: bool = False


@dataclass(frozen=True, slots=True)
class TokenFact:
    """What became of one credential of a handshake."""

    credential: Credential
    outcome: Identity | TokenProblem


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A well-formed token that nobody has vouched for yet. `kind` is its `typ`, in short and lower case."""

    algorithm: str
    key_id: str | None
    kind: str | None
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def issuer(self) -> str | None:
        """The issuer that the token claims: good for choosing a provider, for nothing else."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) else None


class _Refused(Exception):
    """Ends a check inside this module; the public functions turn it into a TokenProblem."""

    def __init__(
        self, detail: str, reason: CloseReason = CloseReason.CREDENTIAL_INVALID, *, unknown_key: bool = False
    ) -> None:
        self.problem = TokenProblem(reason, detail, unknown_key)


def peek(token: str) -> UnverifiedToken | TokenProblem:
    """Take `token` apart without believing it (RFC 7515 §5.2 steps 1-7; no `crit` is understood)."""
    try:
        return _parse(token)
    except _Refused as refused:
        return refused.problem


def peek_event(token: str) -> UnverifiedToken | TokenProblem:
    """The same of a token that tells of an event (RFC 8417), which `peek` refuses."""
    try:
        return _parse(token, is_event=True)
    except _Refused as refused:
        return refused.problem


def check_event(token: UnverifiedToken, provider: JwtProvider, keys: KeySet) -> TokenProblem | None:
    """What is wrong with the signature, the issuer or the audience of an event token; None: nothing."""
    try:
        _check_signature(token, provider, keys)
        _check_issuer(token.claims, provider)
        _check_audience(token.claims, provider)
    except _Refused as refused:
        return refused.problem
    return None


def verify(
    token: str | UnverifiedToken,
    provider: JwtProvider,
    keys: KeySet,
    now: float,
    clock_skew: float,
    *,
    source: str = "",
) -> Identity | TokenProblem:
    """Whom `token` speaks for, as `provider` and its `keys` have it (RFC 7519 §7.2).

    `now` is in seconds since the epoch, `clock_skew` in seconds; `source` is where the token was found. A
    token whose only fault is its age is `credential-expired`, any other fault is `credential-invalid`.
    """
    try:
        unverified = _parse(token) if isinstance(token, str) else token
        _check_signature(unverified, provider, keys)
        identity = _identity(unverified.claims, provider, source)
        _check_audience(unverified.claims, provider)
        _check_times(unverified.claims, now, clock_skew)
    except _Refused as refused:
        return refused.problem
    return identity


def accept_again(identity: Identity, provider: JwtProvider) -> Identity | TokenProblem:
    """Whom the claims of a verified `identity` speak for as `provider` has them; signature and times are not asked."""
    try:
        again = _identity(identity.claims, provider, identity.source)
        _check_audience(identity.claims, provider)
    except _Refused as refused:
        return refused.problem
    return replace(again, cookie=identity.cookie)  # no claim: it is still to be found by its cookie


def still_valid(identity: Identity, now: float, clock_skew: float) -> bool:
    """True while what vouched for `identity` would pass its time checks again; without an `exp` it never ends."""
    try:
        _check_times(identity.claims, now, clock_skew, may_be_endless=identity.expires_at is None)
    except _Refused:
        return False
    return True


def _parse(token: str, *, is_event: bool = False) -> UnverifiedToken:
    if len(token) > MAX_TOKEN:
        raise _Refused(f"the token has more than {MAX_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise _Refused("the token is not three parts joined by dots")
    header = _object(parts[0], "header")
    algorithm, key_id, kind = _check_header(header)
    if kind in _EVENT_TYPES and not is_event:
        raise _Refused(f"a token of type {kind} tells of an event, it is no credential")
    claims = _object(parts[1], "payload")
    signed = token.rpartition(".")[0].encode("ascii")
    return UnverifiedToken(algorithm, key_id, kind, claims, signed, _decode(parts[2], "signature"))


def _decode(part: str, name: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError as error:
        raise _Refused(f"the token's {name} is {error}") from None


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        return parse_object(_decode(part, name))
    except ValueError as error:
        raise _Refused(f"the token's {name} is {error}") from None


def _check_header(header: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    algorithm = _text(header, "alg")
    if algorithm is None:
        raise _Refused("the token has no alg")
    # RFC 7515 §4.1.11: an extension that is not understood refuses the token. RFC 7797's b64 is one.
    for name in ("crit", "b64"):
        if name in header:
            raise _Refused(f"the token's header has {name}, which is not supported")
    kind = _text(header, "typ")
    if kind is not None:
        kind = kind.lower().removeprefix("application/")  # RFC 7515 §4.1.9
    return algorithm, _text(header, "kid"), kind


def _check_signature(token: UnverifiedToken, provider: JwtProvider, keys: KeySet) -> None:
    if token.algorithm not in [algorithm.value for algorithm in provider.algorithms]:
        raise _Refused(f"alg {members.quoted(token.algorithm)} is not one of provider {provider.name}'s algorithms")
    candidates = keys.candidates(token.key_id, token.algorithm)
    if any(key.verifies(token.algorithm, token.signed, token.signature) for key in candidates):
        return
    unknown = token.key_id is None or not keys.knows(token.key_id)
    if candidates:
        raise _Refused(f"the signature is by no key of provider {provider.name}", unknown_key=unknown)
    named = "" if token.key_id is None else f" and kid {members.quoted(token.key_id)}"
    raise _Refused(f"provider {provider.name} has no key for {token.algorithm}{named}", unknown_key=unknown)


def _identity(claims: Mapping[str, Any], provider: JwtProvider, source: str) -> Identity:
    if isinstance(claims.get("events"), dict):  # an event token (RFC 8417 §2.2) whose typ does not say so
        raise _Refused("a token with events tells of an event, it is no credential")
    _check_issuer(claims, provider)
    subject = _text(claims, "sub")
    if subject is None:
        raise _Refused("the token has no sub")
    return Identity(
        provider=provider.name,
        issuer=provider.issuer or provider.name,
        subject=subject,
        source=source,
        sid=_text(claims, "sid"),
        jti=_text(claims, "jti"),
        issued_at=_time(claims, "iat"),
        expires_at=_time(claims, "exp"),
        claims=claims,
    )


def _check_issuer(claims: Mapping[str, Any], provider: JwtProvider) -> None:
    issuer = _text(claims, "iss")
    if provider.issuer is not None and issuer != provider.issuer:
        found = "missing" if issuer is None else members.quoted(issuer)
        raise _Refused(f"iss is {found}, provider {provider.name} expects {members.quoted(provider.issuer)}")


def _check_audience(claims: Mapping[str, Any], provider: JwtProvider) -> None:
    try:
        audiences = members.audiences(claims)
    except members.BadMember as bad:
        raise _Refused(str(bad)) from None
    if provider.audiences and not set(provider.audiences).intersection(audiences):
        found = ", ".join(members.quoted(each, 60) for each in audiences[:3]) or "missing"
        wanted = " or ".join(map(members.quoted, provider.audiences))
        raise _Refused(f"aud is {found}, provider {provider.name} expects {wanted}")


def _check_times(claims: Mapping[str, Any], now: float, clock_skew: float, *, may_be_endless: bool = False) -> None:
    expires, starts, issued = _time(claims, "exp"), _time(claims, "nbf"), _time(claims, "iat")
    if expires is None and not may_be_endless:
        raise _Refused("the token has no exp: it would never expire")
    if starts is not None and now < starts - clock_skew:
        raise _Refused("the token is not valid yet (nbf)")
    if issued is not None and now < issued - clock_skew:
        raise _Refused("the token was issued in the future (iat)")
    if expires is not None and now >= expires + clock_skew:
        raise _Refused("the token has expired", CloseReason.CREDENTIAL_EXPIRED)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    try:
        return members.time(claims, name)
    except members.BadMember as bad:
        raise _Refused(str(bad)) from None


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    try:
        return members.text(claims, name)
    except members.BadMember as bad:
        raise _Refused(str(bad)) from None
