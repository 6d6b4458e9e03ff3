"""Which session cookies were admitted, and which values replaced them in the same session.

A session whose cookie changes while its sockets are open is found by the cookie that it has now. Only backwards: what a
value replaced ended with it, while a value that came later may be of the login after the log-out. And only what was
admitted counts as such: an application may give out any number of values, so they must cost nothing to forget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

MOST_ADMITTED = 20_000
"""Admitted values that are remembered beside those of live connections."""

MOST_BEFORE = 8
"""Admitted values of a session before the latest one, beside those of live connections."""

MOST_LIVE_BEFORE = 100
"""The same with those of live connections; only an application that gives many sessions one value has so many."""

MOST_AFTER = 8
"""Values that replaced an admitted one and were not admitted themselves; a browser has one of the latest."""

_MOST_SPARED = 32  # looks for one that may be forgotten, so that forgetting has a price

DOUBT = 15.0
"""Seconds for which a log-out of a cookie that nobody knew is held against a handshake that was being judged."""

MOST_DOUBTED = 10_000
"""Such log-outs that are remembered."""


class Successions:
    """Cookies by digest. `is_live` says whether a connection that still lives came with a digest."""

    def __init__(self, is_live: Callable[[str], bool], most: int = MOST_ADMITTED) -> None:
        self._is_live = is_live
        self._most = most
        # What each one replaced, the latest last: of those that were admitted (the eldest first), and of the others.
        self._admitted: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._others: dict[str, tuple[str, ...]] = {}
        self._after: dict[str, OrderedDict[str, None]] = {}  # which of the others go when an admitted one goes
        self._doubted: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._admitted) + len(self._others)

    def admit(self, *digests: str) -> None:
        """A handshake that carried these cookies was found good."""
        for digest in digests:
            before = self._others.pop(digest, ())
            self._admitted[digest] = self._admitted.get(digest, before)
            self._admitted.move_to_end(digest)
            self._make_room()

    def knows(self, digest: str) -> bool:
        """Whether the cookie was admitted, or replaced one that was."""
        return self._is_admitted(digest) or digest in self._others

    def replace(self, old: str, new: str) -> None:
        """The session of `old` goes on as `new`; nothing happens where `old` is not known."""
        if not self.knows(old) or old == new:
            return
        if self._is_live(old) and old not in self._admitted:
            self.admit(old)
        line = dict.fromkeys((*self._before(new), *reversed(self.session_of(old))))
        line.pop(new, None)
        if self._is_admitted(new):
            self._admitted[new] = self._shortened(tuple(line))
        elif line:
            self._remember(new, self._shortened(tuple(line)))

    def follow(self, old: str, new: str) -> None:
        """The session of `old`, which was admitted, goes on as `new`, which would be."""
        self.admit(old, new)
        self.replace(old, new)

    def session_of(self, digest: str) -> tuple[str, ...]:
        """The admitted ones among this digest and those that it replaced, directly or over others; the latest first."""
        before = tuple(reversed(self._before(digest)))
        return (digest, *before) if self._is_admitted(digest) else before

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

    def _is_admitted(self, digest: str) -> bool:
        return digest in self._admitted or self._is_live(digest)

    def _before(self, digest: str) -> tuple[str, ...]:
        return self._admitted.get(digest) or self._others.get(digest, ())

    def _remember(self, digest: str, line: tuple[str, ...]) -> None:
        """One that was not admitted, for as long as an admitted one that it replaced; best one that lives."""
        roots = [each for each in line if each in self._admitted]
        if not roots:
            return
        self._others[digest] = line
        root = next(filter(self._is_live, roots), roots[-1])
        after = self._after.setdefault(root, OrderedDict())
        after[digest] = None
        after.move_to_end(digest)
        if len(after) > MOST_AFTER:
            self._others.pop(after.popitem(last=False)[0], None)

    def _shortened(self, line: tuple[str, ...]) -> tuple[str, ...]:
        """`line` without the eldest that are too many; what a connection lives by stays."""
        spare = max(len(line) - MOST_BEFORE, 0)
        kept = (*filter(self._is_live, line[:spare]), *line[spare:])
        return kept[-MOST_LIVE_BEFORE:]

    def _make_room(self) -> None:
        for _ in range(min(_MOST_SPARED, len(self._admitted))):
            if len(self._admitted) <= self._most:
                return
            eldest, line = self._admitted.popitem(last=False)
            if self._is_live(eldest):
                self._admitted[eldest] = line
                continue
            self._forget_all(self._after.pop(eldest, ()))
            if any(map(self._is_live, line)):  # its session has sockets still, though none of its own
                self._remember(eldest, line)

    def _forget_all(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._others.pop(digest, None)
