"""Which session cookies were admitted, and which values each of them replaced in the same session.

A session whose cookie changes while its sockets are open is found by the cookie that it has now. Only backwards: what a
value replaced ended with it, while a value that came later may be of the login after the log-out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MOST_VALUES = 50_000
"""Values that are remembered beside those that a live connection hangs on."""

MOST_BEFORE = 8
"""Values before the latest one of a session, beside those of live connections."""

MOST_LIVE_BEFORE = 100
"""The same with those of live connections; only an application that gives many sessions one value has so many."""

_MOST_SPARED = 32  # looks for one that may be forgotten, so that forgetting has a price


DOUBT = 15.0
"""Seconds for which a log-out of a cookie that nobody knew is held against a handshake that was being judged."""

MOST_DOUBTED = 10_000
"""Such log-outs that are remembered."""


class Successions:
    """Cookies by digest. `is_live` says whether a connection that still lives came with a digest."""

    def __init__(self, is_live: Callable[[str], bool], most: int = MOST_VALUES) -> None:
        self._is_live = is_live
        self._most = most
        self._before: OrderedDict[str, tuple[str, ...]] = OrderedDict()  # the latest last
        self._doubted: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._before)

    def admit(self, *digests: str) -> None:
        """A handshake that carried these cookies was found good."""
        for digest in digests:
            self._put(digest, self._before.get(digest, ()))

    def knows(self, digest: str) -> bool:
        """Whether the cookie was admitted, or replaced one that was."""
        return digest in self._before or self._is_live(digest)

    def replace(self, old: str, new: str) -> None:
        """The session of `old` goes on as `new`; nothing happens where `old` is not known."""
        if not self.knows(old):
            return
        line = dict.fromkeys((*self._before.get(new, ()), *self._before.get(old, ()), old))
        line.pop(new, None)
        self._put(new, self._shortened(tuple(line)))

    def doubt(self, digest: str, now: float) -> None:
        """A cookie that is not known was logged out; whether it was ever good may turn out at this very moment.

        `now` is monotonic seconds.
        """
        self._doubted[digest] = now
        self._doubted.move_to_end(digest)
        if len(self._doubted) > MOST_DOUBTED:
            self._doubted.popitem(last=False)

    def is_doubted(self, digest: str, now: float) -> bool:
        """Whether `digest` was logged out unknown a moment ago, while its handshake was being judged, or before."""
        doubted_at = self._doubted.get(digest)
        return doubted_at is not None and now < doubted_at + DOUBT

    def session_of(self, digest: str) -> tuple[str, ...]:
        """This digest, and those that it replaced, directly or over others; the latest first."""
        return (digest, *reversed(self._before.get(digest, ())))

    def _shortened(self, line: tuple[str, ...]) -> tuple[str, ...]:
        """`line` without the eldest that are too many; what a connection lives by stays."""
        spare = len(line) - MOST_BEFORE
        if spare <= 0:
            return line
        gone = {digest for digest in line[:spare] if not self._is_live(digest)}
        for digest in gone:
            self._before.pop(digest, None)
        return tuple(digest for digest in line if digest not in gone)[-MOST_LIVE_BEFORE:]

    def _put(self, digest: str, before: tuple[str, ...]) -> None:
        self._before[digest] = before
        self._before.move_to_end(digest)
        for _ in range(min(_MOST_SPARED, len(self._before))):
            if len(self._before) <= self._most:
                return
            eldest, line = self._before.popitem(last=False)
            if self._is_live(eldest) or any(map(self._is_live, line)):
                self._before[eldest] = line
