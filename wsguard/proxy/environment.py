"""What the door and every connection behind it share, and what the proxy asks of its siblings.

Siblings on floor 2 do not import one another: each need is a small Protocol here, and rooms.py makes the introductions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from wsguard.policy.effective import Effective
from wsguard.policy.evidence import Evidence
from wsguard.policy.handshake_token import TokenKeys
from wsguard.policy.logout_detection import Exchange
from wsguard.policy.policy_set import PolicySet
from wsguard.protocol.http import Headers, RequestHead
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.backends import Backends
from wsguard.proxy.gathering import Approver, Verifier
from wsguard.proxy.keepalive import Keepalive
from wsguard.proxy.lobby import Lobby
from wsguard.proxy.redialer import Redialer
from wsguard.proxy.rejudger import Rejudger
from wsguard.proxy.renewer import Renewer
from wsguard.proxy.timekeeper import Timekeeper
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Link
from wsguard.sessions.denylist import DenyList
from wsguard.sessions.overload import Overload
from wsguard.sessions.records import Decided, Delivery, Ended, Rejoined, Renewed
from wsguard.sessions.registry import Registry

if TYPE_CHECKING:
    from wsguard.proxy.turnstile import Turnstile


class Revalidator(Protocol):
    """Who asks again about live connections (wsguard.identity)."""

    def enter(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        """A connection was admitted for `evidence`; cut `link` when that is good no more."""
        ...

    def renew(self, connection_id: str, link: Link, evidence: Evidence) -> None:
        """A connection lives by `evidence` from now on, as far as that goes, and no more by what it replaces."""
        ...

    def leave(self, connection_id: str) -> None:
        """The connection is over."""
        ...


class SessionWatch(Protocol):
    """Who looks for the application's own log-outs (wsguard.events)."""

    def concerns(self, request: RequestHead, effective: Effective) -> bool:
        """Whether the answer to `request` may say something of a session. Raises nothing."""
        ...

    def notice(self, exchange: Exchange) -> asyncio.Future[Any] | None:
        """Act on what an exchange with the backend says; the future, if any, is done once all replicas can know."""
        ...


class Observer(Protocol):
    """Who is told (wsguard.ops)."""

    def decided(self, record: Decided) -> None:
        """A handshake has its outcome."""
        ...

    def ended(self, record: Ended) -> None:
        """An admitted connection is over."""
        ...

    def spared(self, connection_id: str, policy: str, reason: CloseReason, detail: str) -> None:
        """A policy that only audits would have cut this connection."""
        ...

    def throttled(self, connection_id: str, policy: str, reason: CloseReason) -> None:
        """A client sends faster than its policy allows, and is held back from now on; told once a limit."""
        ...

    def rejudged(self, judged: int, cut: int) -> None:
        """The policies have changed, and live connections were judged again."""
        ...

    def held(self, connection_id: str, policy: str, backend: str) -> None:
        """A client has lost its backend, and is held."""
        ...

    def not_held(self, connection_id: str, policy: str, detail: str) -> None:
        """A connection was opened that will not be held, though its policy holds."""
        ...

    def redialled(self, policy: str, result: str) -> None:
        """A backend was dialled for a client that is held, or was not for the sake of the policy."""
        ...

    def rejoined(self, record: Rejoined) -> None:
        """A client that was held has a backend again."""
        ...

    def holding(self, count: int) -> None:
        """So many clients are held now."""
        ...

    def renewed(self, record: Renewed) -> None:
        """A newer credential of their session was shown for live connections."""
        ...

    def turned_away(self, client_ip: str, status: int, detail: str) -> None:
        """A request that is neither a valid handshake nor to be forwarded got a plain HTTP answer."""
        ...

    def body_cut_short(self, client_ip: str, detail: str) -> None:
        """The backend's response ended before it was whole, when its head had gone on already."""
        ...

    def lingering(self, count: int) -> None:
        """So many refused clients are being waited for now."""
        ...

    def lingered(self, delivery: Delivery) -> None:
        """A refused client is waited for no more; `delivery` says what became of its Close."""
        ...

    def lingering_exceeded(self) -> None:
        """A refusal was plain HTTP, or an RST, because `rejection.maxLingering` clients were lingering already."""
        ...

    def fault(self, where: str, error: BaseException) -> None:
        """A bug, or something outside that nobody expected: the guard failed closed and goes on."""
        ...


class Trace(Protocol):
    """The trace of one handshake (wsguard.ops). `id` is 32 hexadecimal digits."""

    id: str

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields by which the backend's own trace becomes a part of it."""
        ...

    def end(self, record: Decided) -> None:
        """The handshake has its outcome."""
        ...


class Tracer(Protocol):
    """Who traces handshakes (wsguard.ops)."""

    def begin(self, headers: Headers, path: str, host: str, *, is_trusted: bool) -> Trace:
        """A handshake has come; what its `headers` say of a trace counts where a trusted peer sent them."""
        ...


@dataclass(slots=True)
class Environment:
    """The rooms around a connection. `policies` gives the set that is in force now; it changes with a reload, and so do
    `token_keys`, the keys of handshake tokens by the name of their file. While `is_draining` nobody is let in.

    Without an `approver` a policy with `forwardAuth` refuses; without a `revalidator` nobody is asked again, without a
    `tracer` nothing is traced, without a `session_watch` no log-out is detected.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    rng: Random
    registry: Registry
    deny_list: DenyList
    timekeeper: Timekeeper
    keepalive: Keepalive
    rejudger: Rejudger
    renewer: Renewer
    turnstile: Turnstile
    lobby: Lobby
    redialer: Redialer
    verifier: Verifier
    observer: Observer
    policies: Callable[[], PolicySet]
    is_draining: Callable[[], bool]
    backends: Backends
    approver: Approver | None = None
    revalidator: Revalidator | None = None
    tracer: Tracer | None = None
    session_watch: SessionWatch | None = None
    token_keys: Callable[[], Mapping[str, TokenKeys]] = dict
    overload: Overload = field(default_factory=Overload)
