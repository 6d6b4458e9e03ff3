"""The types of a policy's unit tests (`kind: PolicyTest`): a request, what others would say of it, what to expect.

No key, no secret and no service of the real world is needed: tokens are signed for the run, services answer as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wsguard.policy.fields import Count, Duration, Flag, Name, duration, token
from wsguard.policy.model import Metadata
from wsguard.policy.model_base import Model, found, read_as, unique
from wsguard.policy.problems import nearest
from wsguard.protocol.reasons import CloseReason


def _instant(text: str) -> float:
    """RFC 3339, in seconds since the epoch."""
    expected = f"expected a time such as 2026-01-31T12:00:00Z, found {found(text)}"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(expected) from None
    if when.tzinfo is None:
        raise ValueError(f"{expected}, which has no time zone")
    return when.timestamp()


def _reason(text: str) -> CloseReason:
    tokens = {reason.token: reason for reason in CloseReason}
    if text not in tokens:
        near = nearest(text, tuple(tokens))
        hint = f"; did you mean {near}?" if near else ""
        raise ValueError(f"expected a close reason such as origin-denied, found {found(text)}{hint}")
    return tokens[text]


Instant = Annotated[float, *read_as(float, _instant, "a time such as 2026-01-31T12:00:00Z", format="date-time")]
FieldName = Annotated[str, *token("the name of a header field")]
Reason = Annotated[CloseReason, *read_as(CloseReason, _reason, "a close reason such as origin-denied")]


class Token(Model):
    """A JWT to be made for the tests. What a provider checks is filled in unless `claims` says otherwise."""

    provider: Name
    """Whose token it is: a provider of the policies."""
    claims: Mapping[str, Any] = Field(default_factory=dict)
    """What it claims; iss, aud, iat and exp are as the provider expects them unless they are here."""
    without: tuple[str, ...] = ()
    """Claims that are left out."""
    age: Duration = duration("0s")
    """How long ago it was issued."""
    lifetime: Duration = duration("1h")
    """How long after that it expires."""
    forged: Flag = False
    """Whether somebody else signed it, with a key of their own."""


class Request(Model):
    """A handshake. `${name}` in any value is the token of that name, `${base64url:name}` the same in base64url."""

    url: str
    """What the client dials, such as wss://app.example.com/ws."""
    origin: str | None = None
    """The page that dials; absent, as from a program."""
    headers: Mapping[FieldName, str] = Field(default_factory=dict)
    """More header fields; one of the usual names replaces it."""
    cookies: Mapping[str, str] = Field(default_factory=dict)
    """The cookies that go along."""
    handshake_token: Flag = False
    """true: the page shows a handshake token that it was given for the rest of this request."""
    remote_ip: str = Field(default="127.0.0.1", alias="remoteIP")
    """The TCP peer."""
    first_message: str | None = None
    """What the client says first, where a policy awaits that."""


class ServiceAnswer(Model):
    """What the service of `forwardAuth` answers."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    """The HTTP status."""
    headers: Mapping[FieldName, str] = Field(default_factory=dict)
    """Its header fields."""
    body: Any = None
    """Its body: text, or what is to be JSON."""


class Verdict(Enum):
    """What becomes of a request."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    AUDITED = "audited"
    AWAITED = "awaited"
    HTTP = "http"


class Expectation(Model):
    """What is expected; what is not mentioned may be anything."""

    result: Verdict
    """admitted, refused, audited (were it enforced: refused), awaited (the first message decides), or http (plain)."""
    policy: Name | None = None
    """The policy that matched."""
    reason: Reason | None = None
    """Why it was refused."""
    code: Count | None = None
    """The close code that the client reads."""
    status: Count | None = None
    """The HTTP status, where the answer is plain HTTP."""
    subject: str | None = None
    """Whom the connection is for."""
    added: Mapping[str, str | None] = Field(default_factory=dict)
    """Header fields that the backend gets from the guard; null: it does not get that one."""
    erased: tuple[str, ...] | None = None
    """Sources of credentials that are hidden from the backend, all of them, such as cookie:session."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Expectation:
        told = [name for name in ("reason", "code", "status") if getattr(self, name) is not None]
        if self.result is Verdict.ADMITTED and told:
            raise ValueError(f"an admission has no {told[0]}")
        if self.result is Verdict.AWAITED and told:
            raise ValueError(f"what is awaited has no {told[0]} yet")
        of_admissions = self.subject is not None or self.added or self.erased is not None
        if self.result in (Verdict.REFUSED, Verdict.AWAITED) and of_admissions:
            raise ValueError("subject, added and erased are of admissions")
        if self.result is Verdict.HTTP and self.model_fields_set - {"result", "status"}:
            raise ValueError("a plain HTTP answer has a status and nothing else")
        return self


class Trial(Model):
    """One request and what is to become of it."""

    name: str = Field(min_length=1)
    """What is tried, in a sentence."""
    request: Request
    """The handshake."""
    introspection: Mapping[str, Mapping[str, Any]] | None = None
    """Answers (RFC 7662) by token, or `${name}`; any other token is inactive. Absent: nobody answers."""
    forward_auth: ServiceAnswer | None = None
    """What the service answers. Absent: it does not."""
    expect: Expectation
    """What is to become of it."""


class PolicyTestSpec(Model):
    """What a test file says."""

    policies: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The policy files, from this file's folder; absent: the file of this one's name without `.test`."""
    now: Instant | None = None
    """When it is; absent: the time of the run."""
    tokens: Mapping[str, Token] = Field(default_factory=dict)
    """Tokens by the names that requests use."""
    tests: tuple[Trial, ...] = Field(min_length=1)
    """What is tried, each by itself."""

    @model_validator(mode="after")
    def _has_each_name_once(self) -> PolicyTestSpec:
        unique((trial.name for trial in self.tests), "tests")
        return self


class PolicyTest(Model):
    """Unit tests of policies."""

    api_version: Literal["wsguard.dev/v1"] = "wsguard.dev/v1"
    """The version of the policy language."""
    kind: Literal["PolicyTest"] = "PolicyTest"
    """What the document is."""
    metadata: Metadata
    """What the tests are called."""
    spec: PolicyTestSpec
    """What they say."""
