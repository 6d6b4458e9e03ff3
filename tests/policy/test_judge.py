"""What the checks of a handshake say."""

from __future__ import annotations

from wsguard.policy.decision import Refuse
from wsguard.policy.effective import Effective
from wsguard.policy.judge import Case, check_origin
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.authority import Authority
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.http import Headers, RequestHead
from wsguard.sessions.denylist import DenyList


def case(origin: bytes) -> Case:
    """A handshake of a page of `origin` under no policy."""
    head = RequestHead("GET", "/ws", (1, 1), Headers(((b"Origin", origin),)))
    effective = Effective(None, None, Authority("app.example"), trusted_peer=False)
    handshake = Handshake(head, "/ws", b"", origin, (), None)
    return Case(handshake, effective, None, PolicySet(()), 0.0, DenyList())


def test_an_origin_is_told_without_its_query_and_without_controls() -> None:
    """No browser sends either; who made one up may have put a secret there, or an escape sequence."""
    refusal = check_origin(case(b"https://evil.example\x1b[31m/?token=s3cr3t"))
    assert isinstance(refusal, Refuse)
    assert refusal.detail == "https://evil.example\\x1b[31m/ is none of: SameHost"
