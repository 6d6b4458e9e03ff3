"""Every admitted connection that still lives, found by what an operator or a logout names.

Looking one up never walks the others, but for `page` and an unfiltered `find`, which are for people.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wsguard.sessions.census import Census
from wsguard.sessions.connection import Connection, Stream
from wsguard.sessions.identity import Identity
from wsguard.sessions.successions import Successions


@dataclass(frozen=True, slots=True)
class Filters:
    """What a wanted connection must have; None asks for nothing. `issuer` to `jti` are of one of its identities."""

    issuer: str | None = None
    subject: str | None = None
    sid: str | None = None
    jti: str | None = None
    policy: str | None = None
    cookie: str | None = None
    backend: str | None = None

    def accept(self, connection: Connection) -> bool:
        """True where `connection` has all that is asked for."""
        if self.policy not in (None, connection.policy) or self.backend not in (None, connection.backend):
            return False
        if self.cookie is not None and self.cookie not in connection.cookies:
            return False
        wanted = (self.issuer, self.subject, self.sid, self.jti)
        if not any(want is not None for want in wanted):
            return True
        return any(
            all(want is None or want == value for want, value in zip(wanted, _words(who), strict=True))
            for who in connection.known_by
        )


def _words(who: Identity) -> tuple[str | None, ...]:
    return who.issuer, who.subject, who.sid, who.jti


@dataclass(frozen=True, slots=True)
class Page:
    """Some connections in the order of their ids, and where to go on (None: this was the last page)."""

    connections: tuple[Connection, ...]
    cursor: str | None


class Registry:
    """The live connections, by unique ids. What one is found by does not change while it is in here.

    `successions` are the session cookies that connections came with, those of some that are gone among them. `census`
    knows how many of them, and of handshakes under way, count against limits; `sockets` how many are WebSockets.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Connection] = {}
        self.sockets = 0
        self._by_policy = _Index(lambda c: (c.policy,))
        self._by_backend = _Index(lambda c: (c.backend,))
        self._by_subject = _Index(_each(lambda who: who.subject))
        self._by_sid = _Index(_each(lambda who: who.sid))
        self._by_jti = _Index(_each(lambda who: who.jti))
        self._by_cookie = _Index(lambda c: c.cookies)
        self.successions = Successions(self._by_cookie.has)
        self.census = Census()
        self._indexes = (
            self._by_policy,
            self._by_backend,
            self._by_subject,
            self._by_sid,
            self._by_jti,
            self._by_cookie,
        )

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        """Those present at the call: a caller may cut, and so remove, as it goes."""
        return iter(list(self._by_id.values()))

    def add(self, connection: Connection) -> None:
        """Take a connection in. Raises ValueError where its id is already taken."""
        if connection.id in self._by_id:
            raise ValueError(f"connection {connection.id} is already registered")
        self._by_id[connection.id] = connection
        self.sockets += connection.stream is Stream.WEB_SOCKET
        for index in self._indexes:
            index.add(connection)
        self.successions.admit(*connection.watched)

    def remove(self, connection_id: str) -> Connection | None:
        """Forget a connection and return it; None where it was not here."""
        connection = self._by_id.pop(connection_id, None)
        if connection is not None:
            self.sockets -= connection.stream is Stream.WEB_SOCKET
            for index in self._indexes:
                index.remove(connection)
        return connection

    def dismiss(self, connection_id: str) -> None:
        """It was told to go: it counts against no limit any more, so that its successor finds room before it leaves."""
        if connection_id in self._by_id:
            self.census.excuse(connection_id)

    def recall(self, connection_ids: Iterable[str]) -> None:
        """They were told to go, and are to stay after all."""
        self.census.recall(self._by_id[each] for each in connection_ids if each in self._by_id)

    def get(self, connection_id: str) -> Connection | None:
        """The connection of this id, or None."""
        return self._by_id.get(connection_id)

    def find(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        sid: str | None = None,
        jti: str | None = None,
        policy: str | None = None,
        cookie: str | None = None,
        backend: str | None = None,
    ) -> list[Connection]:
        """Every connection that has all that is given, in no particular order."""
        return list(self._matching(Filters(issuer, subject, sid, jti, policy, cookie, backend)))

    def page(self, filters: Filters, limit: int, cursor: str | None = None) -> Page:
        """At most `limit` (≥ 1) connections in the order of their ids, from the first id after `cursor`.

        A connection that stays is on exactly one page, whatever comes and goes between two calls.
        """
        after = "" if cursor is None else cursor
        wanted = (connection for connection in self._matching(filters) if connection.id > after)
        found = heapq.nsmallest(limit + 1, wanted, key=lambda connection: connection.id)
        shown = tuple(found[:limit])
        return Page(shown, shown[-1].id if len(found) > limit else None)

    def count_by_policy(self) -> dict[str, int]:
        """How many connections each policy has; a policy without any is left out."""
        return self._by_policy.counts()

    def count_at(self, backend: str) -> int:
        """How many connections `backend` has."""
        return self._by_backend.count(backend)

    def _matching(self, filters: Filters) -> Iterable[Connection]:
        narrowest: Iterable[Connection] = self._by_id.values()
        for index, value in (
            (self._by_policy, filters.policy),
            (self._by_backend, filters.backend),
            (self._by_subject, filters.subject),
            (self._by_sid, filters.sid),
            (self._by_jti, filters.jti),
            (self._by_cookie, filters.cookie),
        ):
            if value is not None:
                narrowest = index.get(value)
        return (connection for connection in narrowest if filters.accept(connection))


def _each(word: Callable[[Identity], str | None]) -> Callable[[Connection], Iterable[str | None]]:
    """The words of everyone whom a connection is of; of one nearly always."""

    def words(connection: Connection) -> Iterable[str | None]:
        if not connection.others and not connection.opened_with:
            return () if connection.identity is None else (word(connection.identity),)
        return {word(who) for who in connection.known_by}

    return words


class _Index:
    """Connections by their words of one kind, of which most have a single one.

    Most words have a single connection, too, and there are six indexes: a bucket becomes one of many only for its
    second connection, which saves two thirds of a kilobyte a connection. Then it is a dict without values: a set that
    grows has up to six times the room that it needs.
    """

    __slots__ = ("_buckets", "_words")

    def __init__(self, words: Callable[[Connection], Iterable[str | None]]) -> None:
        self._words = words
        self._buckets: dict[str, Connection | dict[Connection, None]] = {}

    def add(self, connection: Connection) -> None:
        for word in self._words(connection):
            if word is None:
                continue
            bucket = self._buckets.get(word)
            if bucket is None:
                self._buckets[word] = connection
            elif isinstance(bucket, dict):
                bucket[connection] = None
            else:
                self._buckets[word] = {bucket: None, connection: None}

    def remove(self, connection: Connection) -> None:
        for word in self._words(connection):
            if word is None:
                continue
            bucket = self._buckets[word]
            if isinstance(bucket, dict):
                bucket.pop(connection, None)
            if bucket is connection or not bucket:
                del self._buckets[word]

    def has(self, word: str) -> bool:
        return word in self._buckets

    def get(self, word: str) -> Iterable[Connection]:
        bucket = self._buckets.get(word, ())
        return (bucket,) if isinstance(bucket, Connection) else bucket

    def count(self, word: str) -> int:
        bucket = self._buckets.get(word, ())
        return 1 if isinstance(bucket, Connection) else len(bucket)

    def counts(self) -> dict[str, int]:
        return {word: len(bucket) if isinstance(bucket, dict) else 1 for word, bucket in self._buckets.items()}
