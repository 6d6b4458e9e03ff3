"""Rules on who may connect: the parts of a rule AND, values OR, the first rule that matches decides.

Law: what cannot be told lets nobody in and keeps everybody out: such a part matches in a rule that denies, and in no
rule that allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple

from wsguard.policy.cel import Activation, Unclear
from wsguard.policy.claims import lookup, texts
from wsguard.policy.model_authorization import Action
from wsguard.sessions.identity import ClientCertificate, Identity

if TYPE_CHECKING:
    from wsguard.policy.model import Authorization, ClaimMatch, JwtPrincipal, Principal

IPAddress = IPv4Address | IPv6Address


class Ruling(NamedTuple):
    """Whether the caller may connect, and which rule said so, for the log.

    `unclear` says which rules on the way could not be told, and why; it quotes nothing that the caller sent.
    """

    allowed: bool
    by: str
    unclear: str = ""

    @property
    def detail(self) -> str:
        """All of it as a sentence."""
        return f"{self.by}; {self.unclear}" if self.unclear else self.by


@dataclass(frozen=True)
class Caller:
    """What rules may look at: who asks (None: anonymous), from where (None: unknown), for what and when.

    `host` is without its port, `path` percent-decoded, `origin` as it was sent; `certificate` is what the
    client has shown in its TLS handshake (None: nothing); `now` is seconds since the epoch.
    """

    identity: Identity | None = None
    client_ip: IPAddress | None = None
    host: str = field(default="", kw_only=True)
    path: str = field(default="", kw_only=True)
    origin: str | None = field(default=None, kw_only=True)
    certificate: ClientCertificate | None = field(default=None, kw_only=True)
    now: float = field(default=0.0, kw_only=True)

    @cached_property
    def activation(self) -> Activation:
        """The same for expressions (`cel.VARIABLES`)."""
        who = self.identity
        values: dict[str, object] = {
            "claims": dict(who.claims) if who else {},
            "issuer": who.issuer if who else "",
            "subject": who.subject if who else "",
            "scopes": sorted(filter(None, _scopes(who))) if who else [],
            "source": who.source if who else "",
            "request.host": self.host,
            "request.path": self.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
            "request.origin": self.origin or "",
            "client_cert.subject": self.certificate.subject if self.certificate else "",
            "client_cert.sans": list(self.certificate.sans) if self.certificate else [],
            "now": datetime.fromtimestamp(self.now, UTC),
        }
        if self.client_ip is not None:
            values["client_ip"] = str(self.client_ip)
        return Activation(values)


def authorize(spec: Authorization | None, caller: Caller) -> Ruling:
    """What `spec` says of `caller`.

    Without rules every caller is allowed who came this far: whether a credential is needed at all is the
    business of `jwt.optional`.
    """
    if spec is None:
        return Ruling(True, "no authorization rules")
    unclear: list[str] = []
    for number, rule in enumerate(spec.rules, 1):
        name = f"rule {rule.name!r}" if rule.name else f"rule {number}"
        if rule.principal is not None and not _is_about(rule.principal, rule.action, caller):
            continue
        answer = True if rule.cel is None else rule.cel.ask(caller.activation)
        if isinstance(answer, Unclear):
            unclear.append(f"the cel of {name} cannot be told: {answer.why}")
            answer = rule.action is Action.DENY
        if answer:
            return Ruling(rule.action is Action.ALLOW, f"{name} ({rule.action.value})", "; ".join(unclear))
    default = spec.default_action
    by = f"no rule matches: defaultAction {default.value}"
    return Ruling(default is Action.ALLOW, by, "; ".join(unclear))


def _is_about(principal: Principal, action: Action, caller: Caller) -> bool:
    if principal.jwt is not None and not (caller.identity is not None and _is(principal.jwt, caller.identity)):
        return False
    if not principal.client_cidrs:
        return True
    if caller.client_ip is None:
        return action is Action.DENY
    return any(caller.client_ip in network for network in principal.client_cidrs)


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
