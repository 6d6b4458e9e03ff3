"""What an observer is told of one handshake and of one connection."""

from __future__ import annotations

from tests.sessions.fakes import identity
from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Traffic
from wsguard.sessions.records import Decided, Ended, Initiator, Result


def decided(result: Result = "admitted", reason: CloseReason | None = None, policy: str | None = "chat") -> Decided:
    """A handshake of Alice's, and what became of it."""
    return Decided(
        connection_id="c1",
        policy=policy,
        result=result,
        reason=reason,
        code=reason.code if reason else 0,
        detail="",
        origin="https://app.test",
        client_ip="192.0.2.7",
        scheme="https",
        host="app.test",
        path="/ws",
        identity=identity(sid="s1"),
        duration=0.003,
    )


def ended(
    reason: CloseReason = CloseReason.CLIENT_CLOSED,
    initiator: Initiator = "client",
    code: int = 1000,
    traffic: Traffic = Traffic(1, 10, 2, 200),  # noqa: B008 - a value
) -> Ended:
    """A connection of Alice's, and how it ended."""
    return Ended(
        backend="default",
        connection_id="c1",
        policy="chat",
        initiator=initiator,
        reason=reason,
        code=code,
        phase="open",
        delivery="acknowledged",
        detail="",
        identity=identity(sid="s1", jti="j1"),
        client_ip="192.0.2.7",
        path="/ws",
        duration=12.5,
        traffic=traffic,
    )
