"""Cases to judge: a handshake, the policy that speaks for it, and what is known of its credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.policy.minting import provider
from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential, Kind
from wsguard.policy.decision import Decision, Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.hosts import HostPattern
from wsguard.policy.judge import judge, judge_early
from wsguard.policy.model import (
    Action,
    Authorization,
    GuardSpec,
    Jwt,
    Match,
    Metadata,
    PolicySpec,
    WebSocketPolicy,
)
from wsguard.policy.policy_set import PolicySet
from wsguard.policy.tokens import TokenFact, TokenProblem
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.identity import Identity

NOW = 1_800_000_000.0
HOST = "app.example"
SAME, FOREIGN = b"https://app.example", b"https://evil.example"
JWT = Jwt(providers=(provider("HS256", claim_to_headers=({"claim": "sub", "header": "X-User"},)),))
DENY_ALL = Authorization(default_action=Action.DENY, rules=({"name": "none", "action": "Deny"},))


def policy(**spec: Any) -> WebSocketPolicy:
    """A policy for `HOST`."""
    match = Match(hostnames=(HostPattern.parse(HOST),))
    return WebSocketPolicy(metadata=Metadata(name="chat"), spec=PolicySpec(**{"match": match, "jwt": JWT, **spec}))


def identity(subject: str = "ann", expires_at: float = NOW + 600.0, **fields: Any) -> Identity:
    claims = {"sub": subject, "exp": expires_at}
    return Identity("corp", "https://idp", subject, "cookie:session", expires_at=expires_at, claims=claims, **fields)


def facts(*outcomes: Identity | TokenProblem) -> Sequence[TokenFact]:
    """What became of as many cookies."""
    return [
        TokenFact(Credential(Kind.COOKIE, f"c{at}", ("corp",), True, "s3cret"), outcome)
        for at, outcome in enumerate(outcomes)
    ]


def case(
    origin: bytes | None = SAME, *, host: str = HOST, speaks: WebSocketPolicy | None = None, **fields: Any
) -> Case:
    """A handshake of a page of `origin`; `speaks` is the policy that matched."""
    sent = ((b"Origin", origin),) if origin is not None else ()
    head = RequestHead("GET", "/ws", (1, 1), Headers((*sent, *fields.pop("headers", ()))))
    effective = Effective(None, None, Authority(host), trusted_peer=False)
    guard = fields.pop("guard", GuardSpec())
    policies = PolicySet((speaks,) if speaks else (), guard)
    made = Case(Handshake(head, "/ws", b"", origin, (), None), effective, speaks, policies, NOW, DenyList())
    return replace(made, **fields)


def verdict(judged: Case) -> Decision:
    """Both steps."""
    return judge_early(judged) or judge(judged)


def reason(judged: Case) -> CloseReason | None:
    """Why not; None: why not."""
    decision = verdict(judged)
    return decision.reason if isinstance(decision, Refuse) else None
