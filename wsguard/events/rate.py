"""How often what clients cause is done: it costs more than to ask for it does."""

from __future__ import annotations

from typing import NamedTuple

from cachetools import LRUCache

_CLIENTS = 4_096


class Allowance(NamedTuple):
    """So many a second, and so many at once."""

    rate: float
    burst: float


class _Bucket:
    __slots__ = ("filled_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.filled_at = now

    def take(self, allowance: Allowance, now: float) -> bool:
        self.tokens = min(self.tokens + (now - self.filled_at) * allowance.rate, allowance.burst)
        self.filled_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Rate:
    """A token bucket for each client, of the latest few thousand, and one for all of them together."""

    def __init__(self, per_client: Allowance, in_all: Allowance) -> None:
        self._per_client, self._in_all = per_client, in_all
        self._clients: LRUCache[str, _Bucket] = LRUCache(_CLIENTS)
        self._all: _Bucket | None = None

    def allows(self, client: str, now: float) -> bool:
        """Whether it may be done once more for `client`; `now` is monotonic seconds."""
        bucket = self._clients.setdefault(client, _Bucket(self._per_client.burst, now))
        self._all = self._all or _Bucket(self._in_all.burst, now)
        return bucket.take(self._per_client, now) and self._all.take(self._in_all, now)
