"""One admitted connection, as the registry knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from wsguard.protocol.reasons import CloseReason
from wsguard.sessions.identity import ClientCertificate, Identity


class Stream(Enum):
    """What a connection is: a WebSocket, or a request and its answer that are judged as one is."""

    WEB_SOCKET = "WebSocket"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"


class Traffic(NamedTuple):
    """What has passed so far: whole data messages and bytes on the wire, per direction.

    Of events those count that carry data; of requests and answers only the bytes of their bodies.
    """

    messages_from_client: int
    bytes_from_client: int
    messages_from_backend: int
    bytes_from_backend: int


class Link(Protocol):
    """The living end of a connection: what an operator, a deadline or a logout can ask of it."""

    def cut(self, reason: CloseReason, detail: str = "") -> None:
        """End the connection for `reason`. The first cause wins; later calls change nothing."""
        ...

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        """End the connection as `cut` does, but between two messages of either side, if that comes soon.

        `goodbye` is whole frames for the client to stand before its Close. `crowd` is how many are asked back
        together with it.
        """
        ...

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        """Send the client a whole frame of the guard's own at the next place between two messages, if one comes.

        `speak` is asked for it there; None: it has become pointless.
        """
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


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a client is sent away: `hint` and `goodbye` are whole frames, or empty, `grace` the seconds between them."""

    hint: bytes = b""
    goodbye: bytes = b""
    grace: float = 0.0


NO_WORDS = Farewell()
"""A Close, and nothing before it."""


@dataclass(slots=True, eq=False)
class Connection:
    """What is known of one admitted connection. `opened_at` and `expires_at` are seconds since the epoch.

    `path` is the request path without its query. `origin` is the Origin field as sent. `expires_at` is None where no
    credential bounds the connection's life; it includes the policy's clock skew. `host` is the name that was asked
    for, without its port; `certificate` is the client's own, if it has shown one. `others` are whom further good
    credentials speak for: the same subject in another session, or as another issuer names it. `opened_with` are those
    of the handshake whose place newer ones have taken (`sessions.renewal`). `watched` are the digests of the cookies
    that the handshake carried and the policy's `logoutDetection` names.
    `farewell` is what it is told when it has to leave for another guard. `stream` is what it is.
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
    host: str = ""
    certificate: ClientCertificate | None = None
    others: tuple[Identity, ...] = ()
    opened_with: tuple[Identity, ...] = ()
    watched: tuple[str, ...] = ()
    farewell: Farewell = NO_WORDS
    stream: Stream = Stream.WEB_SOCKET

    @property
    def known_by(self) -> tuple[Identity, ...]:
        """Everyone by whom a log-out finds it: also whom it was opened with."""
        return (*self.identities, *self.opened_with) if self.opened_with else self.identities

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Everyone whom a credential that it lives by speaks for."""
        return () if self.identity is None else (self.identity, *self.others)

    @property
    def cookies(self) -> frozenset[str]:
        """The digest of every session cookie by which the connection is found."""
        return frozenset((*self.watched, *(who.cookie for who in self.known_by if who.cookie is not None)))
