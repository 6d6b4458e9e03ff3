"""All that holds at one moment: the policies, the guard's own settings, and where each policy was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsguard.policy.hosts import HostPattern
from wsguard.policy.identity_headers import strip_names
from wsguard.policy.matching import Matcher
from wsguard.policy.model import GuardSpec, WebSocketPolicy
from wsguard.policy.yaml_source import Place
from wsguard.protocol.authority import Authority
from wsguard.sessions.connection import Stream


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policies without conflicts. `places` tells by name where each was written, unless built in.

    `identity_header_names` are the fields that any policy sets, which no client may send on any path; `hostnames` are
    the hosts that any policy names; `watching` are the policies with a `logoutDetection`; `judges_http` is true where
    any policy judges more than WebSocket handshakes.
    """

    policies: tuple[WebSocketPolicy, ...]
    guard: GuardSpec = field(default_factory=GuardSpec)
    places: Mapping[str, Place] = field(default_factory=dict)
    identity_header_names: frozenset[bytes] = field(init=False, repr=False, compare=False)
    hostnames: tuple[HostPattern, ...] = field(init=False, repr=False, compare=False)
    watching: tuple[WebSocketPolicy, ...] = field(init=False, repr=False, compare=False)
    judges_http: bool = field(init=False, repr=False, compare=False)
    _matcher: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity_header_names", strip_names(policy.spec for policy in self.policies))
        hostnames = tuple(host for policy in self.policies for host in policy.spec.match.hostnames)
        object.__setattr__(self, "hostnames", hostnames)
        watching = tuple(policy for policy in self.policies if policy.spec.session.logout_detection is not None)
        object.__setattr__(self, "watching", watching)
        judges_http = any(policy.spec.streams != (Stream.WEB_SOCKET,) for policy in self.policies)
        object.__setattr__(self, "judges_http", judges_http)
        object.__setattr__(self, "_matcher", Matcher(self.policies))

    def find(self, authority: Authority, path: str) -> WebSocketPolicy | None:
        """The most specific policy for `path` (decoded) on `authority`, or None."""
        return self._matcher.find(authority, path)

    @property
    def issuers(self) -> frozenset[str]:
        """Everyone whose word about a subject counts: token issuers, and services that `forwardAuth` asks."""
        specs = [policy.spec for policy in self.policies]
        named = {provider.issuer or provider.name for spec in specs for provider in spec.providers}
        services = (spec.forward_auth for spec in specs)
        return frozenset(named | {service.issuer for service in services if service and service.subject_from})
