"""How many connections there are of each kind, those of handshakes under way among them.

The rules, which tests/sessions/test_census.py checks over every order of events:

1. A handshake holds its places from when it reserves them until it ends or its connection opens; what it could not
   reserve whole it does not hold in part.
2. A connection holds one place in each of its rooms, from when it opens until it leaves.
3. Who was told to go counts nowhere any more, though it may be here for a while: its successor comes before it leaves.
   It counts again, in the order of its age, where that is taken back.

Replicas that share counts are known by `elsewhere`, what it says of a room being what was last heard: such places are
taken, and nobody in them can be closed from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from wsguard.sessions.connection import Connection

Key = tuple[str, str, str]
"""A policy, the limit of it, and whom it counts."""


class Claim(NamedTuple):
    """A place in the room `key`, which has `most` of them."""

    key: Key
    most: int


class _Room:
    __slots__ = ("opened", "reserved")

    def __init__(self) -> None:
        self.reserved: set[str] = set()
        self.opened: dict[str, Connection] = {}  # in the order in which they came


class Census:
    """Who is counted where, by the ids of connections. A room that nobody is in takes no memory.

    Where replicas share counts, `elsewhere` says how many places of a room the others take, and `on_change` is told the
    rooms whose count may have changed.
    """

    def __init__(self) -> None:
        self.elsewhere: Callable[[Key], int] | None = None
        self.on_change: Callable[[Iterable[Key]], None] | None = None
        self._rooms: dict[Key, _Room] = {}
        self._reserved: dict[str, tuple[Key, ...]] = {}
        self._opened: dict[str, tuple[Key, ...]] = {}
        self._excused: dict[str, tuple[Key, ...]] = {}  # and the rooms that it would be in

    def __len__(self) -> int:
        """How many rooms somebody is in."""
        return len(self._rooms)

    def count(self, key: Key) -> int:
        """How many places of a room are taken here."""
        room = self._rooms.get(key)
        return 0 if room is None else len(room.reserved) + len(room.opened)

    def count_elsewhere(self, key: Key) -> int:
        """How many places of a room other replicas take, as far as they have told."""
        return 0 if self.elsewhere is None else self.elsewhere(key)

    def keys(self) -> list[Key]:
        """The rooms that somebody is in."""
        return list(self._rooms)

    def reserve(self, connection_id: str, claims: Sequence[Claim], *, replaces: bool = False) -> Claim | None:
        """Hold places for a handshake, beside those that it holds; or return the first that it cannot have.

        `replaces`: its connection will take the place of an older one, so only handshakes count against it.
        """
        for claim in claims:
            room = self._rooms.get(claim.key)
            if room is not None and connection_id in room.reserved:
                continue
            taken = 0 if replaces or self.elsewhere is None else self.elsewhere(claim.key)
            if room is not None:
                taken += len(room.reserved) + (0 if replaces else len(room.opened))
            if taken >= claim.most:
                return claim
        held = dict.fromkeys((*self._reserved.get(connection_id, ()), *(claim.key for claim in claims)))
        for key in held:
            self._rooms.setdefault(key, _Room()).reserved.add(connection_id)
        if held:
            self._reserved[connection_id] = tuple(held)
            self._note(held)
        return None

    def give_back(self, connection_id: str, key: Key) -> None:
        """The handshake does not need its place in `key`, if it holds one."""
        held = self._reserved.get(connection_id, ())
        if key in held:
            self._reserved[connection_id] = tuple(each for each in held if each != key)
            self._leave_room(key, connection_id)

    def abandon(self, connection_id: str) -> None:
        """The handshake is over; where its connection has opened, that changes nothing."""
        for key in self._reserved.pop(connection_id, ()):
            self._leave_room(key, connection_id)
        if connection_id not in self._opened:
            self._excused.pop(connection_id, None)

    def open(self, connection: Connection, keys: Iterable[Key]) -> None:
        """Count `connection` in these rooms: in place of its handshake, or of those where it was counted before."""
        for key in (*self._reserved.pop(connection.id, ()), *self._opened.get(connection.id, ())):
            self._leave_room(key, connection.id)
        rooms = tuple(dict.fromkeys(keys))
        if connection.id in self._excused:
            self._excused[connection.id], rooms = rooms, ()
        self._opened[connection.id] = rooms
        for key in rooms:
            self._rooms.setdefault(key, _Room()).opened[connection.id] = connection
        self._note(rooms)

    def surplus(self, claims: Iterable[Claim]) -> list[tuple[Claim, Connection]]:
        """The oldest connections of each room that has too many. They count no more: the caller is to close them.

        The newest stays, also where other replicas have taken every place: nobody there can be closed from here.
        """
        found = []
        for claim in claims:
            most = max(claim.most - self.count_elsewhere(claim.key), 1)
            while (room := self._rooms.get(claim.key)) is not None and len(room.opened) > most:
                oldest = next(iter(room.opened.values()))
                self.excuse(oldest.id)
                found.append((claim, oldest))
        return found

    def excuse(self, connection_id: str) -> None:
        """Count it nowhere from now on, until it leaves or is recalled."""
        self._excused.setdefault(connection_id, self._opened.get(connection_id, ()))
        if connection_id in self._opened:
            for key in self._opened[connection_id]:
                self._leave_room(key, connection_id)
            self._opened[connection_id] = ()

    def recall(self, connections: Iterable[Connection]) -> None:
        """They are to stay after all, and count again. A room may have more than its most then, until some leave."""
        crowded: set[Key] = set()
        for connection in connections:
            rooms = self._excused.pop(connection.id, ())
            if rooms:
                self.open(connection, rooms)
                crowded.update(rooms)
        for room in map(self._rooms.__getitem__, crowded):
            room.opened = dict(sorted(room.opened.items(), key=lambda item: item[1].opened_at))

    def leave(self, connection_id: str) -> None:
        """The connection is over."""
        for key in self._opened.pop(connection_id, ()):
            self._leave_room(key, connection_id)
        self._excused.pop(connection_id, None)

    def _leave_room(self, key: Key, connection_id: str) -> None:
        room = self._rooms.get(key)
        if room is None:
            return
        room.reserved.discard(connection_id)
        room.opened.pop(connection_id, None)
        self._note((key,))
        if not room.reserved and not room.opened:
            del self._rooms[key]

    def _note(self, keys: Iterable[Key]) -> None:
        if self.on_change is not None:
            self.on_change(keys)
