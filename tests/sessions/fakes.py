"""Connections with nothing behind them, for what only needs to list, find and cut them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.connection import Connection, Traffic
from wsguard.sessions.identity import Identity

NOTHING_PASSED = Traffic(0, 0, 0, 0)


@dataclass
class FakeLink:
    """Remembers the first cut."""

    passed: Traffic = NOTHING_PASSED
    state: str = "open"
    last_message_at: float = 0.0
    cuts: list[tuple[CloseReason, str]] = field(default_factory=list)

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        if not self.cuts:
            self.cuts.append((reason, detail))
            self.state = "closing"

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        self.cut(reason)

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        pass

    def traffic(self) -> Traffic:
        return self.passed

    @property
    def reason(self) -> CloseReason | None:
        return self.cuts[0][0] if self.cuts else None


def identity(
    subject: str = "alice",
    issuer: str = "https://idp.test",
    *,
    sid: str | None = None,
    jti: str | None = None,
    issued_at: float | None = 1_000.0,
    expires_at: float | None = 4_600.0,
) -> Identity:
    return Identity(
        provider="corp",
        issuer=issuer,
        subject=subject,
        source="cookie:session",
        sid=sid,
        jti=jti,
        issued_at=issued_at,
        expires_at=expires_at,
    )


def connection(
    connection_id: str,
    who: Identity | None = None,
    *,
    policy: str = "chat",
    path: str = "/ws",
    origin: str | None = "https://app.test",
    link: FakeLink | None = None,
    others: tuple[Identity, ...] = (),
    watched: tuple[str, ...] = (),
    backend: str = "default",
) -> Connection:
    return Connection(
        id=connection_id,
        policy=policy,
        identity=who,
        origin=origin,
        client_ip="192.0.2.7",
        path=path,
        backend=backend,
        opened_at=1_000.0,
        expires_at=who.expires_at if who else None,
        link=link or FakeLink(),
        others=others,
        watched=watched,
    )


def link_of(connection: Connection) -> FakeLink:
    assert isinstance(connection.link, FakeLink)
    return connection.link
