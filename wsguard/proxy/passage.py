"""A judged request and its answer, while they are under way: what a cut means to them.

Before the backend has answered, a cut is a refusal; what changes something there has the grace to be answered. An event
stream ends behind its last whole event, or where it stands when none ends in time. Any other answer has as long to be
whole. Nothing here waits: `proxy.streams` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsguard.protocol.event_stream import EventScanner
from wsguard.protocol.http import SAFE_METHODS
from wsguard.protocol.reasons import CloseReason
from wsguard.proxy.endings import Cause, Close, Owner
from wsguard.sessions.connection import Traffic
from wsguard.sessions.lifecycle import Phase
from wsguard.sessions.records import Delivery

_BY_CLIENT = frozenset((CloseReason.CLIENT_LOST, CloseReason.CLIENT_CLOSED))


class Passage:
    """From the verdict on a request to the end of its answer. Implements `sessions.connection.Link`."""

    __slots__ = (
        "_bytes_from_backend",
        "_cause",
        "_clock",
        "_close_timeout",
        "_ended",
        "_has_answer",
        "_is_unsafe",
        "_loop",
        "_owner",
        "_received",
        "_scanner",
        "_scope",
        "close",
        "has_head",
        "is_events",
        "is_over",
        "is_stalled",
        "last_message_at",
    )

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        close_timeout: float,
        method: str,
        received: Callable[[], int],
    ) -> None:
        """`clock` is monotonic seconds; `received` tells how many bytes of the request's body have come."""
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._close_timeout = close_timeout
        self._is_unsafe = method not in SAFE_METHODS
        self._received = received
        self._bytes_from_backend = 0
        self._scope: asyncio.Timeout | None = None
        self._scanner: EventScanner | None = None
        self._cause: Cause | None = None
        self._has_answer = self._ended = False
        self.close: Close | None = None
        self.has_head = self.is_events = self.is_over = self.is_stalled = False
        self.last_message_at = clock()

    # What the registry, a deadline or an operator asks (sessions.connection.Link).

    @property
    def state(self) -> str:
        """A phase of the state table, as a word."""
        if self._ended:
            return Phase.ENDED.value
        return Phase.OPEN.value if self.close is None else Phase.CLOSING.value

    def traffic(self) -> Traffic:
        """What has passed so far."""
        messages = 0 if self._scanner is None else self._scanner.messages
        return Traffic(0, self._received(), messages, self._bytes_from_backend)

    def cut(self, reason: CloseReason, detail: str = "", crowd: int | None = None) -> None:
        """End it for `reason`; the first cause wins. `crowd`: as in `leave`, None: whoever is here."""
        if self._ended or self._cause is not None:
            return
        close = self._owner.close_for(reason, crowd)
        if close is None:
            return
        self.close = close
        self._cause = Cause("guard", reason, 0, detail, Phase.OPEN)
        self._hurry()

    def leave(self, reason: CloseReason, goodbye: bytes = b"", crowd: int = 1) -> None:
        """End it; but what changes something at the backend may go on to its own end, which is near."""
        if self.is_events or not self._is_unsafe:
            self.cut(reason, crowd=crowd)

    def interject(self, speak: Callable[[], bytes | None]) -> None:
        """Nothing: a message of the guard's own is a frame, and there are none."""

    # What becomes of the request and its answer.

    @property
    def reason(self) -> CloseReason | None:
        """Why it was cut; None: it was not."""
        return None if self.close is None or self._cause is None else self._cause.reason

    def begin(self, scope: asyncio.Timeout) -> None:
        """It is under way within `scope`, which ends with it."""
        self._scope = scope
        if self.close is not None:
            self._hurry()

    def meet(self, *, is_events: bool, is_readable: bool) -> None:
        """The backend has answered. An event stream is `is_readable` unless it is encoded."""
        self._has_answer, self.is_events = True, is_events
        self._scanner = EventScanner() if is_events and is_readable else None

    def answered(self) -> None:
        """The head has gone on to the client."""
        self.has_head = True
        if self.close is not None:
            self._hurry()

    def take(self, chunk: bytes) -> bytes:
        """What of `chunk` goes on to the client."""
        scanner, self.is_stalled = self._scanner, True  # until it has passed
        if scanner is None:
            self._bytes_from_backend += len(chunk)
            self.last_message_at = self._clock()
            return chunk
        if self.close is not None and scanner.is_at_rest:
            return b""
        before = scanner.messages
        length = scanner.feed(chunk, to_end=self.close is not None)
        self._bytes_from_backend += length
        if scanner.messages != before or scanner.is_amid_data:
            self.last_message_at = self._clock()
        return chunk[:length]

    def passed(self) -> bool:
        """It has gone on. Whether nothing is to follow it."""
        self.is_stalled = False
        self.is_over = self.close is not None and self._can_end
        return self.is_over

    def failed(self, reason: CloseReason, detail: str = "") -> None:
        """It was one of the peers who ended it."""
        if self._cause is None:
            self._cause = Cause("client" if reason in _BY_CLIENT else "backend", reason, 0, detail, Phase.OPEN)

    @property
    def can_speak(self) -> bool:
        """Whether something of the guard's own can stand behind what has passed."""
        return self._scanner is not None and self._scanner.is_at_rest

    def end(self, delivery: Delivery = "none") -> None:
        """It is over."""
        if self._ended:
            return
        self._ended = True
        self._scope = None
        self.failed(CloseReason.BACKEND_CLOSED)
        assert self._cause is not None
        self._owner.ended(self._cause, delivery, self.traffic())

    def _hurry(self) -> None:
        """Have the scope run out: now, where nothing would be torn, else after the grace."""
        if self._scope is None or self._scope.expired():
            return
        is_waiting = not self._has_answer and not self._is_unsafe  # for else it may be the log-out itself
        is_whole = is_waiting or (self.has_head and self._can_end and not self.is_stalled)
        self._scope.reschedule(self._loop.time() + (0.0 if is_whole else self._close_timeout))

    @property
    def _can_end(self) -> bool:
        return self.is_events and (self._scanner is None or self._scanner.is_at_rest)
