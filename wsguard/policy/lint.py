"""What a type cannot say of one policy: parts that do not go together, and what is legal but dangerous.

Each check is a generator of findings about one policy, and CHECKS lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wsguard.policy.lint_asking import check_asking, check_header_names, check_provider_names, is_tappable
from wsguard.policy.lint_caps import check_caps
from wsguard.policy.lint_first_message import check_first_message, check_subprotocols
from wsguard.policy.lint_flow import check_flow, check_framing
from wsguard.policy.lint_hold import check_hold
from wsguard.policy.lint_logout import check_logout_detection
from wsguard.policy.lint_origin import check_origin
from wsguard.policy.lint_streams import check_streams
from wsguard.policy.model import (
    Action,
    Authorization,
    Enforcement,
    ExtractFrom,
    JwtProvider,
    PathType,
    Principal,
    Renewal,
    WebSocketPolicy,
)
from wsguard.policy.problems import Finding, Severity
from wsguard.protocol.dialects import Dialect
from wsguard.protocol.target import is_reserved

_OFTEN = 1.0  # seconds between pings
_HASTE = 2.0  # seconds for an answer
_LONG_SKEW = 300.0  # seconds; clocks that are set at all do not differ more


def check_path(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Paths that the guard keeps for itself."""
    for i, path in enumerate(policy.spec.match.paths):
        if path.type is not PathType.REGULAR_EXPRESSION and is_reserved(path.value):
            yield Finding(("spec", "match", "paths", i, "value"), "the guard answers this path itself, no policy does")


def check_jwt(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Tokens that are believed too easily."""
    jwt = policy.spec.jwt
    if jwt is None:
        return
    if jwt.optional:
        yield Finding(("spec", "jwt", "optional"), "a handshake without a token is let in as anonymous")
    for i, provider in enumerate(jwt.providers):
        path = ("spec", "jwt", "providers", i)
        if provider.issuer is None:
            yield Finding(path, "no issuer: whoever holds a key of the set may issue tokens in any name")
        if not provider.audiences:
            yield Finding(path, "no audiences: a token that was issued for another application is accepted")
        if provider.remote_jwks is not None and is_tappable(provider.remote_jwks.uri):
            message = "keys are fetched over http: whoever is on the way can put his own in"
            yield Finding((*path, "remoteJWKS", "uri"), message)
    yield from _check_overlaps(jwt.providers)


def _check_overlaps(providers: tuple[JwtProvider, ...]) -> Iterator[Finding]:
    """Where several providers read one place, the token's `iss` chooses between them."""
    first: dict[tuple[str | None, str, str], JwtProvider] = {}
    for i, provider in enumerate(providers):
        claims = [(provider.issuer, *place) for place in _places(provider.extract_from)]
        others = [first[claim] for claim in claims if claim in first]
        if others:
            name = others[0].name
            message = f'reads the same place for the same issuer as provider "{name}", which comes first'
            yield Finding(("spec", "jwt", "providers", i), message)
        first.update((claim, provider) for claim in claims if claim not in first)


def _places(source: ExtractFrom) -> set[tuple[str, str]]:
    return {
        *(("cookie", cookie.name) for cookie in source.cookies),
        *(("header", header.name.lower()) for header in source.headers),
        *(("param", param.name) for param in source.params),
        *(("subprotocol", subprotocol.prefix) for subprotocol in source.subprotocols),
        *(("first-message", message.json_path) for message in (source.first_message,) if message is not None),
    }


def check_authorization(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Rules that nobody or everybody matches, and rules that are never asked."""
    spec, path = policy.spec.authorization, ("spec", "authorization")
    if spec is None:
        return
    yield from _check_outcome(spec, path)
    providers = {provider.name for provider in policy.spec.providers}
    is_decided = False
    for i, rule in enumerate(spec.rules):
        if is_decided:
            yield Finding((*path, "rules", i), "never asked: a rule before it is about everyone")
        if rule.principal is not None:
            yield from _check_principal(rule.principal, providers, (*path, "rules", i, "principal"))
        is_decided = is_decided or (rule.principal is None and rule.cel is None)


def _check_outcome(spec: Authorization, path: tuple[str, ...]) -> Iterator[Finding]:
    if not spec.rules and "default_action" not in spec.model_fields_set:
        yield Finding(path, "expected rules, defaultAction or both", Severity.ERROR)
        return
    actions = {rule.action for rule in spec.rules} | {spec.default_action}
    if actions == {Action.DENY}:
        yield Finding(path, "nobody is let in: every rule and defaultAction say Deny")
    elif actions == {Action.ALLOW}:
        yield Finding(path, "keeps nobody out: every rule and defaultAction say Allow")


def _check_principal(principal: Principal, providers: set[str], path: tuple[str | int, ...]) -> Iterator[Finding]:
    if principal.jwt is None:
        if not principal.client_cidrs:
            message = "expected jwt, clientCIDRs or both; a rule about everyone has no principal"
            yield Finding(path, message, Severity.ERROR)
    elif not providers:
        yield Finding((*path, "jwt"), "matches nobody: the policy has neither jwt nor introspection", Severity.ERROR)
    elif principal.jwt.provider is not None and principal.jwt.provider not in providers:
        known = ", ".join(sorted(providers))
        message = f'no provider has the name "{principal.jwt.provider}"; known here: {known}'
        yield Finding((*path, "jwt", "provider"), message, Severity.ERROR)


def check_session(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A session that outlives its token, and one that no token could renew."""
    spec, session = policy.spec, policy.spec.session
    if session.clock_skew > _LONG_SKEW:
        message = "very long: an expired token opens connections, and keeps them open, for this long"
        yield Finding(("spec", "session", "clockSkew"), message)
    if session.expiry_hint is not None and not spec.providers:
        message = "never sent: the policy has neither jwt nor introspection, so nothing expires"
        yield Finding(("spec", "session", "expiryHint"), message, Severity.ERROR)
    if "renewal" not in session.model_fields_set or session.renewal is Renewal.OFF:
        return
    if not spec.providers:
        message = "renews nothing: the policy has neither jwt nor introspection"
        yield Finding(("spec", "session", "renewal"), message, Severity.ERROR)
    elif session.renewal is Renewal.PASSIVE and spec.forward_auth is not None:
        message = "renewed only by its own handshakes: forwardAuth would have to be asked about all else"
        yield Finding(("spec", "session", "renewal"), message)


def check_migration(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A hint that is not as it was written."""
    migration, path = policy.spec.migration, ("spec", "migration", "hint")
    if migration is None:
        return
    hint = migration.hint
    if hint.dialect is not Dialect.CUSTOM and "message" in hint.model_fields_set:
        message = f"{hint.dialect.value} has words of its own: a message goes with the dialect custom"
        yield Finding((*path, "message"), message, Severity.ERROR)
    if hint.dialect is Dialect.MQTT5 and "grace" in hint.model_fields_set:
        yield Finding((*path, "grace"), "without effect: MQTT 5 has no hint, only a goodbye")


def check_keep_alive(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Pings that are never sent, or without end."""
    keep_alive, path = policy.spec.keep_alive, ("spec", "keepAlive")
    intervals = {
        "clientPingInterval": keep_alive.client_ping_interval,
        "backendPingInterval": keep_alive.backend_ping_interval,
    }
    if keep_alive.model_fields_set and not any(intervals.values()):
        yield Finding(path, "pings nobody: both intervals are 0s")
    for name, interval in intervals.items():
        if 0 < interval < _OFTEN:
            yield Finding((*path, name), f"very often: every silent connection costs a ping each {interval:g}s")
    if any(intervals.values()) and keep_alive.timeout < _HASTE:
        message = "very short: a lost packet is sent again only after a second or more, and its peer is taken for dead"
        yield Finding((*path, "timeout"), message)


def check_enforcement(policy: WebSocketPolicy) -> Iterator[Finding]:
    """A policy that refuses nobody."""
    if policy.spec.enforcement is Enforcement.AUDIT:
        yield Finding(("spec", "enforcement"), "Audit: refusals are recorded, and the connections let through")


CHECKS: tuple[Callable[[WebSocketPolicy], Iterator[Finding]], ...] = (
    check_path,
    check_origin,
    check_jwt,
    check_asking,
    check_provider_names,
    check_header_names,
    check_first_message,
    check_subprotocols,
    check_authorization,
    check_session,
    check_logout_detection,
    check_caps,
    check_flow,
    check_framing,
    check_migration,
    check_hold,
    check_keep_alive,
    check_streams,
    check_enforcement,
)


def lint_policy(policy: WebSocketPolicy) -> Iterator[Finding]:
    """Everything that the checks find in `policy`."""
    for check in CHECKS:
        yield from check(policy)
