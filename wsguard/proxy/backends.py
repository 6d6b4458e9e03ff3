"""The backends by name: which one new connections and requests go to, what is under way at each, how each fares.

Law: nothing that has begun changes its backend. Who chooses again (`activate`) chooses for what comes from then on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from wsguard.policy.model import Backend
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.dial import connect
from wsguard.sessions.clock import Clock
from wsguard.sessions.connection import Stream

FAILURES = 5
"""Handshakes in a row (event streams, long polls) without a usable answer, after which a backend that can be dialled is
in doubt all the same."""

SILENCE = 3.0
"""Seconds for which a backend may leave as many handshakes without any answer."""

_PATIENCE = 5.0  # seconds; an operator waits for the answer
_GATEWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


_NAMES = {
    Stream.WEB_SOCKET: "handshakes",
    Stream.SERVER_SENT_EVENTS: "event streams",
    Stream.LONG_POLLING: "long polls",
}


@dataclass(slots=True)
class _Streak:
    """How many of one kind have failed in a row, and why the latest did."""

    failures: int = 0
    why: str = ""


def _streaks() -> dict[Stream, _Streak]:
    return {stream: _Streak() for stream in Stream}


@dataclass(slots=True)
class _Use:
    """What is under way at a backend, and how the latest there went. Moments are on the monotonic clock.

    `heard_at` is when a handshake last had an answer, or when the first of those under way began.
    """

    handshakes: int = 0
    requests: int = 0
    streaks: dict[Stream, _Streak] = field(default_factory=_streaks)
    is_unreachable: bool = False
    served_at: float = float("-inf")
    heard_at: float = float("-inf")


class Backends:
    """All that there are; at first the first of them is `active`. `tls` gives what is trusted of those with TLS now."""

    def __init__(
        self,
        backends: tuple[Backend, ...],
        clock: Clock,
        tls: Callable[[], Mapping[str, ssl.SSLContext]] = dict,
    ) -> None:
        self._clock = clock
        self._tls = tls
        self.by_name: Mapping[str, Backend] = {backend.name: backend for backend in backends}
        self._uses = {name: _Use() for name in self.by_name}
        self.active = backends[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, in the order of the file."""
        return tuple(self.by_name)

    @property
    def active_name(self) -> str:
        """Where new connections and requests go."""
        return self.active.name

    def activate(self, name: str) -> None:
        """Send what is new there; what was held against it is forgotten."""
        self.active = self.by_name[name]
        self._uses[name].streaks = _streaks()

    def tls(self, backend: Backend) -> ssl.SSLContext | None:
        """What is trusted of `backend`, where it speaks TLS; it changes with a reload."""
        return self._tls().get(backend.name)

    @contextmanager
    def handshake(self) -> Iterator[Backend]:
        """The backend for one handshake, which is counted until it is registered or refused."""
        backend = self.active
        use = self._uses[backend.name]
        if not use.handshakes:
            use.heard_at = self._clock.monotonic()
        use.handshakes += 1
        try:
            yield backend
        finally:
            use.handshakes -= 1

    @contextmanager
    def request(self) -> Iterator[Backend]:
        """The backend for one plain request, which is counted until its answer is through."""
        backend = self.active
        use = self._uses[backend.name]
        use.requests += 1
        try:
            yield backend
        finally:
            use.requests -= 1

    def handshakes(self, name: str) -> int:
        """How many are under way there."""
        return self._uses[name].handshakes

    def requests(self, name: str) -> int:
        """How many forwarded ones are under way there, streams of events among them."""
        return self._uses[name].requests

    def answered(
        self,
        backend: Backend,
        reason: CloseReason | None,
        status: int = 0,
        detail: str = "",
        stream: Stream = Stream.WEB_SOCKET,
    ) -> None:
        """A handshake there, or a judged request, has come to `reason`; None: it was accepted. `status` is the HTTP
        status of a refusal.

        Held against it is what no client is to blame for: silence, garbage, and the statuses of a dead gateway. Each
        kind counts by itself, for an application may well answer one and not the other.
        """
        use, now = self._uses[backend.name], self._clock.monotonic()
        streak = use.streaks[stream]
        use.is_unreachable = reason is CloseReason.BACKEND_UNREACHABLE
        if stream is Stream.WEB_SOCKET and reason is not CloseReason.BACKEND_TIMEOUT:
            use.heard_at = now
        if reason is None:
            streak.failures, use.served_at = 0, now
        elif reason in (CloseReason.BACKEND_INVALID, CloseReason.BACKEND_TIMEOUT) or status in _GATEWAY:
            streak.failures, streak.why = streak.failures + 1, detail

    def doubt(self, name: str) -> str | None:
        """What the latest there says against it, as a sentence; not that a stream has no answer yet: it may wait."""
        use = self._uses[name]
        for stream, streak in use.streaks.items():
            if streak.failures >= FAILURES:
                return f"{name} has failed {streak.failures} {_NAMES[stream]} in a row: {streak.why}"
        if use.handshakes >= FAILURES and self._clock.monotonic() - use.heard_at >= SILENCE:
            return f"{name} leaves {use.handshakes} handshakes without an answer"
        return None

    def has_served(self, name: str, seconds: float) -> bool:
        """Whether it has accepted a handshake, or answered a judged request, in the last `seconds`."""
        return self._clock.monotonic() - self._uses[name].served_at <= seconds

    def is_unreachable(self, name: str) -> bool:
        """Whether the latest handshake or judged request there got no connection."""
        return self._uses[name].is_unreachable

    async def dial_problem(self, name: str) -> str | None:
        """Connect to it, with TLS where it speaks that, and say what is wrong; None: nothing is."""
        backend = self.by_name[name]
        patience = min(backend.connect_timeout, _PATIENCE)
        try:
            async with asyncio.timeout(patience):
                transport = await connect(asyncio.get_running_loop(), asyncio.Protocol, backend, self.tls(backend))
        except TimeoutError:
            return f"{name} cannot be dialled: it takes longer than {patience:g}s"
        except OSError as error:
            return f"{name} cannot be dialled: {error}"
        transport.abort()
        return None
