"""Which Origin settings leave a door open: a page that may connect does so with its visitor's cookies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wsguard.policy.handshake_token import PARAM, PREFIX
from wsguard.policy.model import ExtractFrom, HandshakeToken, OriginSpec, WebSocketPolicy
from wsguard.policy.origin import MissingOrigin, OriginPattern, PatternKind
from wsguard.policy.problems import Finding, Severity
from wsguard.protocol import query

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

_LONG_TOKEN = 600.0  # seconds; a page asks for a token when it is about to connect


def check_origin(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Everything about the `origin` part of `policy`."""
    spec, path = policy.spec.origin, ("spec", "origin", "allowOrigins")
    for i, pattern in enumerate(spec.allow_origins):
        yield from _check_pattern(policy, pattern, (*path, i))
        if _is_downgrade(pattern, spec):
            yield Finding(
                (*path, i), "an http:// page can be rewritten by whoever is on the way; the others are https://"
            )
    if spec.handshake_token is not None:
        yield from _check_handshake_token(policy, spec.handshake_token)
    if spec.missing is MissingOrigin.ALLOW:
        message = "Allow: a handshake without an Origin is let in, whatever cookies it carries"
        yield Finding(("spec", "origin", "missing"), message)


def _check_pattern(policy: WebSocketPolicy, pattern: OriginPattern, path: tuple[str | int, ...]) -> Iterator[Finding]:
    has_cookie = _has_cookie_credential(policy)
    token = policy.spec.origin.handshake_token
    if pattern.kind is PatternKind.ANY and token is not None and token.required:
        return  # a page must have read an answer of its own origin
    if pattern.kind is PatternKind.ANY and has_cookie:
        message = (
            '"*" with a cookie credential: every page in the world could connect with its visitor\'s session; '
            "list the origins, or let handshakeToken be required"
        )
        yield Finding(path, message, Severity.ERROR)
    elif pattern.kind is PatternKind.ANY:
        yield Finding(path, '"*": every page in the world may connect')
    elif pattern.kind is PatternKind.NULL:
        whose = ", with its visitor's cookie" if has_cookie else ""
        yield Finding(path, f'"null": any page may connect from a sandboxed frame{whose}')
    elif pattern.hosts is not None and pattern.hosts.wildcard and _is_public(pattern.hosts.host):
        yield Finding(path, f'"{pattern}": anyone can get a name under {pattern.hosts.host}')


def _check_handshake_token(policy: WebSocketPolicy, token: HandshakeToken) -> Iterator[Finding]:
    spec, path = policy.spec, ("spec", "origin", "handshakeToken")
    if not spec.providers and spec.forward_auth is None:
        message = "nobody can get a token: it is bound to a credential, and the policy looks for none"
        yield Finding(path, message, Severity.ERROR)
    if not token.required:
        yield Finding(path, "not required: whoever shows no token is let in as if there were none")
    if token.max_age > _LONG_TOKEN:
        message = "very long: a token can be used as often as is wanted, for as long as it lasts"
        yield Finding((*path, "maxAge"), message)
    for i, provider in enumerate(spec.jwt.providers if spec.jwt else ()):
        yield from _check_places(provider.extract_from, ("spec", "jwt", "providers", i, "extractFrom"))
    for i, asked in enumerate(spec.introspection.providers if spec.introspection else ()):
        yield from _check_places(asked.extract_from, ("spec", "introspection", "providers", i, "extractFrom"))


def _check_places(source: ExtractFrom, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Credentials where handshake tokens are: what is one would be judged as the other."""
    for i, param in enumerate(source.params):
        if query.values(f"{PARAM}=x", param.name):
            yield Finding((*path, "params", i), f"{PARAM} is the parameter of handshake tokens", Severity.ERROR)
    for i, offer in enumerate(source.subprotocols):
        prefix = offer.prefix.lower()
        if prefix.startswith(PREFIX) or PREFIX.startswith(prefix):
            yield Finding((*path, "subprotocols", i), f"{PREFIX} begins handshake tokens", Severity.ERROR)


def _has_cookie_credential(policy: WebSocketPolicy) -> bool:
    service = policy.spec.forward_auth
    if service is not None and any(name.lower() == "cookie" for name in service.headers_to_ext_auth):
        return True
    return any(provider.extract_from.cookies for provider in policy.spec.providers)


def _is_downgrade(pattern: OriginPattern, spec: OriginSpec) -> bool:
    return pattern.scheme == "http" and any(other.scheme == "https" for other in spec.allow_origins)


def _is_public(host: str) -> bool:
    return host != "localhost" and (host in _HOSTERS or _REGISTRY.fullmatch(host) is not None)
