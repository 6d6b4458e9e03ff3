"""One admitted connection, as the registry knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import Identity


class Traffic(NamedTuple):
    """What has passed so far: whole data messages and bytes on the wire, per direction."""

    messages_from_client: int
    bytes_from_client: int
    messages_from_backend: int
    bytes_from_backend: int


class Link(Protocol):
    """The living end of a connection: what an operator, a deadline or a logout can ask of it."""

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        """End the connection for `reason`. The first cause wins; later calls change nothing."""
        ...

    def traffic(self) -> Traffic:
        """What has passed so far."""
        ...

    @property
    def state(self) -> str:
        """The phase of the state table, as a word."""
        ...

    @property
    def last_message_at(self) -> float:
        """When a part of a data message last passed, on the monotonic clock; the opening counts as one."""
        ...


@dataclass(slots=True, eq=False)
class Connection:
    """What is known of one admitted connection. `opened_at` and `expires_at` are seconds since the epoch.

    `path` is the request path without its query. `origin` is the Origin field as sent. `expires_at` is None where no
    credential bounds the connection's life; it includes the policy's clock skew. `others` are whom further good
    credentials of the handshake speak for: the same subject in another session, or as another issuer names it.
    `watched` are the digests of the cookies that the handshake carried and the policy's `logoutDetection` names.
    """

    id: str
    policy: str
    identity: Identity | None
    origin: str | None
    client_ip: str
    path: str
    backend: str
    opened_at: float
    expires_at: float | None
    link: Link
    others: tuple[Identity, ...] = ()
    watched: tuple[str, ...] = ()

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Everyone who may be logged out, which ends the connection."""
        return () if self.identity is None else (self.identity, *self.others)

    @property
    def cookies(self) -> frozenset[str]:
        """The digest of every session cookie by which the connection is found."""
        return frozenset((*self.watched, *(who.cookie for who in self.identities if who.cookie is not None)))
