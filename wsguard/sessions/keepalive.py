"""When one side of a connection is pinged, and when it is taken for dead.

Law: whoever sends anything lives, and a silence counts only while somebody listens to it and an answer is owed. A peer
that is slow is not dead: what stands before the ping has to be read first.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

RETRY = 1.0
"""Seconds until a place for a ping is looked for again, where there was none."""

READ_IN_TIME = 65_536
"""Bytes that a peer must be able to read within one `timeout`; what was sent to it before a ping is allowed for so."""

MOST_UNREAD = 4 << 20
"""Bytes before a ping that are allowed for at the most: about what the buffers of TCP hold."""


class Sight(NamedTuple):
    """A look at one side. Totals: bytes `heard` from it and `told` to it, `pings` of the other side's among them.

    `is_read` is False while it is not listened to: the other side does not keep up, or a limit holds it back.
    """

    heard: int
    told: int
    pings: int
    is_read: bool


class Wire(NamedTuple):
    """What TCP knows of a peer. `unacknowledged` is for how many seconds nothing was acknowledged of what is sent to
    it again and again, 0: there is no such thing. While it `waits`, something is not acknowledged, or not even sent.
    """

    unacknowledged: float
    waits: bool


class Act(Enum):
    """What a look comes to."""

    WAIT = "wait"
    ASK = "ask"  # ping it if there is a place, and say so to `asked`
    JUDGE = "judge"  # no answer has come in time: ask TCP, then `is_dead`


class Pulse:
    """One side of one connection. Times are monotonic seconds; `next_look` is when to look again.

    It is looked at twice in an interval: whoever was silent from one look to the next is pinged. So a ping comes when
    the silence has lasted between half of the interval and the whole of it.
    """

    __slots__ = (
        "_asked_at",
        "_is_dead",
        "_is_pinged",
        "_leaves_it_to_a_ping",
        "_seen",
        "_step",
        "_timeout",
        "_told",
        "next_look",
    )

    def __init__(self, interval: float, timeout: float, now: float, phase: float) -> None:
        """`phase`, from 0 to 1, is where in half an interval the looks fall, so that not all peers have the same."""
        self._step = interval / 2
        self._timeout = timeout
        self._seen: Sight | None = None
        self._told = 0  # when it was last heard
        self._asked_at: float | None = None
        self._is_pinged = False
        self._leaves_it_to_a_ping = False
        self._is_dead = False
        self.next_look = now + self._step * phase

    def look(self, sight: Sight, now: float) -> Act:
        """Look at it. After ASK, `asked` must be called, and after JUDGE `is_dead`."""
        before, self._seen = self._seen, sight
        if before is None or sight.heard != before.heard or not (sight.is_read and before.is_read):
            asked, self._asked_at = self._asked_at, None
            self._told = sight.told
            self._leaves_it_to_a_ping = self._is_dead = False
            self.next_look = now + self._step
            if asked is not None and asked + self._step > now:  # begin anew where it would have been looked at
                self._seen, self.next_look = None, asked + self._step
            return Act.WAIT
        if self._asked_at is not None:
            due = self._asked_at + self._timeout
            self.next_look = min(due, now + self._step)
            return Act.JUDGE if now >= due else Act.WAIT
        self.next_look = now + self._step
        if self._is_dead:
            return Act.WAIT  # it was let live all the same
        if sight.pings != before.pings and not self._leaves_it_to_a_ping:
            # A peer with two pings to answer may answer the second only (RFC 6455 §5.5.3), and the first was not ours.
            self._leaves_it_to_a_ping = True
            return Act.WAIT
        return Act.ASK

    def asked(self, now: float, *, is_pinged: bool, waits: bool) -> None:
        """It was pinged; or else there was no place, and perhaps something else of which it must tell TCP `waits`."""
        self._leaves_it_to_a_ping = False
        self._is_pinged = is_pinged
        if is_pinged or waits:
            self._asked_at = now
            self.next_look = now + min(self._step, self._timeout)
        else:
            self.next_look = now + min(self._step, RETRY)

    def is_dead(self, wire: Wire, now: float) -> bool:
        """Whether the silence since it was asked is that of the dead."""
        if self._asked_at is None or wire.unacknowledged >= self._timeout:
            return self._bury(now)
        if wire.waits:
            self.next_look = now + self._timeout  # a window that is closed, or a slow line: TCP will tell
            return False
        if not self._is_pinged:
            self._asked_at = None  # what it was asked for has arrived, and nobody has to answer that
            self.next_look = now + min(self._step, RETRY)
            return False
        unread = 0 if self._seen is None else min(max(self._seen.told - self._told, 0), MOST_UNREAD)
        due = self._asked_at + self._timeout * (1 + unread // READ_IN_TIME)
        if now < due:
            self.next_look = min(due, now + self._timeout)
            return False
        return self._bury(now)

    def _bury(self, now: float) -> bool:
        self._asked_at = None
        self._is_dead = True
        self.next_look = now + self._step
        return True
