"""The teardown of one connection: whose doing its end was, the Closes of the guard's own, and what became of them.

Law: the first cause is kept, whatever comes after it, and recorded once. Decides nothing: the splice says what has
happened, the state table what is due.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from wsguard.protocol.closing import close_frame
from wsguard.protocol.reasons import GOING_AWAY, NORMAL, CloseReason
from wsguard.protocol.scanner import NO_STATUS
from wsguard.proxy.endings import Cause, Close, Owner
from wsguard.proxy.half import Half
from wsguard.proxy.pair import Pair
from wsguard.sessions.lifecycle import Event, Phase
from wsguard.sessions.records import Delivery, Initiator

PATIENCE = 30.0
"""Seconds that an ending which the peers chose themselves may take: a close handshake of theirs, a half-closed TCP."""


class Teardown:
    """Of one connection. Where a phase is asked for, it is the one in which the cause struck."""

    __slots__ = (
        "_acknowledged",
        "_cause",
        "_close",
        "_close_timeout",
        "_close_written",
        "_loop",
        "_owner",
        "_pair",
        "_timer",
    )

    def __init__(self, owner: Owner, pair: Pair, loop: asyncio.AbstractEventLoop, close_timeout: float) -> None:
        """`close_timeout` is the grace of a cut, in seconds."""
        self._owner = owner
        self._pair = pair
        self._loop = loop
        self._close_timeout = close_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._cause: Cause | None = None
        self._close: Close | None = None
        self._close_written = False
        self._acknowledged = False

    # Whose doing it was.

    @property
    def has_close(self) -> bool:
        """Whether the guard has a Close of its own for the client."""
        return self._close is not None

    def cut(self, phase: Phase, reason: CloseReason, detail: str, crowd: int | None) -> bool:
        """The guard's own. Whether it comes to that: not a second time, nor where the policy only audits."""
        if self._close is not None:
            return False
        self._close = close = self._owner.close_for(reason, crowd)
        if close is not None:
            self._blame(phase, "guard", reason, close.code, detail)
        return close is not None

    def refused(self, phase: Phase, reason: CloseReason, close: Close) -> bytes:
        """The verdict's. Returns the frame that is written with the answer."""
        self._close, self._close_written = close, True
        self._blame(phase, "guard", reason, close.code)
        return close_frame(close.code, close.text)

    def closed(self, phase: Phase, half: Half, code: int) -> None:
        """That of the peer of `half`, which has sent a Close with `code`."""
        if half.is_client:
            self._acknowledged = self._close_written
            if phase is Phase.HELD:  # its Close goes nowhere, and is answered here
                self._close = Close(NORMAL if code == NO_STATUS else code, "")
            self._blame(phase, "client", CloseReason.CLIENT_CLOSED, code)
        else:
            self._blame(phase, "backend", CloseReason.BACKEND_CLOSED, code)

    def left(self, phase: Phase, half: Half, how: str, reason: CloseReason | None = None) -> None:
        """That of the peer of `half`, which is gone without a Close; `how` is a sentence without its subject."""
        if phase not in (Phase.OPEN, Phase.HELD):
            return
        if half.is_client:
            self._blame(phase, "client", reason or CloseReason.CLIENT_LOST, 0, f"the client {how}")
        else:
            self.backend_lost(phase, f"the backend {how}", reason)

    def backend_lost(self, phase: Phase, why: str, reason: CloseReason | None = None) -> None:
        """The backend's, and the client is told so. `reason` is for the record; None: the one that the client reads."""
        self._close = self._owner.close_for(CloseReason.BACKEND_LOST)
        self._blame(phase, "backend", reason or CloseReason.BACKEND_LOST, self._close.code if self._close else 0, why)

    def _blame(self, phase: Phase, initiator: Initiator, reason: CloseReason, code: int, detail: str = "") -> None:
        if self._cause is None:
            self._cause = Cause(initiator, reason, code, detail, phase)

    # What becomes of the Close.

    def injected(self, half: Half) -> None:
        """The Close that waited for a boundary of `half` is on its way to the other side."""
        if not half.is_client:
            self._close_written = True
        peer = self._pair.other(half)
        if peer is not None and (peer.scanner.halted or peer.eof_received_already):
            peer.hang_up()  # there is no reply to wait for

    def client_was_reset(self) -> None:
        """Whether that has overtaken the Close cannot be known, unless it was answered."""
        if not self._acknowledged:
            self._close_written = False

    def _delivery(self) -> Delivery:
        if self._acknowledged:
            return "acknowledged"
        if self._close is None:
            return "none"
        client = self._pair.client
        flushed = client is not None and not client.transport.get_write_buffer_size()
        return "sent" if self._close_written and flushed else "undelivered"

    # What the state table commands.

    def close_client(self) -> None:
        """Have its Close put in, unless it has it."""
        if self._close is not None and not self._close_written:
            self._pair.close_client(close_frame(self._close.code, self._close.text))

    def close_backend(self) -> None:
        """Have a Close put in that tells the backend why."""
        token = self._cause.reason.token if self._cause else ""
        self._pair.close_backend(close_frame(GOING_AWAY, token, mask=os.urandom(4)))

    def arm_grace(self, on: Callable[[Event], None]) -> None:
        """Tell `on` when a cut has taken too long."""
        self._arm(self._close_timeout, on)

    def arm_patience(self, on: Callable[[Event], None]) -> None:
        """Tell `on` when the peers have taken too long."""
        self._arm(PATIENCE, on)

    def _arm(self, seconds: float, on: Callable[[Event], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, on, Event.TIMER)

    def record(self) -> None:
        """It is over: tell the owner."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._cause is not None:
            self._owner.ended(self._cause, self._delivery(), self._pair.traffic())
