"""One handshake under way: what is known of it, and the records that it becomes."""

from __future__ import annotations

from asyncio import Transport
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import web

from wsguard.policy.case import Case
from wsguard.policy.credentials import Credential, CredentialConflict
from wsguard.policy.decision import Admit, Refuse
from wsguard.policy.effective import IPAddress, written_ip
from wsguard.policy.model import WebSocketPolicy
from wsguard.policy.page import page_of, written
from wsguard.protocol.handshake import Handshake
from wsguard.protocol.trace_context import request_id, trace_id
from wsguard.proxy.environment import Trace
from wsguard.proxy.half import Half
from wsguard.proxy.takeover import take_over
from wsguard.proxy.waiting import Waiting
from wsguard.sessions.connection import Connection, Link, Stream
from wsguard.sessions.records import Decided, Result

_NOBODY = Admit()


@dataclass(slots=True)
class Attempt:
    """`ends` is monotonic seconds: when the answer is due. `case` grows as facts come in.

    `client` is aiohttp's request, or who waits behind a 101 for its first message to be judged; that 101 has promised
    the subprotocol `promised`, or none. `trace` is None where nothing is traced. `spared` is the first limit that
    would have refused it, did the policy not only audit. `is_good`: it was judged, and admitted.
    """

    id: str
    client: web.BaseRequest | Waiting
    case: Case
    peer: IPAddress | None
    tls: bool
    started: float
    ends: float
    promised: str | None = None
    trace: Trace | None = None
    spared: Refuse | None = None
    is_good: bool = False

    @property
    def handshake(self) -> Handshake:
        """What the client asked for."""
        return self.case.handshake

    @property
    def policy(self) -> WebSocketPolicy | None:
        """The policy that speaks for it; None: no policy does."""
        return self.case.policy

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Those that were found, so far."""
        found = self.case.credentials
        return () if isinstance(found, CredentialConflict) else found

    @property
    def is_answered(self) -> bool:
        """Whether the client has its 101 already."""
        return isinstance(self.client, Waiting)

    def remaining(self, now: float) -> float:
        """Seconds that it may still take at `now` (monotonic seconds)."""
        return max(self.ends - now, 0.001)

    def hand_over(self, half: Half) -> tuple[Transport, bytes]:
        """Give the client's transport to `half`, with the bytes that came from it. Raises ConnectionResetError."""
        if isinstance(self.client, Waiting):
            return self.client.hand_over(half)
        return take_over(self.client, half)

    def decided(self, result: Result, refusal: Refuse | None, code: int, admit: Admit | None, now: float) -> Decided:
        """The record of the decision, made at `now` (monotonic seconds)."""
        admit = admit or _NOBODY
        known = self.case.identities
        return Decided(
            connection_id=self.id,
            policy=self.policy.name if self.policy else None,
            result=result,
            reason=refusal.reason if refusal else None,
            code=code,
            detail=refusal.detail if refusal else admit.warning,
            origin=self._origin,
            client_ip=self._client_ip,
            scheme=self.case.effective.scheme,
            host=str(self.case.effective.authority),
            path=self.handshake.path,
            identity=admit.identity or (known[0] if known else None),
            duration=now - self.started,
            trace_id=trace_id(self.handshake.head.headers) if self.trace is None else self.trace.id,
            request_id=request_id(self.handshake.head.headers),
            stream=self.case.stream,
        )

    def connection(
        self,
        policy: WebSocketPolicy,
        admit: Admit,
        backend: str,
        now: float,
        link: Link,
        watched: tuple[str, ...],
    ) -> Connection:
        """What it is in the registry, opened at `now` (seconds since the epoch)."""
        expires_at = admit.expires_at
        return Connection(
            id=self.id,
            policy=policy.name,
            identity=admit.identity,
            origin=self._page,
            client_ip=self._client_ip,
            path=self.handshake.path,
            backend=backend,
            opened_at=now,
            expires_at=None if expires_at is None else expires_at + policy.spec.session.clock_skew,
            link=link,
            others=admit.others,
            watched=watched,
            stream=self.case.stream,
        )

    @property
    def _origin(self) -> str | None:
        origin = self.handshake.origin
        return None if origin is None else _text(origin)

    @property
    def _page(self) -> str | None:
        """The origin of the page: its Origin, or what a browser says in its place."""
        case = self.case
        if self._origin is not None or case.stream is Stream.WEB_SOCKET:
            return self._origin
        page = page_of(case.handshake.head, case.effective)
        return None if page is None else written(page)

    @property
    def _client_ip(self) -> str:
        return written_ip(self.case.effective.client_ip)


@lru_cache(maxsize=256)
def _text(origin: bytes) -> str:
    """One string for all connections of a page."""
    return origin.decode("latin-1")
