"""Which pages may open a connection: the Origin field against a policy's patterns (RFC 6454, RFC 6455 §10.2).

Law: an Origin is compared as scheme, host and port, never as text; what does not read as one equals nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from wsguard.policy.effective import Effective
from wsguard.policy.hosts import HostPattern
from wsguard.protocol.authority import DEFAULT_PORTS, Authority, parse_authority
from wsguard.protocol.http import RequestHead
from wsguard.sessions.identity import ClientCertificate

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")  # RFC 3986 §3.1
_AMBIENT_SCHEMES = frozenset({b"basic", b"digest", b"negotiate", b"ntlm"})


class MissingOrigin(Enum):
    """What becomes of a handshake without an Origin field, which browsers always send."""

    DENY = "Deny"
    DENY_WITH_COOKIE = "DenyWithCookie"
    ALLOW = "Allow"


class PatternKind(Enum):
    """What an origin pattern compares."""

    SAME_HOST = "SameHost"
    NULL = "null"
    ANY = "*"
    LISTED = "listed"


@dataclass(frozen=True, slots=True)
class Origin:
    """An Origin field, read. `port` has the scheme's default filled in (None: the scheme has none).

    A sandboxed page's `null` is opaque: `scheme` is empty and `is_null` true. What cannot be read is empty
    too, and matches no pattern at all, `*` included.
    """

    scheme: str = ""
    host: str = ""
    port: int | None = None
    is_null: bool = False

    @classmethod
    @lru_cache(maxsize=256)  # the same few pages on nearly every handshake
    def parse(cls, raw: bytes) -> Origin:
        """Read the value of an Origin field (RFC 6454 §7.1); a list of origins is unreadable."""
        if raw == b"null":
            return cls(is_null=True)
        try:
            scheme, authority = _split(raw.decode("utf-8"))
        except ValueError:
            return cls()
        return cls(scheme, authority.host, authority.port or DEFAULT_PORTS.get(scheme))


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """One entry of `allowOrigins`: SameHost, `null`, `*`, an origin, or an origin with a wildcard subdomain.

    The wildcard stands for one or more labels, as in Envoy Gateway: `https://*.example.com` matches
    `https://a.example.com` and `https://a.b.example.com`, and not `https://example.com`.
    """

    kind: PatternKind
    scheme: str = ""
    hosts: HostPattern | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> OriginPattern:
        """Read a pattern. Raises ValueError with a sentence for the operator."""
        for kind in (PatternKind.SAME_HOST, PatternKind.NULL, PatternKind.ANY):
            if text.lower() == kind.value.lower():
                if text != kind.value:
                    raise ValueError(f"{text!r} is spelt {kind.value}")
                return cls(kind)
        scheme, mark, rest = text.partition("://")
        if not mark:
            raise ValueError(f"{text!r} has no scheme: an origin is written like https://app.example.com")
        wildcard = rest.startswith("*.")
        try:
            scheme, authority = _split(f"{scheme}://{rest[2:] if wildcard else rest}")
        except ValueError as error:
            raise ValueError(f"{text!r} is not an origin{_hint(rest, error)}") from None
        if scheme in ("ws", "wss"):
            raise ValueError(f"{text!r}: an Origin names the page, so its scheme is http or https")
        if wildcard and authority.is_ip:
            raise ValueError(f"{text!r}: an IP address has no subdomains")
        port = authority.port or DEFAULT_PORTS.get(scheme)
        return cls(PatternKind.LISTED, scheme, HostPattern(authority.host, wildcard), port)

    def matches(self, origin: Origin, effective: Effective) -> bool:
        """True if `origin` is covered for a request to `effective`."""
        if self.kind is PatternKind.NULL:
            return origin.is_null
        if not origin.scheme:
            return False
        if self.kind is PatternKind.SAME_HOST:
            return _is_same_host(origin, effective)
        if self.hosts is None:
            return True
        return (origin.scheme, origin.port) == (self.scheme, self.port) and self.hosts.matches(origin.host)

    def __str__(self) -> str:
        if self.hosts is None:
            return self.kind.value
        port = "" if self.port in (None, DEFAULT_PORTS.get(self.scheme)) else f":{self.port}"
        return f"{self.scheme}://{self.hosts}{port}"


SAME_HOST = OriginPattern(PatternKind.SAME_HOST)


def allows(patterns: tuple[OriginPattern, ...], origin: Origin, effective: Effective) -> bool:
    """Whether any pattern covers `origin` for a request to `effective`."""
    return any(pattern.matches(origin, effective) for pattern in patterns)


def is_missing_denied(missing: MissingOrigin, head: RequestHead, certificate: ClientCertificate | None) -> bool:
    """Whether a handshake without an Origin field is refused.

    Under DenyWithCookie it is refused where it carries what a browser sends by itself: any Cookie, an
    Authorization of Basic, Digest, Negotiate or NTLM (RFC 9110 §11), or a client certificate.
    """
    if missing is not MissingOrigin.DENY_WITH_COOKIE:
        return missing is MissingOrigin.DENY
    if certificate is not None or head.headers.first(b"cookie") is not None:
        return True
    schemes = (value.split(None, 1)[:1] for value in head.headers.all(b"authorization"))
    return any(scheme.lower() in _AMBIENT_SCHEMES for words in schemes for scheme in words)


def _split(text: str) -> tuple[str, Authority]:
    """`scheme://host[:port]` and nothing else. Raises ValueError."""
    scheme, mark, rest = text.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme.lower()):
        raise ValueError("it does not begin with a scheme such as https://")
    if rest.endswith(":"):  # a legal Host, but no browser serialises an origin so
        raise ValueError("the port is empty")
    return scheme.lower(), parse_authority(rest)


def _is_same_host(origin: Origin, effective: Effective) -> bool:
    if origin.scheme not in DEFAULT_PORTS or origin.host != effective.authority.host:
        return False
    if effective.scheme == "https" and origin.scheme == "http":
        return False  # a page that anyone on the way could have written
    port = effective.authority.port
    if effective.scheme is None:  # behind a proxy that may or may not end TLS: both default ports are one
        defaults = DEFAULT_PORTS.values()
        return origin.port == port or (origin.port in defaults and (port is None or port in defaults))
    return origin.port == (port or DEFAULT_PORTS.get(effective.scheme))


def _hint(rest: str, error: ValueError) -> str:
    if "*" in rest.removeprefix("*."):
        return ": a wildcard is the whole first label, as in https://*.example.com"
    if "/" in rest:
        return ": leave the path out"
    return f": {error}"
