"""Who is on the public port, and who makes room when it is full: the client that has asked for nothing for longest.

Law: open connections and requests under way are never sent away for a newcomer. Whoever stalls in a handshake, or keeps
a connection alive with nothing to ask, costs nobody else a place; where nobody does, the newcomer is reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from wsguard.proxy.half import reset
from wsguard.sessions.overload import Overload


class Guest(Protocol):
    """A connection that is not through its first request, or between two."""

    def make_room(self) -> None:
        """Leave: another one has come."""
        ...


class Crowd:
    """Counts the connections of the public port. `elsewhere` gives those that the door holds no more."""

    def __init__(self, overload: Overload, elsewhere: Callable[[], int]) -> None:
        self._overload = overload
        self._elsewhere = elsewhere
        self._here: set[Guest] = set()
        self._idle: dict[Guest, None] = {}  # in the order in which they fell idle

    def __len__(self) -> int:
        return len(self._here) + self._elsewhere()

    def admits(self) -> bool:
        """Whether one more may come; if need be the one that has been idle for longest makes room."""
        limit = self._overload.limits.connections
        if limit is None or len(self) < limit:
            return True
        if not self._idle:
            self._overload.refuse_connection()
            return False
        oldest = next(iter(self._idle))
        self.leave(oldest)
        self._overload.refuse_connection()
        oldest.make_room()
        return True

    def enter(self, guest: Guest) -> None:
        """It is connected, and has yet to ask for something."""
        self._here.add(guest)
        self._idle[guest] = None

    def busy(self, guest: Guest) -> None:
        """It has asked for something."""
        self._idle.pop(guest, None)

    def idle(self, guest: Guest) -> None:
        """It was answered, and may ask for more."""
        if guest in self._here:
            self._idle[guest] = None

    def leave(self, guest: Guest) -> None:
        """It is gone, or in other hands."""
        self._here.discard(guest)
        self._idle.pop(guest, None)


class TurnedAway(asyncio.Protocol):
    """For whom there is no room. An RST: the kernel keeps nothing of it, not even the memory that it was here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        reset(cast("asyncio.Transport", transport))
