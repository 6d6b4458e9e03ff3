"""The question that `forwardAuth` asks about a handshake, and what the answer means. Nothing here asks it.

A yes is a 2xx. What leaves the answer open (no answer, a 5xx, a body that cannot be read) is `identity-unavailable`.
The question carries what the policy lists and four words on the request; not the query, which may hold a token and
would make each handshake a question of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsguard.policy.claims import lookup
from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.identity_headers import strip
from wsguard.policy.members import MAX_TEXT
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, folded
from wsguard.protocol.reasons import CloseReason
from wsguard.protocol.strict_json import parse_object
from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.policy.model import ForwardAuth, WebSocketPolicy

PROVIDER = "forwardAuth"
"""What an identity from here says of its provider; no provider can have this name, which has a capital letter."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer's body, and of all that the backend is told from its head."""

# Of the 4xx these say nothing of the caller: the service is busy (RFC 9110 §15.5.9, RFC 6585 §4).
_BUSY = frozenset((408, 429))

# In the guard's own spelling; what a policy sends along is in lower case.
_FORWARDED = frozenset(f"X-Forwarded-{word}" for word in ("Method", "Proto", "Host", "Uri", "For"))


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent. `is_bare`: the handshake has none of the header fields that the policy sends along."""

    policy: WebSocketPolicy
    fields: tuple[tuple[str, str], ...] = field(repr=False)
    is_bare: bool

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """The fields that are the client's own: those are in lower case."""
        return tuple(pair for pair in self.fields if not pair[0].startswith("X-Forwarded-"))

    @property
    def digest(self) -> bytes:
        """Equal for equal questions: policy, every header sent, host and path."""
        hashed = hashlib.sha256(self.policy.name.encode())
        for part in (part.encode() for pair in self.fields for part in pair):
            hashed.update(len(part).to_bytes(8, "big") + part)
        return hashed.digest()


@dataclass(frozen=True, slots=True)
class Approval:
    """Yes. `identity` is whom the answer names, `backend_headers` are what it wants the backend to have.

    `lasts` is for how many seconds the yes may be remembered.
    """

    identity: Identity | None = None
    backend_headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    lasts: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is None where it was not wanted, or is longer than MAX_ANSWER."""

    status: int
    headers: Headers
    body: bytes | None = field(default=None, repr=False)


def question_for(
    policy: WebSocketPolicy, handshake: Handshake, effective: Effective, reserved: frozenset[bytes]
) -> Question | Refuse:
    """The question that `policy` asks about `handshake`. `reserved` are header names that only the guard may set.

    A field that comes twice with different values is refused, as a credential is; the cookie jar goes as it came.
    """
    spec = policy.spec.forward_auth
    assert spec is not None
    sent = strip(handshake.head.headers, reserved)
    fields: list[tuple[str, str]] = []
    for name in spec.headers_to_ext_auth:
        wanted = folded(name.encode("ascii"))
        values = [value for key, value in sent.raw if folded(key) == wanted]
        if wanted != b"cookie" and len(set(values)) > 1:
            return Refuse(CloseReason.CREDENTIAL_INVALID, f"header:{name.lower()} occurs with different values")
        try:
            fields += [(name.lower(), value.decode("utf-8")) for value in dict.fromkeys(values)]
        except UnicodeDecodeError:
            return Refuse(CloseReason.CREDENTIAL_INVALID, f"header:{name.lower()} is not UTF-8")
    return Question(policy, (*fields, *_forwarded(handshake, effective)), not fields)


def asked_anew(before: Question, now: Question) -> Question:
    """The question about the connection of `before`, with the header fields of `now`, a newer request of its page."""
    kept = tuple(pair for pair in before.fields if pair[0] in _FORWARDED)
    return Question(now.policy, (*(pair for pair in now.fields if pair[0] not in _FORWARDED), *kept), now.is_bare)


def _forwarded(handshake: Handshake, effective: Effective) -> Iterator[tuple[str, str]]:
    """What Traefik and others send such a service, less the query."""
    yield "X-Forwarded-Method", handshake.head.method
    yield "X-Forwarded-Proto", effective.scheme or "http"
    yield "X-Forwarded-Host", str(effective.authority)
    yield "X-Forwarded-Uri", handshake.head.raw_path
    if effective.client_ip is not None:
        yield "X-Forwarded-For", str(effective.client_ip)


def read_answer(question: Question, answer: Answer, asked_at: float) -> Approval | Refuse:
    """What `answer` means. `asked_at` is seconds since the epoch.

    An identity counts as issued when the question was asked: the service has just vouched for it, so that a log-out
    before that is the service's to know of.
    """
    spec = question.policy.spec.forward_auth
    assert spec is not None
    if not 200 <= answer.status < 300:
        return _refusal(question, answer.status)
    try:
        subject = None if spec.subject_from is None else _subject(answer.body, spec.subject_from.json_path)
        headers = tuple(_backend_headers(spec, answer.headers))
        if sum(len(value) for _, value in headers) > MAX_ANSWER:
            raise ValueError(f"its headersToBackend have more than {MAX_ANSWER} bytes")
    except ValueError as error:
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, f"the answer: {error}")
    if spec.subject_from is not None and subject is None:
        return Refuse(_whoever(question), "the answer names no subject: nobody is logged in")
    who = None if subject is None else Identity(PROVIDER, spec.issuer, subject, PROVIDER, issued_at=asked_at)
    return Approval(who, headers, _lasts(spec, answer.headers))


def _refusal(question: Question, status: int) -> Refuse:
    detail = f"the service answered {status}"
    if status in _BUSY or not 300 <= status < 500:
        return Refuse(CloseReason.IDENTITY_UNAVAILABLE, detail)
    if status == 401 or status < 400:  # a redirect is the way to the login page
        return Refuse(_whoever(question), detail)
    return Refuse(CloseReason.NOT_AUTHORIZED, detail)


def _whoever(question: Question) -> CloseReason:
    return CloseReason.CREDENTIAL_MISSING if question.is_bare else CloseReason.CREDENTIAL_INVALID


def _subject(body: bytes | None, json_path: str) -> str | None:
    """The subject in `body`; None where the member is missing, null or empty. Raises ValueError."""
    if body is None:
        raise ValueError(f"it has no body, or more than {MAX_ANSWER} bytes")
    value: Any = lookup(parse_object(body), json_path)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{json_path} is neither a string nor an integer")
    text = str(value)
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"{json_path} is too long or has unprintable characters")
    return text


def _backend_headers(spec: ForwardAuth, headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    for name in spec.headers_to_backend:
        for value in headers.all(name.lower().encode("ascii")):
            if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                raise ValueError(f"{name} has control characters")
            yield name.encode("ascii"), value


def _lasts(spec: ForwardAuth, headers: Headers) -> float:
    """Seconds for which a yes may be remembered; the service may want less than `cacheDuration` (RFC 9111 §5.2)."""
    seconds = spec.cache_duration
    for directive in headers.tokens(b"cache-control"):
        name, _, value = directive.partition(b"=")
        if name in (b"no-store", b"no-cache"):
            return 0.0
        if name == b"max-age":
            number = value.strip(b'" ')
            seconds = min(seconds, float(number[:9])) if number.isdigit() else 0.0
    return seconds
