"""Who a connection belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified (issuer, subject) and what is known of its session.

    `issued_at` and `expires_at` are seconds since the epoch. `claims` is the verified payload, read-only by
    convention; `provider` names the policy's provider that vouched; `source` says where the credential was found
    (`cookie:session`, `header:authorization`, `param:access_token`, `subprotocol:bearer.`). `cookie` is the digest of
    the cookie value that was the credential, as `cookie_digest` makes it; None where it was no cookie.
    """

    provider: str
    issuer: str
    subject: str
    source: str
    sid: str | None = None
    jti: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    cookie: str | None = None


def earliest_end(identities: Iterable[Identity]) -> float | None:
    """When the first of what vouched for `identities` ends, in seconds since the epoch; None: nothing does."""
    return min((who.expires_at for who in identities if who.expires_at is not None), default=None)


def cookie_digest(value: str) -> str:
    """What stands for a session cookie where its value must not: `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
