"""How many places the other replicas take: the last that each has told, for as long as it is heard.

The rules, which tests/sessions/test_elsewhere.py checks over every order of messages:

1. The sum of a room is that of the last counts of all replicas that were heard in the last SILENCE seconds.
2. A count that its replica has not repeated for LIFETIME seconds is no more: the message that took it back was lost.
3. There is a bound on replicas and counts, whoever speaks; what is beyond it is not taken, and is said.
"""

from __future__ import annotations

from collections import OrderedDict

from wsguard.sessions.counts import Counts

SILENCE = 4.0
"""Seconds after which a replica that was not heard is taken for gone."""

LIFETIME = 15.0
"""Seconds for which a count holds that is not repeated."""

MAX_REPLICAS = 200
"""Other replicas that are listened to."""

MAX_COUNTS = 200_000
"""Counts that are remembered, of all other replicas together; about 50 MB."""


class _Replica:
    __slots__ = ("counts", "heard_at")

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # the longest not repeated first


class Elsewhere:
    """The counts of the other replicas, by digest. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._replicas: dict[str, _Replica] = {}
        self._sums: dict[str, int] = {}
        self._remembered = 0

    def __len__(self) -> int:
        """How many replicas are heard."""
        return len(self._replicas)

    def __contains__(self, replica: str) -> bool:
        return replica in self._replicas

    @property
    def remembered(self) -> int:
        """Counts that are held, of all replicas."""
        return self._remembered

    def count(self, digest: str) -> int:
        """How many places of a room the others take."""
        return self._sums.get(digest, 0)

    def take(self, told: Counts, now: float) -> bool:
        """Believe what a replica tells of itself; False where a part of it had no room."""
        if told.leaves:
            self._forget(told.replica)
            return True
        replica = self._replicas.get(told.replica)
        if replica is None:
            if len(self._replicas) >= MAX_REPLICAS:
                return False
            replica = self._replicas[told.replica] = _Replica()
        replica.heard_at = now
        is_whole = True
        for digest, count in told.counts.items():
            self._drop(replica, digest)
            if count == 0:
                continue
            if self._remembered >= MAX_COUNTS:
                is_whole = False
                continue
            replica.counts[digest] = (count, now)
            self._sums[digest] = self._sums.get(digest, 0) + count
            self._remembered += 1
        return is_whole

    def expire(self, now: float) -> None:
        """Forget who is silent, and what was not repeated. To be called about once a second."""
        for name in [name for name, replica in self._replicas.items() if now - replica.heard_at > SILENCE]:
            self._forget(name)
        for replica in self._replicas.values():
            while replica.counts:
                digest, (_, told_at) = next(iter(replica.counts.items()))
                if now - told_at <= LIFETIME:
                    break
                self._drop(replica, digest)

    def clear(self) -> None:
        """There are no others any more."""
        self._replicas.clear()
        self._sums.clear()
        self._remembered = 0

    def _forget(self, name: str) -> None:
        replica = self._replicas.pop(name, None)
        if replica is not None:
            for digest in list(replica.counts):
                self._drop(replica, digest)

    def _drop(self, replica: _Replica, digest: str) -> None:
        before = replica.counts.pop(digest, None)
        if before is None:
            return
        self._remembered -= 1
        left = self._sums[digest] - before[0]
        if left:
            self._sums[digest] = left
        else:
            del self._sums[digest]
