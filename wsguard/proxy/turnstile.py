"""Counts handshakes and connections against the policy's limits, and says no where there is no room.

Law: a place is reserved before anything is waited for, and given back however the handshake ends. Where a policy only
audits, whoever would have been refused is let in and counts nowhere, so that everyone else is counted as if it were not
there.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import LRUCache

from wsguard.policy.caps import UNAUTHENTICATED, claims_of, client_word, door_claims, holder_claims
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.model import Connections, Enforcement, Newcomer, Rate
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.attempt import Attempt
from wsguard.sessions.census import Claim
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Connection
from wsguard.sessions.registry import Registry
from wsguard.sessions.token_bucket import TokenBucket

MOST_CLIENTS = 20_000
"""Addresses whose handshakes are counted at once; who has not come for longest is forgotten first."""


class Turnstile:
    """The limits at the door of the `policies` in force. Costs next to nothing where they have none."""

    def __init__(self, registry: Registry, clock: Clock, policies: Callable[[], PolicySet]) -> None:
        self._registry = registry
        self._clock = clock
        self._in_force = policies
        self._policies = policies()
        self._caps = _caps(self._policies)
        self._rates = _rates(self._policies)
        self._buckets: LRUCache[tuple[str, str], TokenBucket] = LRUCache(MOST_CLIENTS)

    def knock(self, attempt: Attempt) -> Refuse | None:
        """Count a handshake, before anything is known of it but where it comes from and which policy is for it."""
        self._follow()
        rate = self._rates.get(attempt.policy.name) if attempt.policy is not None else None
        if rate is None or attempt.policy is None:
            return None
        client = client_word(attempt.case.effective.client_ip, self._policies.guard)
        if client is None:
            return None
        key, now = (attempt.policy.name, client), self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(rate.per_second, rate.at_once)
        if bucket.take(now):
            return None
        detail = f"limits.handshakes.perClientIP: more than {rate.requests} a {rate.unit.value} from {client}"
        return self._refuse(attempt, Refuse(CloseReason.HANDSHAKE_RATE, detail, bucket.wait(now)))

    def reserve(self, attempt: Attempt, *, is_awaited: bool) -> Refuse | None:
        """Hold what needs no identity. `is_awaited`: nothing is known of the client until its first message."""
        policy = attempt.policy
        caps = self._caps.get(policy.name) if policy is not None else None
        if caps is None or policy is None:
            return None
        claims = self._door(attempt, policy.name, caps)
        if is_awaited:
            claims += holder_claims(policy.name, caps, ())
        return self._hold(attempt, caps, claims)

    def seat(self, attempt: Attempt, admit: Admit) -> Refuse | None:
        """Hold what is left, now that it is known who it is."""
        policy = attempt.policy
        caps = self._caps.get(policy.name) if policy is not None else None
        if caps is None or policy is None:
            return None
        who = () if admit.identity is None else (admit.identity, *admit.others)
        if who:
            self._registry.census.give_back(attempt.id, (policy.name, UNAUTHENTICATED, ""))
        claims = [*self._door(attempt, policy.name, caps), *holder_claims(policy.name, caps, who)]
        return self._hold(attempt, caps, claims)

    def abandon(self, attempt: Attempt) -> None:
        """The handshake is over; where a connection has come of it, that goes on."""
        self._registry.census.abandon(attempt.id)

    def enter(self, connection: Connection) -> None:
        """It is open; where `onExceed` says so, those that are here longest make room for it."""
        self._follow()
        if not self._caps:
            return
        claims = self._claims(connection)
        census = self._registry.census
        census.open(connection, [claim.key for claim in claims])
        if claims and self._caps[connection.policy].on_exceed is Newcomer.CLOSE_OLDEST:
            for claim, oldest in census.surplus(claims):
                oldest.link.cut(CloseReason.TOO_MANY_CONNECTIONS, f"{self._said(claim)}: closed for a newer one")

    def move(self, connection: Connection) -> None:
        """It lives under another policy from now on: nobody makes room for who was here before."""
        self._follow()
        if self._caps:
            self._registry.census.open(connection, [claim.key for claim in self._claims(connection)])

    def leave(self, connection: Connection) -> None:
        """It is over."""
        self._registry.census.leave(connection.id)

    def _follow(self) -> None:
        """Count as the policies in force say; where they say something new, everyone anew, those longest here first."""
        policies = self._in_force()
        if policies is self._policies:
            return
        before = (self._caps, self._policies.guard.client_ip_detection)
        rates, self._rates = self._rates, _rates(policies)
        self._caps, self._policies = _caps(policies), policies
        if rates != self._rates:
            self._buckets.clear()
        if (self._caps, policies.guard.client_ip_detection) != before:
            for each in sorted(self._registry, key=lambda connection: connection.opened_at):
                self._registry.census.open(each, [claim.key for claim in self._claims(each)])

    def _claims(self, connection: Connection) -> list[Claim]:
        caps = self._caps.get(connection.policy)
        return [] if caps is None else claims_of(connection, caps, self._policies.guard)

    def _door(self, attempt: Attempt, policy: str, caps: Connections) -> list[Claim]:
        client = client_word(attempt.case.effective.client_ip, self._policies.guard)
        return door_claims(policy, caps, client, attempt.handshake.origin)

    def _hold(self, attempt: Attempt, caps: Connections, claims: list[Claim]) -> Refuse | None:
        if attempt.spared is not None:
            return None  # it counts nowhere
        replaces = caps.on_exceed is Newcomer.CLOSE_OLDEST
        full = self._registry.census.reserve(attempt.id, claims, replaces=replaces)
        if full is None:
            return None
        return self._refuse(attempt, Refuse(CloseReason.TOO_MANY_CONNECTIONS, self._said(full)))

    def _refuse(self, attempt: Attempt, refusal: Refuse) -> Refuse | None:
        policy = attempt.policy
        if policy is None or policy.spec.enforcement is not Enforcement.AUDIT:
            return refusal
        self._registry.census.abandon(attempt.id)
        attempt.spared = attempt.spared or refusal
        return None

    def _said(self, claim: Claim) -> str:
        elsewhere = self._registry.census.count_elsewhere(claim.key)
        told = f" ({elsewhere} at other replicas)" if elsewhere else ""
        return f"limits.connections.{claim.key[1]} is {claim.most}{told}"


def _caps(policies: PolicySet) -> dict[str, Connections]:
    found = ((policy.name, policy.spec.limits.connections) for policy in policies.policies)
    return {name: caps for name, caps in found if caps is not None}


def _rates(policies: PolicySet) -> dict[str, Rate]:
    found = ((policy.name, policy.spec.limits.handshakes) for policy in policies.policies)
    return {name: spec.per_client_ip for name, spec in found if spec is not None}
