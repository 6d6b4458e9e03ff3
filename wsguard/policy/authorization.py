"""Rules on who may connect: the parts of a rule AND, values OR, the first rule that matches decides."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple

from wsguard.policy.claims import lookup, texts
from wsguard.policy.model_authorization import Action
from wsguard.sessions.identity import Identity

if TYPE_CHECKING:
    from wsguard.policy.model import Authorization, ClaimMatch, JwtPrincipal, Rule

IPAddress = IPv4Address | IPv6Address


class Ruling(NamedTuple):
    """Whether the caller may connect, and which rule said so, for the log."""

    allowed: bool
    by: str


def authorize(spec: Authorization | None, identity: Identity | None, client_ip: IPAddress | None) -> Ruling:
    """What `spec` says of `identity` (None: anonymous) at `client_ip` (None: unknown).

    Without rules every caller is allowed who came this far: whether a credential is needed at all is the
    business of `jwt.optional`.
    """
    if spec is None:
        return Ruling(True, "no authorization rules")
    for number, rule in enumerate(spec.rules, 1):
        if _matches(rule, identity, client_ip):
            name = f"rule {rule.name!r}" if rule.name else f"rule {number}"
            return Ruling(rule.action is Action.ALLOW, f"{name} ({rule.action.value})")
    default = spec.default_action
    return Ruling(default is Action.ALLOW, f"no rule matches: defaultAction {default.value}")


def _matches(rule: Rule, identity: Identity | None, client_ip: IPAddress | None) -> bool:
    principal = rule.principal
    if principal is None:
        return True
    if principal.jwt is not None and not (identity is not None and _is(principal.jwt, identity)):
        return False
    if not principal.client_cidrs:
        return True
    if client_ip is None:  # fail closed: who cannot be placed is let in by no network, and kept out by any
        return rule.action is Action.DENY
    return any(client_ip in network for network in principal.client_cidrs)


def _is(wanted: JwtPrincipal, identity: Identity) -> bool:
    if wanted.provider is not None and wanted.provider != identity.provider:
        return False
    if not all(_has(claim, identity) for claim in wanted.claims):
        return False
    return not wanted.scopes or _scopes(identity).issuperset(wanted.scopes)


def _has(wanted: ClaimMatch, identity: Identity) -> bool:
    found = texts(lookup(identity.claims, wanted.name))
    return found is not None and not set(found).isdisjoint(wanted.values)


def _scopes(identity: Identity) -> frozenset[str]:
    """RFC 8693 §4.2 writes `scope` as words in one string; others write `scp`, some of them as a list."""
    return frozenset(scope for name in ("scope", "scp") for scope in _words(identity.claims.get(name)))


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split(" ")
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
