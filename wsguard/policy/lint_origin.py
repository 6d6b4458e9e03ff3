"""Which Origin settings leave a door open: a page that may connect does so with its visitor's cookies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wsguard.policy.model import OriginSpec, WebSocketPolicy
from wsguard.policy.origin import MissingOrigin, OriginPattern, PatternKind
from wsguard.policy.problems import Finding, Severity

# Suffixes under which anyone can get a name: the shape of registries' second levels, and the best known hosters. The
# Public Suffix List is longer than this program, and a warning need not be complete.
_REGISTRY = re.compile(r"(?:(?:ac|co|com|edu|gov|net|or|org)\.)?[a-z]{2}|[^.]+")
_HOSTERS = frozenset(
    (
        "amazonaws.com",
        "appspot.com",
        "azurewebsites.net",
        "cloudfront.net",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "netlify.app",
        "ngrok.io",
        "onrender.com",
        "pages.dev",
        "run.app",
        "vercel.app",
        "web.app",
        "workers.dev",
    )
)


def check_origin(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Everything about the `origin` part of `policy`."""
    spec, path = policy.spec.origin, ("spec", "origin", "allowOrigins")
    for i, pattern in enumerate(spec.allow_origins):
        yield from _check_pattern(policy, pattern, (*path, i))
        if _is_downgrade(pattern, spec):
            yield Finding(
                (*path, i), "an http:// page can be rewritten by whoever is on the way; the others are https://"
            )
    if spec.missing is MissingOrigin.ALLOW:
        message = "Allow: a handshake without an Origin is let in, whatever cookies it carries"
        yield Finding(("spec", "origin", "missing"), message)


def _check_pattern(policy: WebSocketPolicy, pattern: OriginPattern, path: tuple[str | int, ...]) -> Iterator[Finding]:
    has_cookie = _has_cookie_credential(policy)
    if pattern.kind is PatternKind.ANY and has_cookie:
        message = (
            '"*" with a cookie credential: every page in the world could connect with its visitor\'s session; '
            "list the origins"
        )
        yield Finding(path, message, Severity.ERROR)
    elif pattern.kind is PatternKind.ANY:
        yield Finding(path, '"*": every page in the world may connect')
    elif pattern.kind is PatternKind.NULL:
        whose = ", with its visitor's cookie" if has_cookie else ""
        yield Finding(path, f'"null": any page may connect from a sandboxed frame{whose}')
    elif pattern.hosts is not None and pattern.hosts.wildcard and _is_public(pattern.hosts.host):
        yield Finding(path, f'"{pattern}": anyone can get a name under {pattern.hosts.host}')


def _has_cookie_credential(policy: WebSocketPolicy) -> bool:
    service = policy.spec.forward_auth
    if service is not None and any(name.lower() == "cookie" for name in service.headers_to_ext_auth):
        return True
    return any(provider.extract_from.cookies for provider in policy.spec.providers)


def _is_downgrade(pattern: OriginPattern, spec: OriginSpec) -> bool:
    return pattern.scheme == "http" and any(other.scheme == "https" for other in spec.allow_origins)


def _is_public(host: str) -> bool:
    return host != "localhost" and (host in _HOSTERS or _REGISTRY.fullmatch(host) is not None)
