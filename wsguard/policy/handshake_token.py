"""Handshake tokens: what a page of the application shows to prove that it could read an answer of its own origin.

A cookie comes with every page's handshake; a token only with that of a page which has asked for one. It is sealed with
AES-GCM under a key of the operator's, and bound to the policy, to the page's Origin and to the credential that was
shown for it, so that one given to an attacker's own session is nothing beside a visitor's cookie. It is not used up:
replicas share keys and no memory, so it may be shown again until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.decision import Refuse
from wsguard.policy.forward_auth import Approval
from wsguard.protocol import base64url, query
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.reasons import CloseReason

if TYPE_CHECKING:
    from wsguard.policy.case import Case
    from wsguard.policy.model import WebSocketPolicy

PARAM, PREFIX = "wsguard_token", "wsguard.token."
"""The two places that a handshake has for a token: a query parameter, and a subprotocol that begins so."""

NONCE = 12
"""Random bytes that each token needs (NIST SP 800-38D §8.2.2)."""

_KEY = 32
_MOST_KEYS = 10
_LEAST_DISTINCT = 16  # random bytes have some 30: fewer are a pattern that somebody typed
_CONTEXT = b"wsguard handshake token 1"  # what these keys are for, and the layout
_LAYOUT = struct.Struct(">dd32s32s32s32s")
_TAG = 16
_LENGTH = (NONCE + _LAYOUT.size + _TAG) * 8 // 6 + 1  # in base64url, which leaves a part of a character over


@dataclass(frozen=True, slots=True)
class TokenContent:
    """What a token says. Times are seconds since the epoch; the others are digests of what it is bound to."""

    issued_at: float
    expires_at: float
    policy: bytes = field(repr=False)
    origin: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    approval: bytes = field(repr=False)


class TokenKeys:
    """Keys for tokens: the first seals, all open. Raises ValueError where it is made of none."""

    __slots__ = ("_ciphers",)

    def __init__(self, *keys: bytes) -> None:
        if not keys:
            raise ValueError("it has no key")
        self._ciphers = tuple(AESGCM(key) for key in keys)

    @classmethod
    def parse(cls, data: bytes) -> TokenKeys:
        """The keys in a file: 32 random bytes in base64 or base64url a line, blank lines left out.

        Raises ValueError with a sentence that names the line and quotes nothing.
        """
        keys = []
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                keys.append(_read_key(line.strip(), number))
        if len(keys) > _MOST_KEYS:
            raise ValueError(f"it has more than {_MOST_KEYS} keys")
        return cls(*keys)

    def seal(self, token: TokenContent, nonce: bytes) -> str:
        """The text of `token`: characters of a URL and of a subprotocol. `nonce` must never come twice."""
        plain = _LAYOUT.pack(
            token.issued_at, token.expires_at, token.policy, token.origin, token.credentials, token.approval
        )
        return base64url.encode(nonce + self._ciphers[0].encrypt(nonce, plain, _CONTEXT))

    def open(self, text: str) -> TokenContent | None:
        """What was sealed with any of the keys; None for every other text."""
        if len(text) != _LENGTH:
            return None
        try:
            sealed = base64url.decode(text)
        except ValueError:
            return None
        for cipher in self._ciphers:
            try:
                return TokenContent(*_LAYOUT.unpack(cipher.decrypt(sealed[:NONCE], sealed[NONCE:], _CONTEXT)))
            except InvalidTag:
                continue
        return None


def _read_key(line: bytes, number: int) -> bytes:
    text = line.decode("ascii", "replace").rstrip("=").replace("+", "-").replace("/", "_")
    try:
        key = base64url.decode(text)
    except ValueError:
        raise ValueError(f"line {number} is not base64") from None
    if len(key) != _KEY:
        raise ValueError(f"line {number} has {len(key)} bytes, not {_KEY}")
    if len(set(key)) < _LEAST_DISTINCT:
        raise ValueError(f"line {number} is not random")
    return key


def shown(handshake: Handshake) -> tuple[Credential, ...]:
    """Every token in `handshake`, good or not, as something that the backend must not see."""
    params = (Credential(Kind.PARAM, PARAM, (), False, value) for value in query.values(handshake.head.query, PARAM))
    offers = (offer for offer in handshake.subprotocols if offer.lower().startswith(PREFIX))
    protocols = (Credential(Kind.SUBPROTOCOL, PREFIX, (), False, offer[len(PREFIX) :], offer) for offer in offers)
    return (*params, *protocols)


def read_token(
    handshake: Handshake, policy: WebSocketPolicy | None, keys: Mapping[str, TokenKeys]
) -> TokenContent | Refuse | None:
    """The token in `handshake`, opened with the keys of `policy`; None where there is none, or nobody looks for one.

    `keys` are by the name of their file. One place holds at most one token, and both places the same.
    """
    spec = policy.spec.origin.handshake_token if policy is not None else None
    if spec is None:
        return None
    found = shown(handshake)
    if not found:
        return None
    if len({credential.token for credential in found}) > 1 or len({credential.kind for credential in found}) < len(
        found
    ):
        return _refuse("there is more than one token")
    token = keys[spec.secret_file].open(found[0].token)
    return _refuse("none of the keys opens the token") if token is None else token


def issue(case: Case, policy: WebSocketPolicy, max_age: float) -> TokenContent:
    """The token for who has shown what is in `case`, admitted by `policy`; good for `max_age` seconds."""
    return TokenContent(
        issued_at=case.now,
        expires_at=case.now + max_age,
        policy=_digest(policy.name),
        origin=_digest(case.handshake.origin or b""),
        credentials=credentials_digest(case),
        approval=approval_digest(case) or _digest("none"),
    )


def token_problem(token: TokenContent, case: Case) -> str | None:
    """Why `token` is not good in `case`, whatever credential that shows; None where nothing is wrong with it."""
    policy, origin = case.policy, case.handshake.origin
    spec = policy.spec.origin.handshake_token if policy is not None else None
    assert policy is not None
    assert spec is not None
    is_ours = hmac.compare_digest(token.policy, _digest(policy.name))
    is_theirs = hmac.compare_digest(token.origin, _digest(origin or b"")) and origin is not None
    if not is_ours:
        return "it was given for another policy"
    if not is_theirs:
        return "it was given to another Origin"
    if case.now > min(token.expires_at, token.issued_at + spec.max_age):
        return "it has expired"
    if token.issued_at > case.now + policy.spec.session.clock_skew:
        return "it is from the future: the clocks of the replicas differ"
    return None


def binding_problem(token: TokenContent, case: Case) -> str | None:
    """Why `token` is not for who shows the credentials in `case`; None where it is, or where that cannot be told."""
    if not hmac.compare_digest(token.credentials, credentials_digest(case)):
        return "it was given for other credentials"
    approval = approval_digest(case)
    if approval is not None:
        is_same = hmac.compare_digest(token.approval, approval)
        return None if is_same else "it was given for somebody else, by another service's word"
    is_no = isinstance(case.approval, Refuse) and case.approval.reason is not CloseReason.IDENTITY_UNAVAILABLE
    return "it was given for somebody of whom another service said yes" if is_no else None


def credentials_digest(case: Case) -> bytes:
    """What stands for all credentials that the policy found in the handshake, good or not."""
    credentials = case.credentials if isinstance(case.credentials, tuple) else ()
    found = sorted((credential.kind.value, credential.name, credential.token) for credential in credentials)
    return _digest(*(part for credential in found for part in credential))


def approval_digest(case: Case) -> bytes | None:
    """What stands for what `forwardAuth` has approved; None where it has not, or could not say.

    That is whom it names: a cookie jar changes between two requests, by cookies that are no login. Where it names
    nobody there is only what it was sent.
    """
    spec = case.policy.spec.forward_auth if case.policy is not None else None
    if spec is None:
        return _digest()
    if not isinstance(case.approval, Approval):
        return None
    who = case.approval.identity
    if who is not None:
        return _digest("subject", who.issuer, who.subject)
    sent = case.question.shown if case.question is not None else ()
    return _digest("fields", *(part for pair in sent for part in pair))


def _digest(*parts: str | bytes) -> bytes:
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.digest()


def _refuse(detail: str) -> Refuse:
    return Refuse(CloseReason.HANDSHAKE_TOKEN_INVALID, detail)
