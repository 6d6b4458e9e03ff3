"""What is wrong or dangerous about who else is asked: `introspection`, `forwardAuth` and `session.revalidateEvery`."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.problems import Finding, Severity

Path = tuple[str | int, ...]


def check_asking(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Secrets that travel in the clear, and sessions of whose end nobody hears."""
    spec = policy.spec
    if spec.introspection is not None:
        if spec.introspection.optional:
            yield Finding(("spec", "introspection", "optional"), "a handshake without a token is let in as anonymous")
        for i, provider in enumerate(spec.introspection.providers):
            if is_tappable(provider.endpoint):
                yield Finding(
                    ("spec", "introspection", "providers", i, "endpoint"),
                    "tokens and the client secret travel over http: whoever is on the way can take them",
                )
    if spec.forward_auth is not None and is_tappable(spec.forward_auth.url):
        yield Finding(
            ("spec", "forwardAuth", "url"),
            "credentials travel over http: whoever is on the way can take them, or say yes",
        )
    yield from _check_revalidation(policy)


def _check_revalidation(policy: WebSocketPolicy) -> Iterator[Finding]:
    spec, session = policy.spec, policy.spec.session
    asked = "introspection" if spec.introspection is not None else "forwardAuth"
    if session.revalidate_every is None:
        if session.revalidate_grace is not None:
            message = "bounds nothing: there is no revalidateEvery"
            yield Finding(("spec", "session", "revalidateGrace"), message, Severity.ERROR)
        if spec.introspection is not None or spec.forward_auth is not None:
            yield Finding(
                ("spec", asked),
                "asked at the door only: without session.revalidateEvery a session that ends keeps its connections",
            )
    elif spec.introspection is None and spec.forward_auth is None:
        message = "asks nobody: the policy has neither introspection nor forwardAuth"
        yield Finding(("spec", "session", "revalidateEvery"), message, Severity.ERROR)


def check_provider_names(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A name says which provider vouched, in rules and logs."""
    tokens = {provider.name for provider in policy.spec.jwt.providers} if policy.spec.jwt else set()
    for i, provider in enumerate(policy.spec.introspection.providers if policy.spec.introspection else ()):
        if provider.name in tokens:
            path: Path = ("spec", "introspection", "providers", i, "name")
            yield Finding(path, f'a jwt provider has the name "{provider.name}" too', Severity.ERROR)


def check_header_names(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Two that both set one header field: the backend could not tell who speaks."""
    service = policy.spec.forward_auth
    claimed = {_folded(item.header) for provider in policy.spec.providers for item in provider.claim_to_headers}
    for i, name in enumerate(service.headers_to_backend if service is not None else ()):
        if _folded(name) in claimed:
            path: Path = ("spec", "forwardAuth", "headersToBackend", i)
            yield Finding(path, f'"{name}" is set by a claimToHeaders too', Severity.ERROR)


def is_tappable(uri: str) -> bool:
    """True where what is sent to `uri`, or comes from there, can be read or changed on the way."""
    parts = urlsplit(uri)
    host = parts.hostname or ""
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not is_local


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")
