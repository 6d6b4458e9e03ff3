"""What can only be said of all policies together, or of the guard's own settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import re2

from wsguard.policy.hosts import ANY_HOST, HostPattern
from wsguard.policy.model import (
    BackChannelLogout,
    GuardSpec,
    HostPort,
    IntrospectionProvider,
    NATSJetStream,
    Overload,
    PathType,
    RedisStream,
    SessionEvents,
    SharedSignals,
    WebSocketPolicy,
)
from wsguard.policy.model_base import shorten
from wsguard.policy.model_events import is_encrypted
from wsguard.policy.origin import PatternKind
from wsguard.policy.problems import Finding, Severity
from wsguard.policy.socket_path import SocketPath
from wsguard.sessions.drain import grace_in

_LEAST_MEMORY = 96 << 20
_LEAST_LAG = 0.05
# A regular expression that matches all of these is taken for one that matches everything.
_PROBES = ("/", "/a", "/a/b.c", "/~0/-1_Z/ é")


def lint_guard(guard: GuardSpec) -> Iterator[Finding]:
    """What is dangerous in a GuardConfig."""
    for part, allowed in (("listener", guard.listener.allowed_hosts), ("admin", guard.admin.allowed_hosts)):
        if ANY_HOST in allowed:
            place = ("spec", part, "allowedHosts", allowed.index(ANY_HOST))
            yield Finding(place, '"*" switches the Host check off: a page can reach the port by DNS rebinding')
    detection = guard.client_ip_detection
    header = "forwarded" if detection and detection.forwarded else "xForwardedFor"
    where = ("spec", "clientIPDetection", header, "trustedCIDRs")
    for i, network in enumerate(detection.proxies.trusted_cidrs if detection else ()):
        if network.prefixlen == 0:
            yield Finding((*where, i), f"{network}: everyone is trusted to say which address he comes from")
    yield from _lint_overload(guard.overload)
    is_unix = isinstance(guard.listener.address, SocketPath)
    if is_unix and not guard.listener.proxy_protocol and detection and detection.proxies.trusted_cidrs:
        yield Finding(where, "trusts nobody: a peer on a Unix socket has no address; numTrustedHops does without one")


def _lint_overload(overload: Overload) -> Iterator[Finding]:
    """Limits that a guard reaches with nothing to do."""
    path = ("spec", "overload")
    if overload.max_memory is not None and overload.max_memory < _LEAST_MEMORY:
        least = f"{_LEAST_MEMORY >> 20}Mi"
        yield Finding((*path, "maxMemory"), f"less than {least}: the process alone may take as much, and serve nobody")
    if overload.max_loop_lag is not None and overload.max_loop_lag < _LEAST_LAG:
        message = f"less than {_LEAST_LAG * 1000:g}ms: a busy guard that serves everybody well has as much"
        yield Finding((*path, "maxLoopLag"), message)


def lint_backends(guard: GuardSpec) -> Iterator[Finding]:
    """Backends that cannot be told from one another."""
    first: dict[str, int] = {}
    for i, backend in enumerate(guard.backends):
        path = ("spec", "backends", i)
        if first.setdefault(backend.name, i) != i:
            where = (*path, "name") if "name" in backend.model_fields_set else path
            yield Finding(where, f'two backends have the name "{backend.name}": each needs its own', Severity.ERROR)
        elif any(other.url == backend.url for other in guard.backends[:i]):
            yield Finding((*path, "url"), "another backend has the same address: to move there moves nobody")


def lint_events(guard: GuardSpec, policies: Iterable[WebSocketPolicy]) -> Iterator[Finding]:
    """Events that a guard would forget too early, or whose loss nobody has thought about."""
    events, path = guard.session_events, ("spec", "sessionEvents")
    if events.streams and events.on_gap is None:
        message = '"onGap" is missing: what a lost part of the stream means, Continue or CloseAll'
        yield Finding(path, message, Severity.ERROR)
    for i, source in enumerate(events.sources):
        if isinstance(source, (RedisStream, NATSJetStream)) and source.url is not None and _is_open(source.url):
            message = "session events travel unencrypted: whoever is on the way can read, drop and make them"
            yield Finding((*path, "sources", i, "url"), message)
    policies = tuple(policies)
    yield from _lint_issuers(events, policies)
    longest = max(policies, key=lambda policy: policy.spec.session.max_connection_duration, default=None)
    if not events.sources or longest is None:
        return
    lives = longest.spec.session.max_connection_duration
    if events.replay_window < lives:
        where = (*path, "replayWindow") if "replay_window" in events.model_fields_set else path
        message = (
            f"replayWindow is {events.replay_window:g}s, shorter than the maxConnectionDuration of policy "
            f'"{longest.name}", {lives:g}s: a session that ended meanwhile would be unknown after a restart'
        )
        yield Finding(where, message, Severity.ERROR)


def lint_drain(guard: GuardSpec, policies: Iterable[WebSocketPolicy]) -> Iterator[Finding]:
    """A grace that the guard's own drain has no room for."""
    window, path = guard.shutdown.drain_window, ("spec", "shutdown")
    where = (*path, "drainWindow") if "drain_window" in guard.shutdown.model_fields_set else path
    for policy in policies:
        migration = policy.spec.migration
        if migration is not None and (left := grace_in(window, migration.hint.grace)) < migration.hint.grace:
            message = f'policy "{policy.name}" gives its clients {migration.hint.grace:g}s after a hint'
            yield Finding(where, f"{message}: in a drain over {window:g}s it is {left:g}s")


def _lint_issuers(events: SessionEvents, policies: tuple[WebSocketPolicy, ...]) -> Iterator[Finding]:
    """A provider that posts ends sessions of its own issuer, by exactly the name that the policies know them by."""
    specs = [policy.spec for policy in policies]
    providers = [provider for spec in specs for provider in spec.providers]
    if any(isinstance(provider, IntrospectionProvider) and provider.issuer is None for provider in providers):
        return  # its answers may name any
    known = {provider.issuer for provider in providers}
    known |= {spec.forward_auth.issuer for spec in specs if spec.forward_auth is not None}
    for i, source in enumerate(events.sources):
        if isinstance(source, (BackChannelLogout, SharedSignals)) and source.issuer not in known:
            message = f'no policy has credentials of the issuer "{shorten(source.issuer, 200)}"'
            yield Finding(("spec", "sessionEvents", "sources", i, "issuer"), f"{message}: what it tells ends nothing")


def _is_open(url: str) -> bool:
    return not is_encrypted(url) and not HostPort(urlsplit(url).hostname or "", 0).is_loopback


def lint_hosts(policy: WebSocketPolicy, guard: GuardSpec) -> Iterator[Finding]:
    """A policy that is for any Host on a port that others can reach."""
    listener = guard.listener
    if not (policy.spec.match.hostnames or listener.allowed_hosts or listener.address.is_loopback):
        yield Finding(
            ("spec", "match"),
            f"any Host is answered on {listener.address}: set match.hostnames or listener.allowedHosts, "
            "or a page can reach the port by DNS rebinding",
        )


def lint_client_certificates(policy: WebSocketPolicy, guard: GuardSpec) -> Iterator[Finding]:
    """A policy for any page, where a browser shows a certificate to whichever page dials."""
    origin, tls = policy.spec.origin, guard.listener.tls
    is_token_required = origin.handshake_token is not None and origin.handshake_token.required
    if tls is None or tls.client_validation is None or is_token_required:
        return
    for i, pattern in enumerate(origin.allow_origins):
        if pattern.kind is PatternKind.ANY:
            message = (
                '"*" with clientValidation: a browser shows its certificate by itself: any page speaks as its user'
            )
            yield Finding(("spec", "origin", "allowOrigins", i), message)


def lint_shadows(policies: Iterable[WebSocketPolicy]) -> Iterator[tuple[WebSocketPolicy, Finding]]:
    """Prefixes that are never reached: a regular expression on the same host takes every path before them."""
    policies = tuple(policies)
    takers: dict[HostPattern | None, WebSocketPolicy] = {}
    for policy in policies:
        if any(_takes_everything(pattern) for _, pattern in _paths(policy, PathType.REGULAR_EXPRESSION)):
            for host in _hosts(policy):
                takers.setdefault(host, policy)
    for policy in policies:
        for host in _hosts(policy):
            taker = takers.get(host, policy)
            if taker is policy:
                continue
            for path, _ in _paths(policy, PathType.PATH_PREFIX):
                where = host or "every host"
                message = f'never reached on {where}: a regular expression of "{taker.name}" takes every path'
                yield policy, Finding(path, message)


def _hosts(policy: WebSocketPolicy) -> tuple[HostPattern | None, ...]:
    return policy.spec.match.hostnames or (None,)


def _paths(policy: WebSocketPolicy, kind: PathType) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The paths of one kind, with where they are written; a policy without paths is for every prefix."""
    here = ("spec", "match")
    if not policy.spec.match.paths and kind is PathType.PATH_PREFIX:
        yield here, "/"
    for i, path in enumerate(policy.spec.match.paths):
        if path.type is kind:
            yield (*here, "paths", i), path.value


def _takes_everything(pattern: str) -> bool:
    compiled = re2.compile(pattern)
    return all(compiled.fullmatch(probe) for probe in _PROBES)
